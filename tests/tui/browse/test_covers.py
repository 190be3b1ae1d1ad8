"""Maps on the true geometry of a sample's visual tokens: covers alone and together, pictures of any shape."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.screen_app import Driver, FakeModel, running
from tests.tui.widgets.test_parts import PLAIN
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import tiled_layout, write_synthetic_scan
from vlmscope.tui.views.drawing import Blocks
from vlmscope.tui.views.evidence import PictureView, stored_evidence
from vlmscope.tui.widgets.blocks import fit
from vlmscope.tui.widgets.page.pictures import activation_box, origin_box

TILED, PLAIN_GRID, THIN = tiled_layout(), VisualLayout.plain(6, 6), VisualLayout.plain(16, 2)
NEURON = Neuron(1, 3)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of samples in turn: a thumbnail of 4 x 4 and tiles of 8 x 12, a plain 6 x 6, a thin 16 x 2."""
    out = tmp_path_factory.mktemp("tiled") / "scan"
    layouts = [TILED, PLAIN_GRID, THIN]
    write_synthetic_scan(out, layers=2, neurons=8, samples=12, top_n=12, maps=12, layouts=layouts, image=96)
    return out


async def to_layout(on: Driver, layout: VisualLayout) -> PictureView:
    """Step to the first top sample of this layout."""
    await on.press(*["h"] * 12)
    await on.settled()
    for _ in range(12):
        picture = on.scene.picture
        assert picture is not None
        if picture.layout == layout:
            return picture
        await on.press("l")
        await on.settled()
    raise AssertionError("no sample of this layout")


async def test_a_key_steps_through_the_covers(tiled: Path) -> None:
    async with running(tiled, size=(160, 40), start=NEURON) as on:
        picture = await to_layout(on, TILED)
        assert picture.visual is not None
        peaks = [float(picture.visual[TILED.cover == cover].max()) for cover in (0, 1)]
        assert f"{peaks[0]:.1f}" != f"{peaks[1]:.1f}"
        assert f"2 covers, 8 x 12 · dim peak ≈{max(peaks):.1f}" in on.page
        assert on.keys.index("M covers") < on.keys.index("/ search")
        pages = [on.page]
        for words, peak in (("cover 1 of 2, 4 x 4", peaks[0]), ("cover 2 of 2, 8 x 12", peaks[1])):
            await on.press("M")
            assert f"{words} · dim peak ≈{peak:.1f}" in on.page
            pages.append(on.page)
        await on.press("M")
        assert on.page == pages[0] and on.state.cover is None
        assert on.notes == ""


async def test_a_picture_that_is_covered_once_has_no_cover_to_choose(tiled: Path) -> None:
    async with running(tiled, size=(160, 40), start=NEURON) as on:
        await to_layout(on, TILED)
        await on.press("M")
        await to_layout(on, PLAIN_GRID)
        assert "M covers" not in on.keys or on.keys.index("M covers") > on.keys.index("/ search")
        assert "cover" not in on.page and "activation dim peak" in on.page
        await on.press("M")
        await on.until(lambda: "cover this picture once" in on.notes)
        await to_layout(on, TILED)
        assert "cover 1 of 2, 4 x 4" in on.page, "what was chosen is kept for pictures that have it"


async def test_the_number_of_patches_is_beside_the_thresholds(tiled: Path) -> None:
    async with running(tiled, size=(160, 40), start=NEURON) as on:
        for layout in (TILED, PLAIN_GRID, THIN):
            await to_layout(on, layout)
            assert f"4th of {len(layout)} patches" in on.page
    async with running(tiled, size=(80, 24), start=NEURON) as on:
        await to_layout(on, TILED)
        assert f"4th of {len(TILED)} patches" in on.page or "4th patch" in on.page


