"""A scan of both poles against two scans of one pole: of the activations, and of the negated ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.encoding import encoded_sample
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import Cancelled, StoreError, UsageError
from vlmscope.core.base.neuron import HookPoint, Neuron, Poles
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.model.load import load
from vlmscope.core.model.maps import neuron_maps
from vlmscope.core.model.promoted import promoted
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.scan.merge import merge_scans
from vlmscope.core.scan.reduction import both_poles
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.manifest import Manifest, ShardInfo
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.store.writer import arrays_bytes
from vlmscope.core.worker.messages import ModelSpec

ONE = ScanOptions(hook=HookPoint.GATE_UP, top_n=4, maps=2, batch=1, panel=6)
BOTH = replace(ONE, poles=Poles.BOTH)
#: The axis of an array that has neurons; the others have no layers.
AXIS = (
    {"top_visual": 2, "top_text": 2, "histogram": 2, "moments": 3}
    | dict.fromkeys(
        ("top_sample", "peak_visual", "peak_text", "maps_visual", "maps_text", "small_visual", "small_text"), 1
    )
    | dict.fromkeys(("maximum", "content_maximum", "votes"), 1)
)
PANEL = dict.fromkeys(("panel_visual", "panel_text"), 1)


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(ModelSpec(str(make_model(tmp_path_factory.mktemp("model")))))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return read_data(str(make_images(tmp_path_factory.mktemp("data"), 9)))


@pytest.fixture(scope="module")
def both(vlm: Vlm, data: Data, tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    out = tmp_path_factory.mktemp("both") / "scan"
    scan(vlm, data, out, BOTH, silent)
    return ScanStore(out)


def assert_rows(both: ScanStore, first: int, one: ScanStore) -> None:
    """Every second row, from ``first`` on, is what the scan of one pole has."""
    compared = 0
    for name, axis in (AXIS | PANEL).items():
        rows = both.arrays[name][(slice(None),) * axis + (slice(first, None, 2),)]
        least = 1e-6 if name == "moments" else 0  # torch adds a wider array in another order
        assert rows.dtype == one.arrays[name].dtype
        assert np.allclose(rows, one.arrays[name], rtol=least, atol=least), name
        compared += 1
    assert compared + len({"sample_lines", "panel_sample"}) == len(both.arrays) == len(one.arrays)
    assert both.concepts is not None and one.concepts is not None
    mine, theirs = (
        [[concept.word for concept in store.concepts.of(store.numbering.at(1, index)).words] for index in rows]
        for store, rows in ((both, range(first, both.neurons, 2)), (one, range(one.neurons)))
        if store.concepts is not None
    )
    assert mine == theirs


def test_each_pole_is_a_scan_of_its_own(
    both: ScanStore, vlm: Vlm, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(vlm, data, tmp_path / "plus", ONE, silent)
    brought = vlm._brought

    def negated(take: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
        return brought(lambda activation: take(-activation))

    with monkeypatch.context() as patch:
        patch.setattr(vlm, "_brought", negated)
        scan(vlm, data, tmp_path / "minus", ONE, silent)
    plus, minus = ScanStore(tmp_path / "plus"), ScanStore(tmp_path / "minus")
    assert not np.array_equal(plus.arrays["top_sample"], minus.arrays["top_sample"])
    assert_rows(both, 0, plus)
    assert_rows(both, 1, minus)
    assert both.manifest.scan_id != plus.manifest.scan_id
    assert (both.neurons, both.manifest.model.neurons) == (2 * plus.neurons, plus.neurons)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_poles_are_in_turn_and_as_the_kernels_read_them(dtype: torch.dtype) -> None:
    units = torch.tensor([[[1.5, -2.0, 0.0, -0.0]]], dtype=dtype)
    poles = both_poles(units)
    assert poles.tolist() == [[[1.5, -1.5, -2.0, 2.0, 0.0, 0.0, 0.0, 0.0]]]
    assert poles.dtype == dtype and poles.is_contiguous()
    assert not poles[..., 1::2].signbit()[..., 2:].any()  # no -0.0, of which devices choose differently


def test_exact_maps_have_the_sign_of_the_pole(both: ScanStore, vlm: Vlm, data: Data) -> None:
    for neuron in (Neuron.parse("L1/N17+"), Neuron.parse("L1/N17-")):
        source = data.sources[both.top_samples(neuron)[0]]
        one, inputs = encoded_sample(vlm, load_image(data.root / source.image), source.description or "")
        maps = neuron_maps(vlm, HookPoint.GATE_UP, neuron, one, inputs)
        assert max(values.max() for values in maps) == both.scores(neuron)[0] > 0
        whole = neuron_maps(vlm, HookPoint.GATE_UP, neuron.whole, one, inputs)
        assert all(np.array_equal(mine, neuron.sign * all_) for mine, all_ in zip(maps, whole, strict=True))


def test_the_negative_pole_promotes_what_the_unit_suppresses(vlm: Vlm) -> None:
    plus, minus = (promoted(vlm, Neuron.of_pole(1, 17, sign), 5) for sign in (1, -1))
    assert plus.top == minus.bottom and plus.bottom == minus.top
    assert np.array_equal(plus.top_logits, -minus.bottom_logits) and minus.top_logits[0] > 0
    assert str(minus.neuron) == "L1/N17-"


def test_shards_of_both_poles_merge_into_the_whole(both: ScanStore, vlm: Vlm, data: Data, tmp_path: Path) -> None:
    shards = [tmp_path / f"shard-{number}" for number in (1, 2)]
    for number, folder in enumerate(shards, start=1):
        scan(vlm, data, folder, replace(BOTH, shard=ShardInfo(number=number, of=2)), silent)
    merge_scans(shards, tmp_path / "merged", silent)
    merged = ScanStore(tmp_path / "merged")
    assert merged.manifest.poles is Poles.BOTH
    for name in AXIS | PANEL:
        assert np.allclose(merged.arrays[name], both.arrays[name], rtol=1e-6, atol=1e-6), name  # sums in another order


def test_a_stopped_scan_of_both_poles_continues(both: ScanStore, vlm: Vlm, data: Data, tmp_path: Path) -> None:
    left = iter(range(3))
    with pytest.raises(Cancelled):
        scan(vlm, data, tmp_path / "scan", BOTH, silent, stopped=lambda: next(left, None) is None)
    assert 0 < ScanStore(tmp_path / "scan").manifest.scanned < both.manifest.scanned
    with pytest.raises(StoreError, match="--poles: both, now one"):
        scan(vlm, data, tmp_path / "scan", ONE, silent, resume=True)
    scan(vlm, data, tmp_path / "scan", BOTH, silent, resume=True)
    resumed = ScanStore(tmp_path / "scan")
    for name in AXIS | PANEL:
        assert np.array_equal(resumed.arrays[name], both.arrays[name]), name


def test_the_size_is_announced_before_the_work(vlm: Vlm, data: Data, tmp_path: Path) -> None:
    said: list[tuple[Manifest, list[Path]]] = []

    def announce(planned: Manifest) -> None:
        said.append((planned, list(tmp_path.iterdir())))

    made = scan(vlm, data, tmp_path / "scan", BOTH, silent, announce=announce)
    [(planned, there)] = said
    assert not there and planned.poles is Poles.BOTH
    one = planned.model_copy(update={"poles": Poles.ONE})
    assert 1.9 * arrays_bytes(one) < arrays_bytes(planned) <= 2 * arrays_bytes(one)
    assert arrays_bytes(made) <= arrays_bytes(planned)


def test_the_gate_has_one_pole() -> None:
    with pytest.raises(UsageError, match="--poles both needs the hook point gate_up"):
        ScanOptions(poles=Poles.BOTH)
