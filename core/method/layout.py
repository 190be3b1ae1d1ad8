"""Where each visual token looks: boxes in the picture that the model sees. Plain numpy, no model.

Models place visual tokens in many ways: one grid, a thumbnail and tiles, merged patches, crops. The boxes say all that
maps, scores and the screen need, so none of them has to know a family.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

SCALE = 4096  #: edges are multiples of 1 / SCALE: finer than any grid, and exact in float32
Box = tuple[float, float, float, float]  #: x0, y0, x1, y1, as shares of a picture's width and height
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class VisualLayout:
    """The boxes of a sample's V visual tokens, in the order of the sequence. Make it with ``of`` or ``plain``.

    A cover is one covering of the picture, or of a part of it. A thumbnail with tiles has two.

    Attributes:
        edges: uint16 (V, 4), x0, y0, x1, y1 in units of 1 / 4096 of the width or height of what the model sees.
        cover: uint8 (V,), 0 for the first cover in the sequence, 1 for the next.
    """

    edges: NDArray[np.uint16]
    cover: NDArray[np.uint8]

    @classmethod
    def of(cls, boxes: NDArray[np.floating], cover: Sequence[int] | NDArray[np.integer]) -> Self:
        """Round boxes (V, 4), 0 to 1, to multiples of 1 / 4096.

        Raises:
            ValueError: if a box is empty or outside of the picture, or there are no tokens.
        """
        edges = np.rint(np.asarray(boxes, dtype=np.float64) * SCALE)
        covers = np.asarray(cover)
        if edges.ndim != 2 or edges.shape[1] != 4 or covers.shape != edges.shape[:1] or not len(edges):
            raise ValueError(f"boxes of the shape {edges.shape} for covers of the shape {covers.shape}")
        inside = (edges >= 0) & (edges <= SCALE)  # False for NaN, too
        if not inside.all() or (edges[:, 2:] <= edges[:, :2]).any() or covers.min() < 0 or covers.max() > 255:
            raise ValueError("a box is empty or outside of the picture, or a cover is not 0 to 255")
        return cls(edges.astype(np.uint16), covers.astype(np.uint8))

    @classmethod
    def plain(cls, rows: int, columns: int) -> Self:
        """One token for each cell of a grid, row by row, as LLaVA-1.5 has them."""
        y, x = (part.ravel() for part in np.mgrid[:rows, :columns])
        boxes = np.stack([x / columns, y / rows, (x + 1) / columns, (y + 1) / rows], axis=1)
        return cls.of(boxes, np.zeros(rows * columns, dtype=np.uint8))

    def __len__(self) -> int:
        """V."""
        return len(self.edges)

    def __eq__(self, other: object) -> bool:
        """Whether all boxes and covers are the same."""
        return isinstance(other, VisualLayout) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits that differ for different layouts: of SHA-256 over edges and covers."""
        data = self.edges.astype("<u2").tobytes() + self.cover.tobytes()
        return hashlib.sha256(data).hexdigest()[:16]

    @property
    def boxes(self) -> NDArray[np.float32]:
        """float32 (V, 4), x0, y0, x1, y1 from 0 to 1."""
        return self.edges.astype(np.float32) / np.float32(SCALE)

    @cached_property
    def covers(self) -> int:
        """How many covers there are."""
        return int(self.cover.max()) + 1

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the finest cover: that with the most of them, of equal ones the first."""
        return max((self.grid_of(cover) for cover in range(self.covers)), key=lambda grid: grid[0] * grid[1])

    def grid_of(self, cover: int) -> tuple[int, int]:
        """Rows and columns of one cover: how many different upper and left edges its boxes have."""
        own = self.edges[self.cover == cover]
        return len(np.unique(own[:, 1])), len(np.unique(own[:, 0]))

    @cached_property
    def is_plain(self) -> bool:
        """Whether it is ``plain(*grid)``."""
        return len(self) == self.grid[0] * self.grid[1] and self.id == VisualLayout.plain(*self.grid).id

    def cells(
        self, values: NDArray[np.float32], rows: int, columns: int, cover: int | None = None
    ) -> NDArray[np.float32]:
        """A grid of cells, each with the largest value of the tokens that ``pairs`` has for it, 0 where it has none.

        Args:
            values: float32 (..., V). cover: of which tokens alone count; None for all.

        Returns:
            float32 (..., rows, columns). On a plain layout's own grid these are the values themselves.
        """
        tokens, cells = self.pairs(rows, columns, cover)
        found = np.zeros((*values.shape[:-1], rows * columns), dtype=np.float32)
        filled, starts = np.unique(cells, return_index=True)
        found[..., filled] = np.maximum.reduceat(values[..., tokens], starts, axis=-1)
        return found.reshape(*values.shape[:-1], rows, columns)

    def pairs(self, rows: int, columns: int, cover: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which tokens lie on which cells of a grid: two arrays of the same length, sorted by cell, then by token.

        A token lies on the cells whose middles are in its box. One that has no middle in it, being finer than the
        cells, lies on the cell that holds its own middle: so no token is lost. A middle on an edge belongs to the box
        right of it or below it. Cells are numbered row by row.
        """
        kept = self._pairs.get((rows, columns, cover))
        if kept is None:
            kept = self._pairs[rows, columns, cover] = self._make_pairs(rows, columns, cover)
        return kept

    @cached_property
    def _pairs(self) -> dict[tuple[int, int, int | None], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return {}

    def _make_pairs(self, rows: int, columns: int, cover: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        (left, right), (top, bottom) = self._spans(0, columns), self._spans(1, rows)
        own = np.arange(len(self)) if cover is None else np.flatnonzero(self.cover == cover)
        found = [
            (row * columns + column, token)
            for token in own.tolist()
            for row in range(top[token], bottom[token])
            for column in range(left[token], right[token])
        ]
        pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
        return pairs[:, 1], pairs[:, 0]

    def _spans(self, axis: int, cells: int) -> tuple[list[int], list[int]]:
        """The first cell and the one after the last, of each token along one axis: 0 for columns, 1 for rows."""
        low, high = (self.edges[:, at].astype(np.int64) for at in (axis, axis + 2))
        # Cell i has its middle at (i + 1/2) / cells: the first i with (2 i + 1) * SCALE >= 2 * low * cells.
        first, stop = (-((SCALE - 2 * edge * cells) // (2 * SCALE)) for edge in (low, high))
        middle = np.minimum((low + high) * cells // (2 * SCALE), cells - 1)
        narrow = first >= stop
        first, stop = np.where(narrow, middle, first), np.where(narrow, middle + 1, stop)
        return first.tolist(), stop.tolist()

    def place(self, token: int, rows: int, columns: int) -> tuple[int, int]:
        """Row and column, on a grid, of the cell that holds the middle of a token's box."""
        x0, y0, x1, y1 = (int(edge) for edge in self.edges[token])
        row, column = (y0 + y1) * rows // (2 * SCALE), (x0 + x1) * columns // (2 * SCALE)
        return min(row, rows - 1), min(column, columns - 1)


def cut(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a picture that ``box`` covers, in whole pixels, at least one each way: left, top, right, bottom."""
    left, top = min(round(box[0] * width), width - 1), min(round(box[1] * height), height - 1)
    return left, top, max(round(box[2] * width), left + 1), max(round(box[3] * height), top + 1)
