"""A sample as tokens with activations, for formats without pictures: patches become tokens such as ``<image 3,4>``.

Rows and columns count from 0, as in ``vlmscope show --json``. Activations are read off the stored map: approximate,
and 0 where they are negative.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.report.schema import whole
from vlmscope.core.store.example import Example

LIMIT = 1024  #: tokens of a sample, as Neuronpedia has them
TEXT_SHARE = 2  #: words take no more than one in so many where not everything fits


@dataclass(frozen=True, eq=False)
class SiteTokens:
    """One sample of one neuron.

    Attributes:
        tokens: patches row by row, then the description's tokens. values: float32, of the same length.
        patches: how many of them are patches. grid: their rows and columns.
    """

    tokens: tuple[str, ...]
    values: NDArray[np.float32]
    patches: int
    grid: tuple[int, int]


def site_tokens(example: Example, limit: int = LIMIT) -> SiteTokens | None:
    """The sample's patches and words, or None where the scan keeps no map of it.

    Where there are more than ``limit``, words around the largest stay, and patches are pooled to a coarser grid, each
    cell with its largest: so the largest activation is never lost.
    """
    if example.visual_values is None or example.text_map is None:
        return None
    words, word_values = example.sample.tokens, example.text_map[: len(example.sample.tokens)]
    rows, columns = example.grid
    if rows * columns + len(words) > limit:
        room = max(limit // TEXT_SHARE, limit - rows * columns)
        words, word_values = _around_the_largest(words, word_values, room)
        rows, columns = _coarser((rows, columns), limit - len(words))
    cells = example.map_layout.cells(example.visual_values, rows, columns)
    patches = [f"<image {row},{column}>" for row in range(rows) for column in range(columns)]
    values = np.maximum(np.concatenate([cells.ravel(), word_values]), 0).astype(np.float32)
    return SiteTokens((*patches, *map(site_text, words)), values, len(patches), (rows, columns))


def site_text(text: str) -> str:
    """``text`` as a database of these sites takes it: no NUL, neither spelled out, and no half characters."""
    clean = str(whole(text)).replace("\0", " ")
    return clean.replace("\\u0000", " ")


def _around_the_largest(
    words: tuple[str, ...], values: NDArray[np.float32], room: int
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    if len(words) <= room:
        return words, values
    start = int(np.clip(int(values.argmax()) - room // 2, 0, len(words) - room))
    return words[start : start + room], values[start : start + room]


def _coarser(grid: tuple[int, int], room: int) -> tuple[int, int]:
    """The finest grid of about this shape that has ``room`` cells at most."""
    rows, columns = grid
    while rows * columns > room:
        rows, columns = (rows - 1, columns) if rows * grid[1] >= columns * grid[0] and rows > 1 else (rows, columns - 1)
    return rows, columns
