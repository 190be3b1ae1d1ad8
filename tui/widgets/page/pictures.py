"""Origin, activation and the scale between 0 and 10, side by side, as block characters."""

from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from vlmscope.core.method.heatmap import (
    GLYPHS,
    RGB,
    ColourMap,
    colours,
    glyph,
    glyph_rows,
    outline_colour,
    outlined,
    overlay,
    spread,
)
from vlmscope.core.method.norm import TOP
from vlmscope.tui.views.evidence import PictureView
from vlmscope.tui.widgets.blocks import cells_of, draw, fit_cells, snapped
from vlmscope.tui.widgets.lines import Span, blank, row, wrapped
from vlmscope.tui.widgets.page.frame import SCALE
from vlmscope.tui.widgets.page.pixels import CELL, Pixels
from vlmscope.tui.widgets.palette import STALE, Palette, style

FAINT = 0.3  #: of a picture, where there are few colours: the least that is shown of it where the neuron activates
POINTER: RGB = (255, 0, 170)  #: of the frame around a patch: no colour map has it

Patch = tuple[int, int]  #: its row and column on a sample's own grid


def fade(image: Image.Image, background: RGB) -> Image.Image:
    """``image`` faded towards ``background``: how a picture looks that is out of date."""
    return Image.blend(image, Image.new("RGB", image.size, background), STALE)


def luminance_glyphs(image: Image.Image, size: tuple[int, int], *, dark: bool) -> list[Strip]:
    """The picture without colour: a glyph a cell, heavier where it is lighter (where darker, on a light theme)."""
    small = image.convert("L").resize(size, resample=Image.Resampling.BOX)
    grey: NDArray[np.uint8] = np.asarray(ImageOps.autocontrast(small))  # ten glyphs are few: use them all
    level = grey if dark else 255 - grey
    index = level.astype(np.uint16) * (len(GLYPHS) - 1) // 255
    return [Strip([Segment("".join(GLYPHS[value] for value in line))], size[0]) for line in index.tolist()]


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
    lines = wrapped(text, width - 2)[:height]
    return _centred([row([(f"{line:^{max(width - 2, 0)}}", palette.muted)], width) for line in lines], width, height)


def no_map(evidence: PictureView, waiting: str) -> str:
    """Why there is no map."""
    return f"no map: {evidence.map_problem}" if evidence.map_problem else waiting or "no map yet"


def origin_box(
    evidence: PictureView,
    size: tuple[int, int],
    palette: Palette,
    *,
    stale: bool,
    pointed: Patch | None = None,
    pixels: Pixels | None = None,
) -> list[Strip]:
    """The picture that the model saw, in a box of ``size`` cells.

    The user's own picture is shown whole, with a frame around the crop, unless a patch of the crop is pointed at.

    Args:
        pointed: the patch with a frame around it.
        pixels: shows the picture in true pixels; None: block characters do.
    """
    shown = evidence.crop if evidence.whole is None or pointed is not None else evidence.whole
    if shown is None:
        return message_box(f"no picture: {evidence.crop_problem}", *size, palette)
    image = fit_cells(shown, *size, CELL if pixels else palette.blocks.pixels)
    if palette.colourless:
        lines = luminance_glyphs(image, cells_of(image, palette.blocks), dark=palette.dark)
        return _centred(_reversed(lines, evidence, pointed), *size)
    return _centred(_drawn(image, evidence, palette, stale=stale, pointed=pointed, pixels=pixels), *size)


def drawn_map(evidence: PictureView, chosen: ColourMap | None, palette: Palette) -> ColourMap:
    """The colour map that a heatmap is drawn by: the chosen one, or the theme's; without a picture nothing can fade."""
    colour_map = chosen or palette.colour_map
    fades = colour_map in (ColourMap.DIM, ColourMap.FADE)
    return ColourMap.VIRIDIS if fades and evidence.crop is None else colour_map


