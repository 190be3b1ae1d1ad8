"""Pixels in, cells out: a picture as block characters, of which each cell shows 2, 4, 6 or 8 pixels.

``fit`` makes the picture as large as a box of cells takes it, ``draw`` turns its pixels into lines. Half blocks are
rich-pixels'. All finer blocks have two colours for more than two pixels: each cell gets the two colours, and the
pixels of each, that are nearest to its own.
"""

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from vlmscope.core.method.heatmap import RGB
from vlmscope.tui.views.drawing import Blocks

if TYPE_CHECKING:
    from PIL import Image  # imported late: the screen's first paint needs no picture


NEAR = 12  #: colours whose channels differ by no more than this are shown as one
#: A cell keeps the colours of the cell before it where they are off by no more, as the root mean square. The first
#: that leaves as many runs as ``RUNS`` allows, or the last, is taken.
SPARE = (8, 12, 18, 27, 40)
RUNS = 0.5  #: of the cells: 24x12 of them take 7 KiB then, and the two pictures of a page with all else under 20


def fit(image: "Image.Image", width: int, height: int, blocks: Blocks) -> "Image.Image":
    """``image`` as large as ``width`` x ``height`` cells take it, its shape kept: whole cells of pixels.

    A cell is taken to be twice as high as wide.
    """
    return fit_cells(image, width, height, blocks.pixels)


def fit_cells(image: "Image.Image", width: int, height: int, cell: tuple[int, int]) -> "Image.Image":
    """``fit`` for cells of any number of pixels."""
    from PIL import Image

    across, down = cell
    scale = min(width / image.width, 2 * height / image.height)
    columns = max(1, min(width, round(image.width * scale)))
    rows = max(1, min(height, round(image.height * scale / 2)))
    return image.resize((columns * across, rows * down), resample=Image.Resampling.BOX)


def cells_of(image: "Image.Image", blocks: Blocks) -> tuple[int, int]:
    """How many columns and rows of cells a picture of ``fit`` takes."""
    across, down = blocks.pixels
    return image.width // across, image.height // down


def draw(image: "Image.Image", blocks: Blocks, *, few_colours: bool = False) -> list[Strip]:
    """A line for each row of cells.

    Args:
        image: whole cells of pixels, as ``fit`` makes it.
        few_colours: take those of the 256-colour palette alone, which terminals without more show as they are.
    """
    if blocks is Blocks.HALF:
        from vlmscope.tui.widgets.half_blocks import half_blocks  # late: other blocks need no rich-pixels

        return half_blocks(image, few_colours=few_colours)
    pixels = _by_cell(np.asarray(image.convert("RGB"), dtype=np.float32), blocks)
    best = _two_colours(pixels)
    for spare in SPARE:
        back, fore, begins = _joined(pixels, *best, spare)
        if begins.mean() <= RUNS:
            break
    ink = _off(pixels, fore) < _off(pixels, back)
    bits = (1 << np.arange(pixels.shape[2], dtype=np.uint16)).astype(np.uint16)
    glyphs = blocks.glyphs
    lines = (ink * bits).sum(axis=2, dtype=np.uint16).tolist()
    both = np.rint(np.concatenate([back, fore], axis=2)).astype(np.uint8)
    if few_colours:
        both = snapped(both.reshape(*both.shape[:2], 2, 3)).reshape(both.shape)
    pairs = both.tolist()
    strips: list[Strip] = []
    for line, colours, starts in zip(lines, pairs, begins.tolist(), strict=True):
        edges = [*(at for at, is_first in enumerate(starts) if is_first), len(line)]
        segments = []
        for start, end in pairwise(edges):
            text = "".join(glyphs[value] for value in line[start:end])
            red, green, blue, *ink_colour = colours[start]
            segments.append(Segment(text, cell_style((red, green, blue), _inked(text, ink_colour))))
        strips.append(Strip(segments, len(line)))
    return strips


def _inked(text: str, colour: list[int]) -> RGB | None:
    """The foreground of a run, which blanks do not need."""
    return None if text.isspace() else (colour[0], colour[1], colour[2])


@lru_cache(maxsize=4096)
def _colour(value: RGB) -> Color:
    return Color.from_rgb(*value)


@lru_cache(maxsize=16384)
def cell_style(back: RGB, fore: RGB | None) -> Style:
    return Style.from_color(None if fore is None else _colour(fore), _colour(back))


def _by_cell(pixels: NDArray[np.float32], blocks: Blocks) -> NDArray[np.float32]:
    """float32 (rows, columns, pixels of a cell, 3)."""
    across, down = blocks.pixels
    rows, columns = pixels.shape[0] // down, pixels.shape[1] // across
    cells = pixels.reshape(rows, down, columns, across, 3).swapaxes(1, 2)
    return cells.reshape(rows, columns, down * across, 3)


