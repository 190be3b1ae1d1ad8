"""Pointing and related neurons on the screen: the mark, the value under it, the lists. The model is a stand-in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.screen_app import Driver, running
from tests.tui.widgets.test_parts import PLAIN
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.layouts import map_layout
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import tiled_layout, write_synthetic_scan
from vlmscope.core.worker.interventions import AttributionRequest, FiringRequest, InterventionRequest
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.dialogs.choice import ChoiceScreen
from vlmscope.tui.dialogs.neurons import NeuronsScreen
from vlmscope.tui.views.drawing import Blocks
from vlmscope.tui.views.evidence import PictureView
from vlmscope.tui.views.pointer import Pointer, reading
from vlmscope.tui.views.state import Mode, Pane
from vlmscope.tui.widgets.page.pictures import activation_box


@pytest.fixture
def pictured(scan_copy: Path) -> Path:
    """The small scan with pictures, which are in its folder."""
    pictures = scan_copy / "pictures"
    pictures.mkdir()
    for index in range(12):
        Image.new("RGB", (40, 40), (index, 120, 200)).save(pictures / f"image_{index:04}.jpg")
    manifest = read_manifest(scan_copy).model_copy(update={"image_root": str(pictures)})
    (scan_copy / "manifest.json").write_text(manifest.model_dump_json())
    return scan_copy


def dialog(on: Driver) -> NeuronsScreen:
    screen = on.app.screen
    assert isinstance(screen, NeuronsScreen)
    return screen


async def opened(on: Driver, key: str) -> NeuronsScreen:
    """The list that a key opens, when it is filled."""
    await on.press(key)
    await on.until(lambda: isinstance(on.app.screen, NeuronsScreen))
    shown = dialog(on)
    await on.until(lambda: "…" not in shown.question.table().lines[0])
    await on.pilot.pause()
    return shown


def mark(on: Driver) -> tuple[int, int, int]:
    pointer = on.state.pointer
    return pointer.row, pointer.column, pointer.token


async def test_the_mark_begins_at_the_peak_and_stays_in_the_picture(scan: Path) -> None:
    async with running(scan, start=Neuron(1, 2)) as on:
        picture = on.scene.picture
        assert picture is not None and picture.peak_patch is not None
        row, column = divmod(picture.peak_patch, 4)
        await on.press("P")
        assert on.state.mode is Mode.POINT
        assert mark(on)[:2] == (row, column)
        assert f"patch {row},{column}  activation ≈" in on.page
        assert picture.visual is not None
        assert f"norm ≈{picture.visual[picture.peak_patch]:.1f}" in on.page
        await on.press(*["h", "up"] * 5)
        assert mark(on)[:2] == (0, 0)
        await on.press("l", "right", "right", "right", "j", "down", "j", "j")
        assert mark(on)[:2] == (3, 3)
        assert on.neuron == Neuron(1, 2), "the keys move the mark, not the list"
        assert on.state.rank == 0
        await on.press("]")
        await on.settled()
        assert on.neuron == Neuron(2, 2)
        assert "patch 3,3" in on.page
        await on.press("escape")
        assert "vote " in on.page
        await on.press("j")
        assert on.neuron == Neuron(2, 3)


async def test_the_frame_is_drawn_over_both_pictures(scan: Path) -> None:
    async with running(scan, start=Neuron(1, 2)) as on:
        before = styles(on)
        await on.press("P")
        marked = styles(on)
        assert marked - before >= 8
        await on.press("P")
        assert styles(on) == before


def styles(on: Driver) -> int:
    """Cells of the page that have the colour of the frame."""
    from vlmscope.tui.widgets.page.page import Page
    from vlmscope.tui.widgets.page.pictures import POINTER

    page = on.browse.query_one(Page)
    found = 0
    for line in page.lines:
        for segment in line:
            parts = (segment.style.color, segment.style.bgcolor) if segment.style is not None else ()
            if any(one is not None and one.triplet is not None and tuple(one.triplet) == POINTER for one in parts):
                found += segment.cell_length
    return found


async def test_words_are_pointed_at_by_tokens_and_by_lines(scan: Path) -> None:
    async with running(scan, size=(60, 30), start=Neuron(1, 2)) as on:
        await on.press("P", "tab")
        picture = on.scene.picture
        assert picture is not None
        first = mark(on)[2]
        assert f"word {first + 1} “{picture.tokens[first].strip()}”" in on.page
        assert "tab picture" in on.keys
        await on.press(*["h"] * 40)
        assert mark(on)[2] == 0
        await on.press("l", "l")
        assert mark(on)[2] == 2
        await on.press("j")
        below = mark(on)[2]
        await on.press("k")
        assert mark(on)[2] == 2
        if len(picture.tokens) > 20:
            assert below > 3, "a line further"
        await on.press("tab")
        assert "patch " in on.page


async def test_enter_lists_who_fires_there_without_a_model(scan: Path) -> None:
    store = ScanStore(scan)
    neuron = Neuron(1, 2)
    async with running(scan, start=neuron) as on:
        await on.press("P")
        shown = await opened(on, "enter")
        assert not on.models
        assert "of those that have it among their 8 top samples" in on.screen
        assert "1*" in on.screen
        rows = shown.question.table().rows
        assert neuron in [row.neuron for row in rows]
        assert float(rows[0].texts[0]) >= float(rows[-1].texts[0])
        assert store.top_samples(rows[0].neuron)
        target = rows[-1].neuron
        await on.press("end", "enter")
        await on.settled()
        assert on.neuron == target
        assert on.state.mode is Mode.POINT
        assert on.app.screen is on.browse


async def test_the_rule_is_chosen_and_the_model_asked(pictured: Path) -> None:
    async with running(pictured, start=Neuron(1, 2)) as on:
        await on.press("P")
        await opened(on, "enter")
        await on.press("o")
        await on.until(lambda: isinstance(on.app.screen, ChoiceScreen))
        assert "effect" not in on.screen, "an effect is a word's"
        await on.press("m")
        await on.until(lambda: "maximum: activation over its maximum" in on.screen)
        assert not on.models
        await on.press("o", "w")
        await on.until(lambda: "written: how much it adds" in on.screen and "all neurons" in on.screen)
        (request,) = on.models[0].interventions
        assert isinstance(request, FiringRequest)
        assert request.visual and not request.text
        await on.press("escape", "escape")
        assert on.state.mode is Mode.PICTURES


async def test_leaving_the_list_stops_the_model(pictured: Path) -> None:
    async with running(pictured, start=Neuron(1, 2)) as on:
        await on.press("P", "enter")
        await on.until(lambda: isinstance(on.app.screen, NeuronsScreen))
        await on.press("o", "b")
        await on.press("o", "a")
        await on.until(lambda: bool(on.models))
        (model,) = on.models
        model.hold.clear()
        await on.press("o", "w")
        await on.until(lambda: "asking the model" in on.screen)
        await on.press("escape")
        await on.until(lambda: on.browse.controllers.requests.idle)
        assert on.app.screen is on.browse
        model.hold.set()


async def test_the_value_is_exact_once_the_model_is_there(pictured: Path) -> None:
    async with running(pictured, start=Neuron(1, 2)) as on:
        await on.press("w")
        await on.until(lambda: bool(on.models) and on.idle)
        assert not on.models[0].maps, "stored maps do for the page of pictures"
        await on.press("P")
        await on.until(lambda: "activation 2.00 · norm" in on.page)
        assert "≈" not in on.page.splitlines()[3]
        assert len(on.models[0].maps) == 1
        await on.press("j", "l")
        assert len(on.models[0].maps) == 1


async def test_without_a_map_the_mark_moves_and_the_lists_open(scan: Path) -> None:
    async with running(scan, start=Neuron(1, 2), pace=Pace(ask_after_s=60)) as on:
        await on.press(*["l"] * 5)
        await on.settled()
        await on.press("P", "j")
        await on.until(lambda: "value: the scan keeps no map here; X asks" in on.page)
        await opened(on, "enter")
        assert "of those that have it among their 8 top samples" in on.screen
        on.browse.controllers.requests.cancel()


async def test_related_neurons_are_listed_and_gone_to(tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    write_synthetic_scan(scan, layers=4, neurons=8, samples=200, top_n=8, maps=1, grid=(2, 2), image=16)
    folder = scan / read_manifest(scan).arrays
    for name in ("top_sample", "top_visual", "top_text", "peak_visual", "peak_text"):
        values = np.load(folder / f"{name}.npy")
        values[..., 3, 7, :] = values[..., 1, 2, :]
        np.save(folder / f"{name}.npy", values)
    async with running(scan, size=(80, 24), start=Neuron(1, 2)) as on:
        shown = await opened(on, "r")
        table = shown.question.table()
        assert table.title == "related to L1/N2"
        assert "by chance 0.3" in table.lines[0]
        (at,) = (at for at, row in enumerate(table.rows) if row.neuron == Neuron(3, 7))
        assert table.rows[at].texts[0] == table.rows[0].texts[0] == "8"
        await on.press(*["j"] * at, "enter")
        await on.settled()
        assert on.neuron == Neuron(3, 7)


async def test_a_neuron_that_is_like_no_other_says_so(scan: Path) -> None:
    async with running(scan, size=(80, 24), start=Neuron(1, 2)) as on:
        await opened(on, "r")
        assert "any two neurons share 5.3 of 8" in on.screen
        await on.press("j", "enter", "o", "escape")
        assert on.app.screen is on.browse


async def test_effects_are_estimated_and_then_measured(pictured: Path) -> None:
    async with running(pictured, start=Neuron(1, 2)) as on:
        picture = on.scene.picture
        assert picture is not None
        word = next(token.strip() for token in picture.tokens if len(token.strip()) > 3)
        await on.type(f":effects {word}")
        await on.until(lambda: isinstance(on.app.screen, NeuronsScreen) and "exact" in on.screen)
        kinds = [type(request) for request in on.models[0].interventions]
        assert kinds == [AttributionRequest, InterventionRequest]
        table = dialog(on).question.table()
        assert table.title.startswith("neurons on which")
        assert table.heads[:2] == ("exact", "estimate")
        assert table.rows[0].texts[0] == "-2.00"
        request = on.models[0].interventions[1]
        assert isinstance(request, InterventionRequest)
        assert len(request.rows) == 20
        await on.press("escape")
        await on.type(":effects xylophones")
        await on.until(lambda: "'xylophones' is not in this description" in on.notes)


async def test_a_picture_that_is_not_described_cannot_be_pointed_at(scan: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "mine.png")
    async with running(scan, size=(80, 24), start=Neuron(1, 2)) as on:
        await on.press("w")
        await on.until(lambda: bool(on.models) and on.idle)
        on.models[0].hold.clear()
        await on.type(f":image {tmp_path / 'mine.png'}")
        await on.until(lambda: on.scene.picture is not None and on.scene.picture.whole is not None)
        await on.settled()
        await on.press("P", "enter")
        await on.until(lambda: "nothing to point at yet" in on.notes)
        on.models[0].hold.set()
        await on.until(lambda: on.scene.picture is not None and on.scene.picture.visual is not None)
        assert on.state.pane is Pane.PAGE
        shown = await opened(on, "enter")
        assert "of all neurons" in " ".join(shown.question.table().lines)
        request = on.models[0].interventions[-1]
        assert isinstance(request, FiringRequest)
        assert request.sample.sample is None
        assert replace(on.state.pointer).row < 4


@pytest.mark.parametrize("size", [(80, 24), (160, 40)])
async def test_tiles_are_pointed_at_on_the_finest_grid(tmp_path: Path, size: tuple[int, int]) -> None:
    scan = tmp_path / "scan"
    write_synthetic_scan(scan, layers=2, neurons=8, samples=6, top_n=6, maps=6, layouts=[tiled_layout()], image=96)
    async with running(scan, size=size, start=Neuron(1, 3)) as on:
        await on.press("P")
        await on.press(*["j"] * 8, *["l"] * 12)
        assert mark(on)[:2] == (7, 11)
        assert "patch 7,11  activation" in on.page
        assert styles(on)
        shown = await opened(on, "enter")
        assert shown.question.table().title == "neurons at patch 7,11"


def test_a_coarser_map_is_read_on_the_samples_own_grid() -> None:
    own = VisualLayout.plain(6, 6)
    coarse = map_layout(own, 3)
    values = np.arange(1, len(coarse) + 1, dtype=np.float32)
    picture = PictureView(Neuron(0, 0), Thresholds(), 0, 0, "x", layout=coarse, own_layout=own, visual=values)
    grid = coarse.cells(values, *coarse.grid)
    rows, columns = coarse.grid
    assert (rows, columns) != own.grid
    for row, column in np.ndindex(6, 6):
        found = reading(picture, Pointer(row, column), 20.0)
        assert found.norm is not None
        assert found.norm == grid[row * rows // 6, column * columns // 6]
        assert found.activation == found.norm * 2
        assert not found.exact
    assert reading(picture, Pointer(on_words=True), 20.0).norm is None


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 60), st.integers(1, 30), st.data())
def test_the_frame_changes_no_width(rows: int, columns: int, width: int, height: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    layout = VisualLayout.plain(rows, columns)
    values = np.zeros(rows * columns, dtype=np.float32)
    picture = PictureView(Neuron(0, 0), Thresholds(), 0, 0, "x", layout=layout, own_layout=layout, visual=values)
    size = width, height
    coloured = replace(PLAIN, colourless=False)
    for palette in (PLAIN, *(replace(coloured, blocks=blocks) for blocks in Blocks)):
        box = activation_box(picture, size, ColourMap.VIRIDIS, palette, stale=False, waiting="")
        marked = activation_box(picture, size, ColourMap.VIRIDIS, palette, stale=False, waiting="", pointed=at)
        assert [line.cell_length for line in marked] == [line.cell_length for line in box]
        assert sum(one != other for one, other in zip(box, marked, strict=True)) >= 1