def activation_box(
    evidence: PictureView,
    size: tuple[int, int],
    chosen: ColourMap | None,
    palette: Palette,
    *,
    stale: bool,
    waiting: str,
    cover: int | None = None,
    pointed: Patch | None = None,
    marked: bool = True,
    pixels: Pixels | None = None,
) -> list[Strip]:
    """Where in the picture the neuron fires, in a box of ``size`` cells; a line is around the patches above T_v.

    Args:
        chosen: the colour map; None for the theme's.
        marked: whether there is that line.
        cover: draw the visual tokens of this cover alone.
        pointed: the patch with a frame around it.
        pixels: shows the picture in true pixels; None: block characters do.
    """
    norms = evidence.cells(cover)
    if norms is None:
        return message_box(no_map(evidence, waiting), *size, palette)
    colour_map = drawn_map(evidence, chosen, palette)
    threshold = evidence.thresholds.T_v if marked else TOP
    rows, columns = norms.shape
    whole = evidence.crop or Image.new("RGB", (columns * 16, rows * 16))
    small = fit_cells(whole, *size, CELL if pixels else palette.blocks.pixels)
    if palette.colourless:
        width, height = cells_of(small, palette.blocks)
        lines = _glyph_lines(norms, threshold, (width, height), Style(dim=True) if stale else Style())
        return _centred(_reversed(lines, evidence, pointed), *size)
    # The overlay is laid over the small picture: the same colours as over the large one, and far less work.
    image = overlay(small, norms, colour_map, palette.background, _least(palette))
    colour = outline_colour(colour_map, palette.background)
    image = outlined(image, norms, threshold, colour, 2 if pixels else 1)
    return _centred(_drawn(image, evidence, palette, stale=stale, pointed=pointed, pixels=pixels), *size)


def _least(palette: Palette) -> float:
    return FAINT if palette.few_colours else 0


def _glyph_lines(norms: NDArray[np.float32], threshold: float, size: tuple[int, int], look: Style) -> list[Strip]:
    """The map in glyphs; those of patches above ``threshold`` are bold."""
    active = (spread(norms, *size) > threshold).tolist()
    lines = []
    for glyphs, above in zip(glyph_rows(norms, *size), active, strict=True):
        runs = groupby(zip(glyphs, above, strict=True), key=itemgetter(1))
        parts = [("".join(glyph for glyph, _ in run), is_above) for is_above, run in runs]
        lines.append(Strip([Segment(text, look + Style(bold=True) if bold else look) for text, bold in parts], size[0]))
    return lines


def _drawn(
    image: Image.Image,
    evidence: PictureView,
    palette: Palette,
    *,
    stale: bool,
    pointed: Patch | None,
    pixels: Pixels | None,
) -> list[Strip]:
    if stale and pixels is None:  # a picture of pixels takes too many bytes to be sent again; its caption is enough
        image = fade(image, palette.background)
    if pointed is not None and evidence.own_layout is not None:
        (x0, x1), (y0, y1) = _spans(evidence, pointed, image.size)
        hollow = x1 - x0 > 2 and y1 - y0 > 2
        image = image.copy()
        box = (x0, y0, x1 - 1, y1 - 1)
        ImageDraw.Draw(image).rectangle(box, outline=POINTER, fill=None if hollow else POINTER)
    return pixels.box(image) if pixels else draw(image, palette.blocks, few_colours=palette.few_colours)


