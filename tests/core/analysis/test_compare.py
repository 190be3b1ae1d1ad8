"""Two scans neuron by neuron, against a slow and obvious way: sets of pictures in Python."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from vlmscope.core.analysis.compare import Comparison, compare
from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.store.manifest import MANIFEST
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan

LAYERS, NEURONS = 3, 17
AT = Thresholds(), Thresholds(T_v=4.5, T_t=3.5)


def rewritten(folder: Path, **changes: Mapping[int, object]) -> Path:
    """The scan with other values in its samples' lines, by field and sample."""
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    for name, values in changes.items():
        for index, value in values.items():
            lines[index][name] = value
    encoded = [json.dumps(line).encode() + b"\n" for line in lines]
    (folder / "samples.jsonl").write_bytes(b"".join(encoded))
    ends = np.cumsum([len(line) for line in encoded])
    arrays = folder / str(json.loads((folder / MANIFEST).read_text())["arrays"])
    np.save(arrays / "sample_lines.npy", np.stack([np.r_[0, ends[:-1]], ends], axis=-1))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two scans of one shape. The second has fewer samples and top samples; some of its pictures are others."""
    folder = tmp_path_factory.mktemp("scans")
    for name, seed, samples, top_n in (("a", 1, 30, 12), ("b", 2, 25, 10)):
        write_synthetic_scan(
            folder / name, layers=LAYERS, neurons=NEURONS, samples=samples, top_n=top_n, grid=(2, 2), seed=seed
        )
    same = {index: f"{index:064x}" for index in range(30)}
    rewritten(folder / "a", sha256=same, image={3: "image_0002.jpg"})  # one picture twice, if it had the same content
    rewritten(
        folder / "b",
        sha256={**{index: same[index] for index in range(25)}, 7: "f" * 64, 4: same[5]},
        image={4: "image_0005.jpg", 9: "elsewhere.jpg"},
    )
    return folder / "a", folder / "b"


def obvious(before: ScanStore, after: ScanStore, by_content: bool = True) -> Comparison:
    def picture(store: ScanStore, index: int) -> tuple[str, str | None]:
        sample = store.sample(index)
        return sample.image, sample.sha256 if by_content else None

    shape = (before.layers, before.neurons)
    labels = [np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)]
    shared = np.zeros(shape, np.uint16)
    for layer in range(shape[0]):
        for index in range(shape[1]):
            neuron = Neuron(layer, index)
            tops = [{picture(store, one) for one in store.top_samples(neuron)} for store in (before, after)]
            shared[layer, index] = len(tops[0] & tops[1])
            for mine, store, at in zip(labels, (before, after), AT, strict=True):
                mine[layer, index] = store.labels_of(neuron, at).label[0]
    pictures = [{picture(store, one) for one in range(store.manifest.samples)} for store in (before, after)]
    counts = (len(pictures[0]), len(pictures[1]), len(pictures[0] & pictures[1]))
    return Comparison(labels[0], labels[1], shared, (before.valid, after.valid), counts, before.numbering, by_content)


def assert_same(found: Comparison, expected: Comparison) -> None:
    for name in ("before", "after", "shared"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs), name
    for name in ("top", "pictures", "by_content"):
        assert getattr(found, name) == getattr(expected, name), name


def test_equals_the_obvious_way(made: tuple[Path, Path]) -> None:
    before, after = map(ScanStore, made)
    done: list[tuple[int, int]] = []
    found = compare(before, after, AT, lambda *at: done.append(at))
    assert_same(found, obvious(before, after))
    assert done == [(0, 3), (1, 3), (2, 3)]
    assert len(np.unique(found.shared)) > 3 and (found.before != found.after).any()
    assert found.pictures[0] == 30 and found.pictures[1] == 24, "two samples of the second scan are one picture"
    assert found.pictures[2] < 24
    expected = np.zeros((4, 4), np.int64)
    for a, b in zip(found.before[1], found.after[1], strict=True):
        expected[a, b] += 1
    assert np.array_equal(found.transitions(1), expected)
    assert np.array_equal(found.transitions(), sum(found.transitions(layer) for layer in range(LAYERS)))
    assert found.transitions().sum() == LAYERS * NEURONS and found.transitions().shape == (len(Label), len(Label))


def test_without_digests_pictures_are_the_same_by_name(made: tuple[Path, Path], tmp_path: Path) -> None:
    after = rewritten(Path(shutil.copytree(made[1], tmp_path / "b")), sha256={5: None})
    stores = ScanStore(made[0]), ScanStore(after)
    found = compare(*stores, AT)
    assert not found.by_content
    assert_same(found, obvious(*stores, by_content=False))
    assert found.pictures[0] == 29, "two samples of the first scan have one name"


def test_a_scan_shares_everything_with_itself(made: tuple[Path, Path]) -> None:
    store = ScanStore(made[0])
    found = compare(store, store, (AT[0], AT[0]))
    assert (found.shared == 12).all()
    assert np.array_equal(found.transitions(), np.diag(np.diag(found.transitions())))
    assert found.by_chance == pytest.approx(12 * 12 / 30)


def test_by_chance_is_what_unrelated_neurons_share(made: tuple[Path, Path]) -> None:
    """Neurons of different seeds: their top samples are drawn at random."""
    found = compare(ScanStore(made[0]), ScanStore(made[1]), AT)
    spread = float(found.shared.std()) / np.sqrt(found.shared.size)
    assert abs(found.by_chance - float(found.shared.mean())) < 5 * spread


def test_other_shapes_are_refused(made: tuple[Path, Path], scan: Path) -> None:
    with pytest.raises(UsageError, match=r"has 3 layers of 17 neurons, .* 4 of 32\.") as caught:
        compare(ScanStore(made[0]), ScanStore(scan), AT)
    assert "one shape" in caught.value.hint


@pytest.mark.parametrize("sample", [-1, 25, 2**31 - 1])
def test_a_top_sample_that_is_not_there_is_damage(made: tuple[Path, Path], tmp_path: Path, sample: int) -> None:
    folder = Path(shutil.copytree(made[1], tmp_path / "b"))
    path = next(folder.glob("arrays*/top_sample.npy"))
    top = np.load(path)
    top[1, 16, 9] = sample
    np.save(path, top)
    with pytest.raises(StoreError, match="a top sample in layer 1 is not"):
        compare(ScanStore(made[0]), ScanStore(folder), AT)
