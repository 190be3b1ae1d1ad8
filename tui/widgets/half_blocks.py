"""Pictures as half blocks: each cell shows two pixels, one above the other; works in tmux, over SSH, in 256 colours.

rich-pixels' renderer is kept as the frame; its cells are made differently, for two reasons that were measured at
24x12 cells: equal neighbours become one run and near-equal pixels one colour, which sends fewer bytes; and styles are
made once for each pair of colours, without being spelled and parsed, which takes a fraction of the time.
"""

from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich_pixels import HalfcellRenderer
from textual.strip import Strip

from vlmscope.core.method.heatmap import GLYPHS, RGB

COLOURS = 96  #: of one picture: at this size the eye misses none, and a cell's style is often one made before

NEAR = 12  #: colours whose channels differ by no more than this are shown as one


@lru_cache(maxsize=4096)
def _colour(value: RGB) -> Color:
    return Color.from_rgb(*value)


@lru_cache(maxsize=16384)
def _style(lower: RGB | None, upper: RGB) -> Style:
    return Style.from_color(None if lower is None else _colour(lower), _colour(upper))


def _join_near(image: Image.Image) -> tuple[list[RGB], NDArray[np.uint16]]:
    """The palette of a picture in palette mode, and its pixels, each as the most frequent colour that is near its own.

    JPEG scatters a flat area over a dozen colours that no eye tells apart; joined, they are one run of cells.
    """
    indices = np.asarray(image)
    flat: NDArray[np.int16] = np.array(image.getpalette() or [0, 0, 0], dtype=np.int16).reshape(-1, 3)
    counts = np.bincount(indices.ravel(), minlength=len(flat))
    kept: list[int] = [int(np.argmax(counts))]
    table = np.arange(len(flat), dtype=np.uint16)
    for colour in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist():
        away: NDArray[np.int16] = np.abs(flat[kept] - flat[colour])
        near = np.flatnonzero(away.max(axis=1) <= NEAR)
        if len(near):
            table[colour] = kept[near[0]]
        else:
            kept.append(colour)
    palette: list[RGB] = [(r, g, b) for r, g, b in flat.tolist()]
    return palette, table[indices]


class RunRenderer(HalfcellRenderer):
    """rich-pixels' half cells, with equal neighbours joined and few colours."""

    def render(self, image: Image.Image, resize: tuple[int, int] | None) -> list[Segment]:
        if resize:
            image = image.resize(resize, resample=Image.Resampling.BOX)
        few = image.convert("RGB").quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        palette, indices = _join_near(few)
        segments: list[Segment] = []
        for line in (indices[0::2] * 256 + indices[1::2]).tolist():
            for pair, run in groupby(line):
                upper, lower = divmod(pair, 256)
                length = len(list(run))
                if upper == lower:
                    segments.append(Segment(" " * length, _style(None, palette[upper])))
                else:
                    segments.append(Segment("▄" * length, _style(palette[lower], palette[upper])))
            segments.append(Segment("\n"))
        return segments


_RENDERER = RunRenderer()


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """``image`` as large as ``width`` x ``height`` cells take it, its shape kept, an even number of pixels high."""
    scale = min(width / image.width, 2 * height / image.height)
    columns = max(1, min(width, round(image.width * scale)))
    rows = max(2, min(2 * height, round(image.height * scale / 2) * 2))
    return image.resize((columns, rows), resample=Image.Resampling.BOX)


def half_blocks(image: Image.Image) -> list[Strip]:
    """One line for every two rows of pixels; ``image`` must be an even number of pixels high."""
    strips: list[Strip] = []
    line: list[Segment] = []
    for segment in _RENDERER.render(image, None):
        if segment.text == "\n":
            strips.append(Strip(line, image.width))
            line = []
        else:
            line.append(segment)
    return strips


def fade(image: Image.Image, background: RGB, share: float) -> Image.Image:
    """``image`` faded towards ``background``: how a picture looks that is out of date."""
    return Image.blend(image, Image.new("RGB", image.size, background), share)


def luminance_glyphs(image: Image.Image, *, dark: bool) -> list[Strip]:
    """The picture without colour: a glyph a cell, heavier where it is lighter (where darker, on a light theme)."""
    small = image.convert("L").resize((image.width, image.height // 2), resample=Image.Resampling.BOX)
    grey: NDArray[np.uint8] = np.asarray(ImageOps.autocontrast(small))  # ten glyphs are few: use them all
    level = grey if dark else 255 - grey
    index = level.astype(np.uint16) * (len(GLYPHS) - 1) // 255
    return [Strip([Segment("".join(GLYPHS[value] for value in line))], image.width) for line in index.tolist()]