def patch_rows(patch: int, patches: int, pixels: int) -> tuple[int, int]:
    """The first pixel of a patch along one axis and the one after its last, at least one of them."""
    first = min(patch * pixels // patches, pixels - 1)
    return first, max((patch + 1) * pixels // patches, first + 1)


def patch_at(evidence: PictureView, size: tuple[int, int], x: int, y: int) -> Patch | None:
    """Row and column of the patch that is drawn in a cell of a box of ``size`` cells; None beside the picture."""
    if evidence.own_layout is None:
        return None
    rows, columns = evidence.own_layout.grid
    shape = evidence.crop or Image.new("RGB", (columns * 16, rows * 16))
    width, height = fit_cells(shape, *size, (1, 1)).size
    column, row = x - (size[0] - width) // 2, y - (size[1] - height) // 2
    if not (0 <= column < width and 0 <= row < height):
        return None
    # The patch in the middle of the cell: where patches are smaller than cells, several share one.
    return (2 * row + 1) * rows // (2 * height), (2 * column + 1) * columns // (2 * width)


def _spans(evidence: PictureView, patch: Patch, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Columns and rows of a patch in a picture of ``size`` pixels or cells."""
    rows, columns = (1, 1) if evidence.own_layout is None else evidence.own_layout.grid
    return patch_rows(patch[1], columns, size[0]), patch_rows(patch[0], rows, size[1])


def _reversed(lines: list[Strip], evidence: PictureView, pointed: Patch | None) -> list[Strip]:
    """Without colour the patch that is pointed at is reversed, or what is around its inner cells."""
    if pointed is None or evidence.own_layout is None:
        return lines
    (x0, x1), (y0, y1) = _spans(evidence, pointed, (lines[0].cell_length, len(lines)))
    hollow = x1 - x0 > 2 and y1 - y0 > 2
    for y in range(y0, y1):
        line = lines[y]
        inner = hollow and y0 < y < y1 - 1
        parts = [(x0, x0 + 1), (x1 - 1, x1)] if inner else [(x0, x1)]
        for start, end in parts:
            middle = line.crop(start, end).apply_style(Style(reverse=True))
            line = Strip.join([line.crop(0, start), middle, line.crop(end, line.cell_length)])
        lines[y] = line
    return lines


def scale(height: int, colour_map: ColourMap, palette: Palette, threshold: float | None = None) -> list[Strip]:
    """Norms from 10 at the top to 0, with the colours (or glyphs) that they are drawn in; ``Tv`` where it is."""
    # Two levels a cell, as in half blocks.
    levels = np.linspace(10, 0, 2 * height, dtype=np.float32)
    drawn = colours(levels, colour_map, palette.background, _least(palette))
    table = [(r, g, b) for r, g, b in (snapped(drawn) if palette.few_colours else drawn).tolist()]
    numbers = {(height - 1) // 2: " 5"}
    if threshold is not None:
        numbers[round((height - 1) * (1 - min(threshold / TOP, 1)))] = "Tv"
    numbers |= {0: "10", height - 1: " 0"}
    lines = []
    for y in range(height):
        if palette.colourless:
            swatch: Span = (glyph(float(levels[2 * y])) * 2, palette.text)
        else:
            swatch = ("▄▄", style(table[2 * y + 1], table[2 * y]))
        lines.append(row([(f"{numbers.get(y, '  ')} ", palette.muted), swatch], SCALE))
    return lines


def captions(
    evidence: PictureView,
    size: tuple[int, int],
    colour_map: ColourMap,
    palette: Palette,
    *,
    stale: bool,
    cover: int | None = None,
) -> tuple[Strip, Strip]:
    """The lines above the two boxes; a picture that is out of date bears its own address."""
    width = size[0]
    if stale:
        which = f"#{evidence.sample}" if evidence.sample is not None else evidence.name
        note = row([(f"still {evidence.neuron} {which}", palette.warning)], width)
        return note, note
    name, norms, layout = row([("origin", palette.muted)], width), evidence.visual, evidence.layout
    if norms is None or layout is None:
        return name, row([("activation ", palette.muted)], width)
    shown = evidence.cover(cover)
    norms = norms if shown is None else norms[layout.cover == shown]
    peak = float(norms.max()) if norms.size else 0.0
    mark = "" if evidence.exact else "≈"
    value = f"peak {mark}{peak:.1f}" if peak > 0 else "silent here"
    tries = [(f"activation {colour_map} ", value), (f"{colour_map} ", value)]
    if evidence.covers > 1:
        # Which cover is drawn matters more than the names of colours.
        which = cover_words(evidence, cover)
        short = which.replace(" of ", "/", 1), value.removeprefix("peak ")
        tries = [(f"{which} · {colour_map} ", value), (f"{which} ", value), (f"{short[0]} ", short[1])]
        tries.append((f"{short[0].partition(',')[0]} ", short[1]))
    head, value = next(((head, value) for head, value in tries if len(head) + len(value) <= width), tries[-1])
    return name, row([(head, palette.muted), (value, palette.text)], width)


def cover_words(evidence: PictureView, chosen: int | None) -> str:
    """Which cover is drawn: ``2 covers, 36 x 48`` for all, ``cover 1 of 2, 24 x 24`` for one, with the grid's cells."""
    cover, layout = evidence.cover(chosen), evidence.layout
    if layout is None:
        return ""
    rows, columns = layout.grid if cover is None else layout.grid_of(cover)
    which = f"{layout.covers} covers" if cover is None else f"cover {cover + 1} of {layout.covers}"
    return f"{which}, {rows} x {columns}"
