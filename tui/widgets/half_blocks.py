"""Half blocks, each cell two pixels: rich-pixels' renderer, made to write few bytes."""

from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.segment import Segment
from rich_pixels import HalfcellRenderer
from textual.strip import Strip

from vlmscope.core.method.heatmap import RGB
from vlmscope.tui.widgets.blocks import NEAR, cell_style, snapped

COLOURS = 96  #: of one picture: enough for the eye, and few enough that styles are reused


class RunRenderer(HalfcellRenderer):
    """rich-pixels' half cells, with equal neighbours joined and few colours.

    Its own cells are one segment each, whose style is spelled and parsed: at 24x12 cells that takes several times the
    bytes and the time.
    """

    def __init__(self, *, few_colours: bool = False) -> None:
        """``few_colours``: those of the 256-colour palette alone."""
        super().__init__()
        self._few_colours = few_colours

    def render(self, image: Image.Image, resize: tuple[int, int] | None) -> list[Segment]:
        if resize:
            image = image.resize(resize, resample=Image.Resampling.BOX)
        few = image.convert("RGB").quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        palette, indices = _join_near(few)
        if self._few_colours:
            palette = [(r, g, b) for r, g, b in snapped(np.array(palette, dtype=np.uint8)).tolist()]
        segments: list[Segment] = []
        for line in (indices[0::2] * 256 + indices[1::2]).tolist():
            for pair, run in groupby(line):
                upper, lower = divmod(pair, 256)
                length = len(list(run))
                if upper == lower:
                    segments.append(Segment(" " * length, cell_style(palette[upper], None)))
                else:
                    segments.append(Segment("▄" * length, cell_style(palette[upper], palette[lower])))
            segments.append(Segment("\n"))
        return segments


def half_blocks(image: Image.Image, *, few_colours: bool) -> list[Strip]:
    """One line for every two rows of pixels; ``image`` must be an even number of pixels high."""
    strips: list[Strip] = []
    line: list[Segment] = []
    for segment in RunRenderer(few_colours=few_colours).render(image, None):
        if segment.text == "\n":
            strips.append(Strip(line, image.width))
            line = []
        else:
            line.append(segment)
    return strips


def _join_near(image: Image.Image) -> tuple[list[RGB], NDArray[np.uint16]]:
    """The palette of a picture in palette mode, and its pixels, each as the most frequent colour that is near its own.

    JPEG scatters a flat area over a dozen colours that look the same; joined, they are one run of cells.
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
