"""Where visual tokens look: boxes, grids, and the cells of a map."""

import numpy as np
import pytest

from vlmscope.core.method.layout import SCALE, WHOLE, VisualLayout, cut


def thumbnail_and_tiles() -> VisualLayout:
    """2 x 2 tokens over the whole picture, then 4 x 6 over it again."""
    coarse, fine = VisualLayout.plain(2, 2), VisualLayout.plain(4, 6)
    return VisualLayout.of(np.concatenate([coarse.boxes, fine.boxes]), [0] * 4 + [1] * 24)


def obvious_cells(layout: VisualLayout, values: np.ndarray, rows: int, columns: int, cover: int | None) -> np.ndarray:
    """Cell by cell, token by token, in exact integers."""
    found = np.full((rows, columns), -np.inf, dtype=np.float32)
    for token, (x0, y0, x1, y1) in enumerate(layout.edges.tolist()):
        if cover is not None and layout.cover[token] != cover:
            continue

        def reached(low: int, high: int, cells: int) -> list[int]:
            inside = [i for i in range(cells) if 2 * low * cells <= (2 * i + 1) * SCALE < 2 * high * cells]
            return inside or [min(cells - 1, (low + high) * cells // (2 * SCALE))]

        for row in reached(y0, y1, rows):
            for column in reached(x0, x1, columns):
                found[row, column] = max(found[row, column], values[token])
    return np.where(np.isneginf(found), 0, found)


def test_a_plain_layout_is_a_grid_and_its_cells_are_the_values() -> None:
    layout = VisualLayout.plain(24, 24)
    values = np.random.default_rng(0).normal(size=(3, 576)).astype(np.float32)
    assert layout.grid == (24, 24)
    assert layout.covers == 1
    assert layout.is_plain
    assert np.array_equal(layout.cells(values, 24, 24), values.reshape(3, 24, 24))
    assert layout.boxes[25] == pytest.approx([1 / 24, 1 / 24, 2 / 24, 2 / 24], abs=1 / SCALE)


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (5, 3), (13, 16)])
def test_plain_grids_of_any_shape(grid: tuple[int, int]) -> None:
    layout = VisualLayout.plain(*grid)
    assert (layout.grid, len(layout)) == (grid, grid[0] * grid[1])
    values = np.arange(len(layout), dtype=np.float32)
    assert np.array_equal(layout.cells(values, *grid), values.reshape(grid))
    assert [layout.place(token, *grid) for token in range(len(layout))] == list(np.ndindex(grid))


def test_the_finest_cover_is_the_grid_and_each_cover_can_be_taken_alone() -> None:
    layout = thumbnail_and_tiles()
    values = np.arange(28, dtype=np.float32) - 10
    assert (layout.covers, layout.grid, layout.is_plain) == (2, (4, 6), False)
    assert (layout.grid_of(0), layout.grid_of(1)) == ((2, 2), (4, 6))
    assert np.array_equal(layout.cells(values, 4, 6, cover=1), values[4:].reshape(4, 6))
    assert np.array_equal(layout.cells(values, 2, 2, cover=0), values[:4].reshape(2, 2))
    assert np.array_equal(layout.cells(values, 4, 6), np.maximum(values[4:].reshape(4, 6), -7))


@pytest.mark.parametrize("cover", [None, 0, 1])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 6), (24, 24)])
def test_cells_are_those_of_the_obvious_way(cover: int | None, grid: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    corners = np.sort(rng.integers(0, SCALE, (40, 2, 2)), axis=1)  # any boxes, with gaps and overlaps
    corners[:, 1] = np.maximum(corners[:, 1], corners[:, 0] + 1)
    boxes = corners.reshape(40, 4) / SCALE
    layout = VisualLayout.of(boxes, rng.integers(0, 2, 40))
    values = rng.normal(size=40).astype(np.float32)
    assert np.array_equal(layout.cells(values, *grid, cover), obvious_cells(layout, values, *grid, cover))


def test_a_coarser_grid_loses_no_token() -> None:
    layout = VisualLayout.plain(48, 64)
    for token in (0, 1, 777, 3071):
        values = np.zeros(len(layout), dtype=np.float32)
        values[token] = 5
        assert layout.cells(values, 24, 24).max() == 5
        assert layout.cells(values, 24, 24)[layout.place(token, 24, 24)] == 5


def test_layouts_are_equal_by_their_boxes_and_covers() -> None:
    one, other = VisualLayout.plain(3, 5), VisualLayout.plain(5, 3)
    assert one == VisualLayout.plain(3, 5)
    assert one != other
    assert one.id != other.id
    moved = VisualLayout.of(one.boxes, np.ones(15, dtype=np.uint8))
    assert moved.id != one.id
    assert hash(one) == hash(VisualLayout.plain(3, 5))


@pytest.mark.parametrize(
    "box", [(0, 0, 1.1, 1), (-0.1, 0, 1, 1), (0.5, 0, 0.5, 1), (0, 0.5, 1, 0.4), (0, 0, float("nan"), 1)]
)
def test_boxes_that_are_none_are_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="empty or outside"):
        VisualLayout.of(np.array([box]), [0])


def test_no_tokens_are_no_layout() -> None:
    with pytest.raises(ValueError, match="shape"):
        VisualLayout.of(np.empty((0, 4)), [])


def test_a_cut_has_whole_pixels_and_is_never_empty() -> None:
    assert cut(WHOLE, 640, 480) == (0, 0, 640, 480)
    assert cut((0.125, 0.0, 0.875, 1.0), 640, 480) == (80, 0, 560, 480)
    assert cut((0.999, 0.999, 1.0, 1.0), 10, 10) == (9, 9, 10, 10)
