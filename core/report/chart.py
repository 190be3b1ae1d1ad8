"""The statistics as a picture: label shares by layer as stacked bars. Only numpy and Pillow.

One row of two panels for each scan, and one for its control: on the left all neurons (the paper's figure 5), on the
right the high-confidence ones (figure 6). Both are shares of a layer's neurons, so that the height of a bar on the
right says how many are high-confidence. Dots mark the share of fragile labels. Letters
say the same as the colours. The same statistics give the same bytes (with the same Pillow).
"""

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlmscope.core.analysis.statistics import Counts, ScanStatistics, shares
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import COLOURS, Label

INK, SOFT, GRID = "#222222", "#666666", "#DDDDDD"
PANEL = (400, 200)  #: pixels of a panel without its labels, at least
MARGIN, AXIS, HEAD, FOOT, GAP = 24, 44, 46, 44, 40
LETTER_ROOM = 13  #: pixels of width and height that a segment needs for its letter
MAX_LAYERS_WIDE = 40  #: from here on bars get narrower instead of panels wider
NAME_WIDTH = 90  #: characters of a name or model


def chart_png(scans: Sequence[ScanStatistics]) -> bytes:
    """The picture of these scans, their controls beneath them, as a PNG."""
    buffer = io.BytesIO()
    draw_chart(scans).save(buffer, "PNG")
    return buffer.getvalue()


def draw_chart(scans: Sequence[ScanStatistics]) -> Image.Image:
    """The picture: RGB."""
    rows = [row for scan in scans for row in scan.both]
    widest = max(row.layers for row in rows)
    width = max(PANEL[0], 16 * min(widest, MAX_LAYERS_WIDE))
    height = HEAD + PANEL[1] + FOOT
    picture = Image.new("RGB", (2 * (MARGIN + AXIS + width) + GAP, len(rows) * height + 3 * MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    for at, row in enumerate(rows):
        top = MARGIN + at * height
        left = MARGIN + AXIS
        draw.text((left - AXIS, top), _title(row), INK, _font(15))
        for counts, what in ((row.counts, "all neurons"), (row.high_confidence, "high-confidence neurons")):
            draw.text((left, top + 22), what, SOFT, _font(12))
            is_all = counts is row.counts
            _panel(draw, (left, top + HEAD), width, counts, row, dots=is_all)
            left += width + GAP + AXIS
    _legend(draw, MARGIN, picture.height - 2 * MARGIN, any(row.fragile is not None for row in rows))
    return picture


def _title(row: ScanStatistics) -> str:
    at = row.thresholds
    name = plain(row.name, NAME_WIDTH) if row.seed is None else "control"
    settings = f"Tv {at.T_v:g}  nv {at.n_v}  Tt {at.T_t:g}  nt {at.n_t}"
    return f"{name}  ·  {plain(row.model, NAME_WIDTH)}  ·  {row.hook}  ·  {row.samples} samples  ·  {settings}"


def _panel(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, counts: Counts, row: ScanStatistics, dots: bool
) -> None:
    """One panel: axes, bars, and the dots of the fragile share."""
    left, top = corner
    height = PANEL[1]
    bottom = top + height
    for quarter in range(5):
        y = bottom - height * quarter // 4
        draw.line((left, y, left + width, y), GRID)
        draw.text((left - 6, y), f"{25 * quarter} %", SOFT, _font(11), anchor="rm")
    edges = [left + round(width * layer / row.layers) for layer in range(row.layers + 1)]
    gap = 2 if width / row.layers >= 8 else 0
    every = _tick_step(row.layers, width)
    part = shares(counts, np.full(row.layers, row.neurons))
    for layer in range(row.layers):
        x0 = edges[layer] + gap // 2
        x1 = max(x0, edges[layer + 1] - gap // 2 - 1)
        middle = (x0 + x1 + 1) / 2
        dot = None
        if dots and row.fragile is not None:
            dot = bottom - round(height * float(row.fragile[layer].sum()) / max(row.neurons, 1))
        ends = np.concatenate([[0.0], np.cumsum(np.nan_to_num(part[layer]))])
        for which in Label:
            y0, y1 = (bottom - round(height * float(ends[end])) for end in (which + 1, which))
            if y1 > y0:
                draw.rectangle((x0, y0, x1, y1 - 1), COLOURS[which])
            is_free = dot is None or abs(dot - (y0 + y1) / 2) > LETTER_ROOM - 2
            if is_free and min(y1 - y0, x1 - x0) >= LETTER_ROOM:
                _letter(draw, middle, (y0 + y1) / 2, which)
        if layer % every == 0:
            draw.text((middle, bottom + 5), str(layer), SOFT, _font(11), anchor="ma")
        if dot is not None:
            _dot(draw, middle, dot)
    draw.line((left, bottom, left + width, bottom), SOFT)
    draw.text((left + width / 2, bottom + 20), "layer", SOFT, _font(11), anchor="ma")


def _tick_step(layers: int, width: int) -> int:
    """Every how many layers a number has room."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if width / layers * step >= 18 or step == 1000)


def _letter(draw: ImageDraw.ImageDraw, x: float, y: float, which: Label) -> None:
    if which is Label.UNKNOWN:  # the font's own dot is one pixel
        draw.rectangle((x - 1.5, y - 1.5, x + 1, y + 1), INK)
    else:
        draw.text((x, y), which.letter, INK, _font(11), anchor="mm")


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    draw.ellipse((x - 5, y - 5, x + 4, y + 4), fill="white")
    draw.ellipse((x - 3, y - 3, x + 2, y + 2), fill=INK)


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int, dots: bool) -> None:
    x = float(left)
    for which in Label:
        draw.rectangle((x, top, x + 17, top + 17), COLOURS[which])
        _letter(draw, x + 9, top + 9, which)
        draw.text((x + 24, top + 9), which.word, INK, _font(12), anchor="lm")
        x += 24 + _font(12).getlength(which.word) + 24
    if dots:
        _dot(draw, x + 6, top + 9)
        words = "share of fragile labels: another label when Tv or Tt moves by 10 %"
        draw.text((x + 18, top + 9), words, INK, _font(12), anchor="lm")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes inside Pillow, so that a picture depends on no font of the machine."""
    return ImageFont.load_default(size)