async def test_an_own_picture_brings_its_own_layout(
    tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeModel, "layout", TILED)
    Image.new("RGB", (30, 300), (10, 200, 10)).save(tmp_path / "thin.png")
    async with running(tiled, size=(160, 40), start=NEURON) as on:
        await on.type(f":image '{tmp_path / 'thin.png'}'")
        await on.until(lambda: on.scene.picture is not None and on.scene.picture.visual is not None)
        picture = on.scene.picture
        assert picture is not None and picture.layout == TILED and picture.exact
        assert (picture.visual_tokens, picture.rank) == (len(TILED), None)
        await on.until(lambda: "2 covers, 8 x 12" in on.page)
        assert f"4th of {len(TILED)} patches" in on.page


def example(tiled: Path, layout: VisualLayout) -> PictureView:
    store = ScanStore(tiled)
    found = (stored_evidence(store, NEURON, rank, Thresholds()) for rank in range(store.valid))
    return next(one for one in found if one.layout == layout)


def obvious(layout: VisualLayout, values: NDArray[np.float32], cover: int | None) -> NDArray[np.float32]:
    """The largest value of the tokens whose box holds the cell's middle."""
    grid = layout.grid if cover is None else layout.grid_of(cover)
    found = np.zeros(grid, np.float32)
    for row, column in np.ndindex(grid):
        x, y = (column + 0.5) / grid[1], (row + 0.5) / grid[0]
        for value, (x0, y0, x1, y1), own in zip(values, layout.boxes, layout.cover, strict=True):
            if x0 <= x < x1 and y0 <= y < y1 and cover in (None, int(own)):
                found[row, column] = max(found[row, column], value)
    return found


def test_the_cells_are_those_of_the_tokens_boxes(tiled: Path) -> None:
    picture = example(tiled, TILED)
    assert picture.visual is not None
    for chosen, cover in ((None, None), (0, 0), (1, 1), (2, None)):
        cells = picture.cells(chosen)
        assert cells is not None
        np.testing.assert_array_equal(cells, obvious(TILED, picture.visual, cover))
    plain = example(tiled, PLAIN_GRID)
    cells = plain.cells(0)
    assert cells is not None and plain.visual is not None
    np.testing.assert_array_equal(cells, plain.visual.reshape(6, 6))


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (100, 800), (800, 100), (168, 168)])
def test_a_picture_keeps_its_shape(size: tuple[int, int]) -> None:
    """A cell is twice as high as wide: rounding to whole cells aside, width and height are those of the picture."""
    scale = min(48 / size[0], 48 / size[1])
    for blocks in Blocks:
        small = fit(Image.new("RGB", size), 48, 24, blocks)
        across, down = blocks.pixels
        wide, high = small.width / across, 2 * small.height / down  # in widths of a cell
        assert wide <= 48 and high <= 48
        assert abs(wide - size[0] * scale) <= 0.5 and abs(high - size[1] * scale) <= 1
        assert max(wide, high) >= 47


@pytest.mark.parametrize("layout", [TILED, PLAIN_GRID, THIN], ids=["tiled", "plain", "thin"])
@pytest.mark.parametrize("colours", [ColourMap.FADE, ColourMap.VIRIDIS])
def test_origin_and_map_have_the_shape_of_the_crop(tiled: Path, layout: VisualLayout, colours: ColourMap) -> None:
    picture, room = example(tiled, layout), (40, 20)
    assert picture.crop is not None
    rows, columns = layout.grid
    assert picture.crop.width * rows == pytest.approx(picture.crop.height * columns, rel=0.05)
    ones = PictureView(**{**vars(picture), "visual": np.full(len(layout), 9.5, np.float32)})
    drawn = [strip.text for strip in activation_box(ones, room, colours, PLAIN, stale=False, waiting="")]
    ink = [(len(line) - len(line.lstrip()), len(line.rstrip())) for line in drawn if line.strip()]
    assert len(set(ink)) == 1 and set("".join(drawn)) <= {" ", "@"}
    wide, high = ink[0][1] - ink[0][0], len(ink)
    assert wide / (2 * high) == pytest.approx(columns / rows, rel=0.15)
    assert len(origin_box(ones, room, PLAIN, stale=False)) == room[1]
