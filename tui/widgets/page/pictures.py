"""Origin, activation and the scale between 0 and 10, side by side."""

import textwrap

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from vlmscope.core.method.heatmap import ColourMap, colours, glyph, glyph_rows, overlay
from vlmscope.tui.views.evidence import PictureView
from vlmscope.tui.widgets.half_blocks import fade, fit, half_blocks, luminance_glyphs
from vlmscope.tui.widgets.lines import Part, blank, row
from vlmscope.tui.widgets.page.frame import SCALE
from vlmscope.tui.widgets.palette import Palette, style

STALE = 0.6  #: how far a picture that is out of date fades into the background


def _centred(strips: list[Strip], width: int, height: int) -> list[Strip]:
    """``strips`` in the middle of a box."""
    inner = max((strip.cell_length for strip in strips), default=0)
    left = (width - inner) // 2
    above = (height - len(strips)) // 2
    lines = [
        Strip.join([Strip.blank(left), strip.adjust_cell_length(inner), Strip.blank(width - left - inner)])
        for strip in strips
    ]
    return [*blank(width, above), *lines, *blank(width, height - above - len(lines))]


def message_box(text: str, width: int, height: int, palette: Palette) -> list[Strip]:
    """Why there is no picture, where the picture would be."""
    lines = textwrap.wrap(text, max(width - 2, 4))[:height]
    return _centred([row([(f"{line:^{width - 2}}", palette.muted)], width) for line in lines], width, height)


def no_map(evidence: PictureView, waiting: str) -> str:
    """Why there is no map."""
    return f"no map: {evidence.map_problem}" if evidence.map_problem else waiting or "no map yet"


def origin_box(evidence: PictureView, size: tuple[int, int], palette: Palette, *, stale: bool) -> list[Strip]:
    """The picture that the model saw."""
    if evidence.crop is None:
        return message_box(f"no picture: {evidence.crop_problem}", *size, palette)
    image = fit(evidence.crop, *size)
    if palette.colourless:
        return _centred(luminance_glyphs(image, dark=palette.dark), *size)
    if stale:
        image = fade(image, palette.background, STALE)
    return _centred(half_blocks(image), *size)


def activation_box(
    evidence: PictureView, size: tuple[int, int], colour_map: ColourMap, palette: Palette, *, stale: bool, waiting: str
) -> list[Strip]:
    """Where in the picture the neuron fires."""
    if evidence.visual is None:
        return message_box(no_map(evidence, waiting), *size, palette)
    if evidence.crop is None and colour_map is ColourMap.FADE:
        colour_map = ColourMap.VIRIDIS  # there is nothing to fade
    rows, columns = evidence.visual.shape
    if evidence.crop is not None:
        small = fit(evidence.crop, *size)
    else:
        from PIL import Image

        small = fit(Image.new("RGB", (columns * 16, rows * 16)), *size)
    if palette.colourless:
        lines = glyph_rows(evidence.visual, small.width, small.height // 2)
        look = Style(dim=True) if stale else Style()
        return _centred([Strip([Segment(line, look)], small.width) for line in lines], *size)
    # The overlay is laid over the small picture: the same colours as over the large one, and far less work.
    image = overlay(small, evidence.visual, colour_map)
    if stale:
        image = fade(image, palette.background, STALE)
    return _centred(half_blocks(image), *size)


def scale(height: int, colour_map: ColourMap, palette: Palette) -> list[Strip]:
    """Norms from 10 at the top to 0, with their colours (or glyphs)."""
    # Two levels a cell, as in the pictures.
    levels = np.linspace(10, 0, 2 * height, dtype=np.float32)
    table = [(int(r), int(g), int(b)) for r, g, b in colours(levels, colour_map)]
    numbers = {0: "10", (height - 1) // 2: " 5", height - 1: " 0"}
    lines = []
    for y in range(height):
        if palette.colourless:
            swatch: Part = (glyph(float(levels[2 * y])) * 2, palette.text)
        else:
            swatch = ("▄▄", style(table[2 * y + 1], table[2 * y]))
        lines.append(row([(f"{numbers.get(y, '  ')} ", palette.muted), swatch], SCALE))
    return lines


def captions(
    evidence: PictureView | None, size: tuple[int, int], colour_map: ColourMap, palette: Palette, *, stale: bool
) -> tuple[Strip, Strip]:
    """The lines above the two boxes; a picture that is out of date bears its own address."""
    width = size[0]
    if evidence is None:
        return row([("origin", palette.muted)], width), row([("activation", palette.muted)], width)
    if stale:
        which = f"#{evidence.sample}" if evidence.sample is not None else evidence.name
        note = row([(f"still {evidence.neuron} {which}", palette.warning)], width)
        return note, note
    left: list[Part] = [("origin", palette.muted)]
    right: list[Part] = [("activation ", palette.muted)]
    if evidence.visual is not None:
        peak = float(evidence.visual.max()) if evidence.visual.size else 0.0
        mark = "" if evidence.exact else "≈"
        value = f"peak {mark}{peak:.1f}" if peak > 0 else "silent here"
        if len(f"activation {colour_map} {value}") > width:
            right.clear()
        right += [(f"{colour_map} ", palette.muted), (value, palette.text)]
    return row(left, width), row(right, width)
