"""The contact sheet: its grid, its keys, and that no model is loaded for it."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.screen_app import running
from tests.tui.widgets.test_parts import PLAIN
from vlmscope.core.analysis.panel import across_range
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.tui.browse import sheet as sheet_control
from vlmscope.tui.views.sheet import SheetKey, SheetView, gather_sheet
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.page.head import sample_line
from vlmscope.tui.widgets.page.page import Page
from vlmscope.tui.widgets.page.sheet import LEAST_ROWS, _words, sheet_frame, window

NEURON = Neuron(1, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small maps of 10 of 16 top samples, whole maps of two, and a panel."""
    out = tmp_path_factory.mktemp("sheet") / "scan"
    write_synthetic_scan(
        out, layers=2, neurons=8, samples=60, top_n=16, maps=2, grid=(14, 14), image=24, panel=40, small_maps=10
    )
    return out


def sheet(folder: Path, neuron: Neuron = NEURON) -> SheetView:
    store = ScanStore(folder)
    thresholds = store.manifest.thresholds.value()
    return gather_sheet(store, SheetKey(neuron, thresholds, id(store), frozenset()), {})


def test_a_sheet_has_top_samples_with_small_maps_then_the_panel_across_the_range(folder: Path) -> None:
    store, found = ScanStore(folder), sheet(folder)
    across = across_range(store, store.panel_for("It"), NEURON)
    assert [cell.rank for cell in found.cells] == [*range(16 + len(across))]
    pictures = [cell.picture for cell in found.cells]
    assert [one is not None and one.small for one in pictures] == [2 <= at < 10 for at in range(len(pictures))]
    assert [one is not None and one.visual is not None for one in pictures] == [at < 10 for at in range(len(pictures))]
    assert [one.across for one in pictures[16:] if one is not None] == list(across)
    assert all(one is not None and one.crop is not None for one in pictures)
    assert (found.place(5), found.place(16 + 3), found.place(500)) == (5, 19, len(pictures) - 1)


def test_a_small_map_is_pooled_and_read_in_levels_of_the_score(folder: Path) -> None:
    store = ScanStore(folder)
    example = store.example(NEURON, 5)
    stored = store.arrays["small_visual"][NEURON.layer, NEURON.index, 5]
    assert example.small and example.visual_map is not None and example.text_map is not None
    assert example.visual_map.shape == example.grid == (12, 12)
    levels = np.stack([stored & 15, stored >> 4], axis=-1).ravel()
    assert np.allclose(example.visual_map.ravel(), levels * example.activation / 15)
    assert len(example.text_map) == len(example.sample.tokens)
    assert example.peak_place == example.sample.layout.place(example.peak_patch or 0, 14, 14)
    assert not store.example(NEURON, 1).small and store.example(NEURON, 10).visual_map is None


@pytest.mark.parametrize(
    ("size", "pictures"),
    [((80, 18), 12), ((100, 26), 12), ((118, 33), 18), ((138, 35), 18), ((198, 54), 18), ((40, 8), 4), ((10, 3), 1)],
)
def test_as_many_pictures_as_can_be_seen(size: tuple[int, int], pictures: int) -> None:
    grid = sheet_frame(*size, 30)
    assert grid.columns * grid.rows >= pictures and grid.columns * grid.rows <= 20
    assert grid.rows * grid.height <= size[1] or size[1] < 4
    assert grid.columns * (grid.width + 1) - 1 <= size[0]
    assert grid.picture[0] <= grid.width
    if size[0] >= 80:
        assert grid.picture[1] >= LEAST_ROWS and grid.words >= 1


def test_every_picture_is_on_one_screen_of_the_sheet(folder: Path) -> None:
    found = sheet(folder)
    for count in (4, len(found.cells)):
        few, grid = SheetView(found.key, found.cells[:count]), sheet_frame(80, 18, count)
        for chosen in range(count):
            shown = window(few, grid, chosen)
            assert chosen in shown and len(shown) <= grid.columns * grid.rows and shown.start % grid.columns == 0


