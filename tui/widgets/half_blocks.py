"""Pictures as half blocks: each cell shows two pixels, one above the other; works in tmux, over SSH, in 256 colours.

rich-pixels' renderer is kept as the frame; its cells are made differently, for two reasons that were measured at
24x12 cells: equal neighbours become one run and near-equal pixels one colour, which sends fewer bytes, and styles are
made without being spelled and parsed again, which takes half the time.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich_pixels import HalfcellRenderer
from textual.strip import Strip

from core.heatmap import GLYPHS, RGB

_STEP = 6  # colours are rounded to multiples of this: unseen at this size, and flat areas become runs

Pixel = tuple[int, int, int]


@lru_cache(maxsize=8192)
def _style(lower: Pixel | None, upper: Pixel) -> Style:
    return Style(color=None if lower is None else Color.from_rgb(*lower), bgcolor=Color.from_rgb(*upper))


def _run(upper: Pixel, lower: Pixel, length: int) -> Segment:
    if upper == lower:
        return Segment(" " * length, _style(None, upper))
    return Segment("▄" * length, _style(lower, upper))


class RunRenderer(HalfcellRenderer):
    """rich-pixels' half cells, with equal neighbours joined."""

    def render(self, image: Image.Image, resize: tuple[int, int] | None) -> list[Segment]:
        if resize:
            image = image.resize(resize, resample=Image.Resampling.BOX)
        pixels = np.asarray(image.convert("RGB")).astype(np.uint16)
        pixels = np.minimum((pixels + _STEP // 2) // _STEP * _STEP, 255)
        rows: list[list[list[int]]] = pixels.tolist()
        segments: list[Segment] = []
        for upper_row, lower_row in zip(rows[0::2], rows[1::2], strict=True):
            run: tuple[list[int], list[int]] | None = None
            length = 0
            for pair in zip(upper_row, lower_row, strict=True):
                if run is not None and pair != run:
                    segments.append(_run(_pixel(run[0]), _pixel(run[1]), length))
                    length = 0
                run = pair
                length += 1
            if run is not None:
                segments.append(_run(_pixel(run[0]), _pixel(run[1]), length))
            segments.append(Segment("\n"))
        return segments


def _pixel(values: list[int]) -> Pixel:
    return values[0], values[1], values[2]


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
    grey: NDArray[np.uint8] = np.asarray(image.convert("L").resize((image.width, image.height // 2)))
    level = grey if dark else 255 - grey
    index = level.astype(np.uint16) * (len(GLYPHS) - 1) // 255
    return [Strip([Segment("".join(GLYPHS[value] for value in line))], image.width) for line in index.tolist()]