@lru_cache(maxsize=4)
def _halves(count: int) -> NDArray[np.float32]:
    """Every way to divide the pixels of a cell in two: float32 (2^(count-1), count), the last pixel always 0."""
    numbers = np.arange(1 << (count - 1))
    return ((numbers[:, None] >> np.arange(count)) & 1).astype(np.float32)


def _two_colours(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each cell the two colours that leave the least squared error, by trying all ways to divide its pixels.

    The error of a division is least where each part has its mean. What it is less by than with one colour is
    ``|S1|^2 / n1 + |S0|^2 / n0``, for the sums S and the counts n of the parts.

    Returns:
        Background and foreground, float32 (rows, columns, 3) each; the same where the two are near.
    """
    count = pixels.shape[2]
    masks = _halves(count)
    ones = masks.sum(axis=1)
    one = masks @ pixels  # (rows, columns, divisions, 3)
    rest = pixels.sum(axis=2, keepdims=True) - one
    gain = np.square(one).sum(axis=3) / np.maximum(ones, 1) + np.square(rest).sum(axis=3) / (count - ones)
    best = gain.argmax(axis=2)[..., None]
    chosen = ones[best]
    back = np.take_along_axis(rest, best[..., None], axis=2)[:, :, 0] / (count - chosen)
    fore = np.take_along_axis(one, best[..., None], axis=2)[:, :, 0] / np.maximum(chosen, 1)
    flat = (chosen == 0) | (np.abs(back - fore).max(axis=2, keepdims=True) <= NEAR)
    mean = pixels.mean(axis=2)
    return np.where(flat, mean, back), np.where(flat, mean, fore)


def _off(pixels: NDArray[np.float32], colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """The squared distance of each pixel from a colour: (..., pixels)."""
    off: NDArray[np.float32] = np.square(pixels - colour[..., None, :]).sum(axis=-1)
    return off


def _joined(
    pixels: NDArray[np.float32], back: NDArray[np.float32], fore: NDArray[np.float32], spare: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """The colours with fewer changes along a line: a change of colours takes some 40 bytes, a character 3 or 4.

    Returns:
        Both colours again, and where a run of the same two begins: bool (rows, columns).
    """
    rows, columns, count, _ = pixels.shape
    own = np.minimum(_off(pixels, back), _off(pixels, fore)).sum(axis=2)
    most = own + 3 * count * spare**2
    back, fore = back.copy(), fore.copy()
    begins = np.ones((rows, columns), dtype=np.bool_)
    for at in range(1, columns):
        here, before = pixels[:, at], at - 1
        off = np.minimum(_off(here, back[:, before]), _off(here, fore[:, before])).sum(axis=1)
        kept = off <= most[:, at]
        back[kept, at], fore[kept, at] = back[kept, before], fore[kept, before]
        begins[kept, at] = False
    return back, fore, begins


# -- 256 colours -------------------------------------------------------------------------------------------------------

_LEVELS = (0, 95, 135, 175, 215, 255)  # of the channels of xterm's colours 16 to 231; 232 to 255 are greys
_FINE = 8  # of a channel: colours that differ by less are snapped together


@lru_cache(maxsize=1)
def _nearest() -> NDArray[np.uint8]:
    """The nearest of xterm's 240 fixed colours to each colour of a grid: uint8 (32, 32, 32, 3)."""
    cube = [(r, g, b) for r in _LEVELS for g in _LEVELS for b in _LEVELS if not (r == g == b and 0 < r < 255)]
    greys = [(level, level, level) for level in range(8, 248, 10)]
    fixed: NDArray[np.int32] = np.array(cube + greys, dtype=np.int32)
    at = np.arange(_FINE // 2, 256, _FINE, dtype=np.int32)
    grid = np.stack(np.meshgrid(at, at, at, indexing="ij"), axis=-1).reshape(-1, 3)
    # |a - b|^2 without |a|^2, which is the same for all fixed colours.
    off = np.square(fixed).sum(axis=1) - 2 * (grid @ fixed.T)
    table: NDArray[np.uint8] = fixed[off.argmin(axis=1)].astype(np.uint8).reshape(32, 32, 32, 3)
    return table


def snapped(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The nearest colour of the 256-colour palette to each: uint8 (..., 3).

    Rich's own choice makes dark colours black: on a dark background a faint patch would be darker than none.
    """
    at = colours // _FINE
    result: NDArray[np.uint8] = _nearest()[at[..., 0], at[..., 1], at[..., 2]]
    return result