def test_words_below_a_picture_are_whole_and_the_strongest_first(folder: Path) -> None:
    cell = sheet(folder).cells[0]
    assert cell.picture is not None and cell.picture.words is not None
    strongest = cell.picture.tokens[int(cell.picture.words.argmax())].strip()
    for width in (6, 12, 30):
        lines = [line.text for line in _words(cell, cell.picture.thresholds.T_t, width, 2, PLAIN)]
        assert len(lines) == 2 and lines[0].split("]")[0].strip("[ ").startswith(strongest[: width - 2])
        assert all(len(line) == width for line in lines)


def test_the_line_of_a_sample_with_a_small_map_loses_whole_items(folder: Path) -> None:
    cell = next(one for one in sheet(folder).cells if one.picture is not None and one.picture.small)
    assert cell.picture is not None
    picture = replace(cell.picture, rank=7, sample=914, activation=3.85, image="pics/scene_0914.webp")
    begin, hint = "sample 8 of 50 · #914 · activation 3.85", " · ≈ small map, X exact"
    ends = {f"{begin}{end}" for end in (f"{hint} · scene_0914.webp", hint, " · ≈ small map", " · ≈", "")}
    found = {}
    for width in range(len(begin) + 1, 90):
        line = sample_line(picture, 50, PLAIN, width).text
        assert len(line) == width
        found[width] = line.rstrip()
        assert found[width] in ends, width
    assert set(found.values()) == ends
    assert found[84] == f"{begin}{hint} · scene_0914.webp"


async def test_keys_of_the_sheet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    free = threading.Event()
    free.set()

    def gather(*given: object) -> SheetView:
        threads.append(threading.current_thread())
        free.wait(10)
        return gather_sheet(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(sheet_control, "gather_sheet", gather)
    async with running(folder, (80, 24), start=NEURON) as on:
        await on.press("z")
        await on.until(lambda: "top samples" in on.page and "12 of 26" in on.page)
        columns = on.browse.query_one(Page).sheet_columns
        assert columns == 6 and "enter zoom" in on.keys and "≈ small maps" in on.page
        await on.press("l", "j")
        assert on.state.rank == 7 and "sample 8 of 16" in on.page
        await on.press("k", "k", "h", "h")
        assert on.state.rank == 0
        await on.press("down", "down", "down", "down", "right")
        assert on.state.rank == 25 and "of the panel" in on.page and "%" in on.page
        await on.press("j")
        assert on.state.rank == 25
        await on.press("k", "k", "enter")
        assert (on.state.mode, on.state.rank) == (Mode.ZOOM, 13)
        await on.settled()
        assert "sample 14 of 16" in on.page and "origin" in on.page
        await on.press("escape")
        assert (on.state.mode, on.state.rank) == (Mode.SHEET, 13)
        before = len(threads)
        free.clear()
        await on.press("J")
        assert on.neuron == Neuron(1, 4)
        await on.settled()
        assert f"still {NEURON}" in on.page
        free.set()
        await on.until(lambda: "still" not in on.page and on.scene.sheet is not None)
        assert len(threads) == before + 1
        await on.press("K", "[", "]", "m")
        assert (on.neuron, on.state.mode) == (NEURON, Mode.SHEET)
        await on.until(lambda: "still" not in on.page)
        assert threading.main_thread() not in threads
        assert on.models == []
        await on.press("l", "l", "l", "X")
        await on.until(lambda: bool(on.models) and len(on.models[0].maps) == 1)
        await on.until(lambda: (found := on.scene.sheet) is not None and bool(found.key.answers))
        assert on.scene.sheet is not None
        exact = [cell.picture is not None and cell.picture.exact for cell in on.scene.sheet.cells]
        assert exact == [at == 3 for at in range(26)]
        await on.press("escape")
        assert on.state.mode is not Mode.SHEET
