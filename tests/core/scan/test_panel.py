"""The panel of a scan against exact maps, one neuron and one sample at a time; resumed, merged, refused.

test_resume.py, test_merge.py and test_spread.py compare the panels of whole, stopped, merged and spread scans too, and
test_unchanged.py the kernels'.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.encoding import encoded_sample
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import Cancelled, StoreError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import read_data
from vlmscope.core.method.bfloat16 import decoded, encoded
from vlmscope.core.model.load import load
from vlmscope.core.model.maps import neuron_maps
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm
from vlmscope.core.scan.merge import merge_scans
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.manifest import MANIFEST, ShardInfo, read_manifest
from vlmscope.core.store.panel import draw_panel
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec

SAMPLES = 14
OPTIONS = ScanOptions(top_n=4, maps=1, batch=1, panel=8)  # alone in its batch, an activation depends on nothing else


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(ModelSpec(str(make_model(tmp_path_factory.mktemp("model")))))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("data"), SAMPLES)


@pytest.mark.parametrize("hook", HookPoint)
def test_the_panel_is_the_largest_of_exact_maps(vlm: Vlm, images: Path, tmp_path: Path, hook: HookPoint) -> None:
    data = read_data(str(images))
    made = scan(vlm, data, tmp_path / "scan", replace(OPTIONS, hook=hook), silent)
    panel = ScanStore(tmp_path / "scan").panel
    assert panel is not None and len(panel) == made.panel == 8
    assert panel.samples.tolist() == list(draw_panel(made.data_id, SAMPLES, 8))
    for neuron in (Neuron(0, 0), Neuron(1, 17), Neuron(2, 47)):
        visual, text = panel.visual((neuron.layer, neuron.index)), panel.text((neuron.layer, neuron.index))
        for place, index in enumerate(panel.samples.tolist()):
            source = data.sources[index]
            one, inputs = encoded_sample(vlm, load_image(data.root / source.image), source.description or "")
            maps = neuron_maps(vlm, hook, neuron, one, inputs)
            exact = decoded(encoded(np.array([values.max() for values in maps], dtype=np.float32)))
            assert (visual[place], text[place]) == tuple(exact)


def test_a_panel_of_more_samples_than_there_are_has_all(vlm: Vlm, images: Path, tmp_path: Path) -> None:
    made = scan(vlm, read_data(str(images)), tmp_path / "scan", replace(OPTIONS, panel=256), silent)
    panel = ScanStore(tmp_path / "scan").panel
    assert panel is not None and panel.samples.tolist() == list(range(SAMPLES)) and made.panel == 256
    scores = np.array([ScanStore(tmp_path / "scan").scores(Neuron(1, index))[0] for index in range(48)])
    assert np.array_equal(panel.largest((1,)).max(axis=1), decoded(encoded(scores)))


def test_a_skipped_sample_is_missing_and_empty(
    vlm: Vlm, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cannot be read; one has an activation that is not finite, which is found after its batch was reduced."""
    data = read_data(str(images))
    unreadable, poisoned, *_ = draw_panel(data.identity, SAMPLES, 8)
    whole = Vlm.inputs
    description = data.sources[poisoned].description

    def poison(self: Vlm, samples: Sequence[Encoded], pictures: Sequence[Image.Image]) -> Inputs:
        inputs = whole(self, samples, pictures)
        for row, one in enumerate(samples):
            if one.description == description:
                inputs["pixel_values"][row] = np.nan
        return inputs

    monkeypatch.setattr(Vlm, "inputs", poison)
    sources = list(data.sources)
    sources[unreadable] = replace(sources[unreadable], trouble="it is broken")
    scan(vlm, replace(data, sources=tuple(sources)), tmp_path / "scan", replace(OPTIONS, batch=4), silent)
    store = ScanStore(tmp_path / "scan")
    assert [skipped.sample for skipped in store.manifest.skipped] == sorted([unreadable, poisoned])
    assert store.panel is not None and store.panel.drawn == 8
    assert store.panel.samples.tolist() == list(draw_panel(data.identity, SAMPLES, 8)[2:])
    assert np.isfinite(store.panel.visual()).all() and np.isfinite(store.panel.text()).all()
    for name in ("panel_visual", "panel_text"):
        assert np.isneginf(decoded(store.arrays[name][..., :2])).all()


def test_a_scan_in_progress_has_the_panel_so_far(vlm: Vlm, images: Path, tmp_path: Path) -> None:
    out, left = tmp_path / "scan", iter([False] * 6)
    with pytest.raises(Cancelled):
        scan(vlm, read_data(str(images)), out, OPTIONS, silent, stopped=lambda: next(left, True))
    store = ScanStore(out)
    assert store.panel is not None
    processed = [index for index in draw_panel(store.manifest.data_id, SAMPLES, 8) if store.processed(index)]
    assert store.panel.samples.tolist() == processed and 0 < len(processed) < 8
    with pytest.raises(StoreError, match="--panel: 8, now 9"):
        scan(vlm, read_data(str(images)), out, replace(OPTIONS, panel=9), silent, resume=True)
    path = out / store.manifest.arrays / "panel_sample.npy"
    np.save(path, np.arange(8, dtype=np.int32))
    with pytest.raises(StoreError, match="its panel has other samples"):
        scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True)


def test_a_scan_without_a_panel_has_none_of_its_arrays(vlm: Vlm, images: Path, tmp_path: Path) -> None:
    made = scan(vlm, read_data(str(images)), tmp_path / "scan", replace(OPTIONS, panel=0), silent)
    store = ScanStore(tmp_path / "scan")
    assert store.panel is None and made.panel == 0
    assert not list((tmp_path / "scan" / made.arrays).glob("panel*"))


def as_before(folder: Path) -> None:
    """Make a scan in progress that of the version before panels."""
    content = json.loads((folder / MANIFEST).read_text())
    assert content.pop("panel") == 0
    (folder / MANIFEST).write_text(json.dumps({**content, "schema_version": 3}))


def test_a_scan_of_the_version_before_is_resumed_without_a_panel(vlm: Vlm, images: Path, tmp_path: Path) -> None:
    out, left = tmp_path / "scan", iter([False] * 6)
    with pytest.raises(Cancelled):
        scan(vlm, read_data(str(images)), out, replace(OPTIONS, panel=0), silent, stopped=lambda: next(left, True))
    as_before(out)
    made = scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True)
    assert made.progress is None and made.panel is None and ScanStore(out).panel is None


def test_a_merge_with_a_shard_of_the_version_before_has_no_panel(vlm: Vlm, images: Path, tmp_path: Path) -> None:
    shards = [tmp_path / "one", tmp_path / "two"]
    for number, (out, panel) in enumerate(zip(shards, (0, 8), strict=True), 1):
        scan(
            vlm,
            read_data(str(images)),
            out,
            replace(OPTIONS, panel=panel, shard=ShardInfo(number=number, of=2)),
            silent,
        )
    with pytest.raises(StoreError, match=r"--panel: 0 in .*one, 8 in"):
        merge_scans(shards, tmp_path / "whole", silent)
    as_before(shards[0])
    made = merge_scans(shards, tmp_path / "whole", silent)
    assert made.panel is None and ScanStore(tmp_path / "whole").panel is None
    assert made.scanned == SAMPLES and read_manifest(shards[1]).panel == 8
