"""The panel: which samples it has, and what the store gives of it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.bfloat16 import decoded, encoded
from vlmscope.core.store.manifest import Skipped, read_manifest
from vlmscope.core.store.panel import draw_panel
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.store.writer import write_manifest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scan") / "scan"
    write_synthetic_scan(out, layers=2, neurons=16, samples=40, top_n=8, maps=1, grid=(2, 2), image=16, panel=15)
    return out


def test_the_draw_is_the_datas_alone_and_never_changes() -> None:
    drawn = draw_panel("some data", 1000, 6)
    assert drawn == (103, 113, 318, 766, 868, 947)
    assert set(drawn) < set(draw_panel("some data", 1000, 50))
    assert draw_panel("other data", 1000, 6) != drawn
    assert draw_panel("some data", 5, 6) == draw_panel("some data", 5, 5) == (0, 1, 2, 3, 4)
    assert draw_panel("some data", 0, 6) == draw_panel("some data", 9, 0) == ()


def test_every_sample_is_drawn_as_often_as_others() -> None:
    counts = np.bincount([sample for data in range(400) for sample in draw_panel(str(data), 50, 10)], minlength=50)
    assert counts.sum() == 4000 and abs(counts - 80).max() < 4.5 * 8  # standard deviation 8


def test_activations_are_decoded(folder: Path) -> None:
    store = ScanStore(folder)
    panel = store.panel
    assert panel is not None and len(panel) == panel.drawn == 15
    assert panel.samples.tolist() == list(draw_panel("", 40, 15))
    for read, name in ((panel.visual, "panel_visual"), (panel.text, "panel_text")):
        assert np.array_equal(read(), decoded(store.arrays[name])) and read().dtype == np.float32
        assert np.array_equal(read((1,)), read()[1])
        assert np.array_equal(read((1, 3)), read()[1, 3])
        assert np.array_equal(read((0, slice(2, 5))), read()[0, 2:5])
    assert np.array_equal(panel.largest((1,)), np.maximum(panel.visual((1,)), panel.text((1,))))


def test_top_samples_have_their_activations_in_a_made_up_panel(folder: Path) -> None:
    store = ScanStore(folder)
    assert store.panel is not None
    neuron = Neuron(1, 7)
    top, scores = store.top_samples(neuron), decoded(encoded(store.scores(neuron)))
    for sample, activation in zip(store.panel.samples, store.panel.largest((1, 7)), strict=True):
        assert activation == scores[top.index(sample)] if sample in top else activation <= scores[-1]
    assert set(top) & set(store.panel.samples.tolist())


def test_skipped_samples_and_those_to_come_are_missing(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    manifest, whole = read_manifest(copy), ScanStore(folder).panel
    assert whole is not None
    skipped, waiting = int(whole.samples[4]), int(whole.samples[9])
    skip = Skipped(sample=skipped, image="x", reason="x")
    write_manifest(copy, manifest.model_copy(update={"skipped": (skip,), "scanned": 39}))
    lines = copy / manifest.arrays / "sample_lines.npy"
    found = np.load(lines)
    found[waiting] = 0
    np.save(lines, found)
    panel = ScanStore(copy).panel
    assert panel is not None and (len(panel), panel.drawn) == (13, 15)
    kept = [column for column in range(15) if column not in (4, 9)]
    assert panel.samples.tolist() == whole.samples[kept].tolist()
    assert np.array_equal(panel.text((0, slice(3))), whole.text((0, slice(3)))[:, kept])


def test_a_scan_without_a_panel(scan: Path) -> None:
    store = ScanStore(scan)
    assert store.panel is None
    with pytest.raises(StoreError, match=r"Contrast needs a panel .* by an earlier vlmscope") as caught:
        store.panel_for("Contrast")
    assert "Scan again" in caught.value.hint
    store.manifest = store.manifest.model_copy(update={"panel": 0})
    with pytest.raises(StoreError, match="was made with --panel 0 and has none"):
        store.panel_for("Contrast")
