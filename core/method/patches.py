"""From parts of a picture to the cells of a grid over what the model sees: pooling of boxes and masks by area."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Corners = tuple[float, float, float, float]  #: x0, y0, x1, y1 in pixels; x1 and y1 are exclusive


def covered(boxes: Sequence[Corners], size: tuple[float, float], grid: tuple[int, int]) -> NDArray[np.float32]:
    """The share of each cell's area that is in any of ``boxes``, exactly: float32 (rows, columns), 0 to 1.

    Args:
        boxes: in pixels of what the model sees; parts outside of it are left out.
        size: its height and width.
        grid: rows and columns.
    """
    (height, width), (rows, columns) = size, grid
    xs = _edges([x for box in boxes for x in (box[0], box[2])], width, columns)
    ys = _edges([y for box in boxes for y in (box[1], box[3])], height, rows)
    inside = np.zeros((len(ys) - 1, len(xs) - 1), dtype=np.bool_)
    middle_x, middle_y = (xs[:-1] + xs[1:]) / 2, (ys[:-1] + ys[1:]) / 2
    for x0, y0, x1, y1 in boxes:
        inside |= ((middle_y > y0) & (middle_y < y1))[:, None] & ((middle_x > x0) & (middle_x < x1))
    area = inside * np.diff(ys)[:, None] * np.diff(xs)
    found = np.zeros(grid)
    at_y = np.minimum((middle_y * rows / height).astype(np.int64), rows - 1)  # a size may not be a whole number
    at_x = np.minimum((middle_x * columns / width).astype(np.int64), columns - 1)
    np.add.at(found, (at_y[:, None], at_x[None, :]), area)
    return (found * rows * columns / (height * width)).clip(0, 1).astype(np.float32)


def _edges(found: Sequence[float], length: float, cells: int) -> NDArray[np.float64]:
    """All coordinates inside ``length`` at which a box or a cell begins or ends."""
    grid = np.arange(cells + 1) * (length / cells)
    return np.unique(np.concatenate([grid, np.clip(np.array(found, dtype=np.float64), 0, length)]))


def pooled(mask: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """The mean of a picture's pixels over each cell, weighted by area where a cell's edge divides a pixel.

    Args:
        mask: float32 (H, W), over the crop that the model sees.

    Returns:
        float32 (rows, columns).
    """
    weights = [_overlap(pixels, cells) for pixels, cells in zip(mask.shape, grid, strict=True)]
    return (weights[0] @ mask.astype(np.float64) @ weights[1].T).astype(np.float32)


def _overlap(pixels: int, cells: int) -> NDArray[np.float64]:
    """What share of each cell each pixel fills: float64 (cells, pixels), rows sum to 1."""
    begin = np.arange(cells)[:, None] * pixels / cells
    end = (np.arange(cells)[:, None] + 1) * pixels / cells
    at = np.arange(pixels)
    lengths = np.clip(np.minimum(end, at + 1) - np.maximum(begin, at), 0, None)
    shares: NDArray[np.float64] = lengths * cells / pixels
    return shares
