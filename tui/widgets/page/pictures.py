"""Origin, activation and the scale between 0 and 10, side by side, as half blocks: each cell shows two pixels.

Half blocks work in tmux, over SSH, in 256 colours. rich-pixels' renderer is kept as the frame; its cells are made
differently, for two reasons that were measured at 24x12 cells: equal neighbours become one run and near-equal pixels
one colour, which sends fewer bytes; and styles are made once for each pair of colours, without being spelled and
parsed, which takes a fraction of the time.
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

from vlmscope.core.method.heatmap import GLYPHS, RGB, ColourMap, colours, glyph, glyph_rows, overlay
from vlmscope.tui.views.evidence import PictureView
from vlmscope.tui.widgets.lines import Span, blank, row, wrapped
from vlmscope.tui.widgets.page.frame import SCALE
from vlmscope.tui.widgets.palette import Palette, style

STALE = 0.6  #: how far a picture that is out of date fades into the background
COLOURS = 96  #: of one picture: enough for the eye at this size, and few enough that styles are reused
POINTER: RGB = (255, 0, 170)  #: of the frame around a patch: no colour map has it
NEAR = 12  #: colours whose channels differ by no more than this are shown as one


@lru_cache(maxsize=4096)
def _colour(value: RGB) -> Color:
    return Color.from_rgb(*value)


@lru_cache(maxsize=16384)
def _style(lower: RGB | None, upper: RGB) -> Style:
    return Style.from_color(None if lower is None else _colour(lower), _colour(upper))


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


def fade(image: Image.Image, background: RGB) -> Image.Image:
    """``image`` faded towards ``background``: how a picture looks that is out of date."""
    return Image.blend(image, Image.new("RGB", image.size, background), STALE)


def luminance_glyphs(image: Image.Image, *, dark: bool) -> list[Strip]:
    """The picture without colour: a glyph a cell, heavier where it is lighter (where darker, on a light theme)."""
    small = image.convert("L").resize((image.width, image.height // 2), resample=Image.Resampling.BOX)
    grey: NDArray[np.uint8] = np.asarray(ImageOps.autocontrast(small))  # ten glyphs are few: use them all
    level = grey if dark else 255 - grey
    index = level.astype(np.uint16) * (len(GLYPHS) - 1) // 255
    return [Strip([Segment("".join(GLYPHS[value] for value in line))], image.width) for line in index.tolist()]


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


def origin_box(evidence: PictureView, size: tuple[int, int], palette: Palette, *, stale: bool) -> list[Strip]:
    """The picture that the model saw."""
    if evidence.crop is None:
        return message_box(f"no picture: {evidence.crop_problem}", *size, palette)
    image = fit(evidence.crop, *size)
    if palette.colourless:
        return _centred(luminance_glyphs(image, dark=palette.dark), *size)
    if stale:
        image = fade(image, palette.background)
    return _centred(half_blocks(image), *size)


def activation_box(
    evidence: PictureView,
    size: tuple[int, int],
    colour_map: ColourMap,
    palette: Palette,
    *,
    stale: bool,
    waiting: str,
    cover: int | None = None,
) -> list[Strip]:
    """Where in the picture the neuron fires; ``cover``: by the visual tokens of this cover alone."""
    norms = evidence.cells(cover)
    if norms is None:
        return message_box(no_map(evidence, waiting), *size, palette)
    if evidence.crop is None and colour_map is ColourMap.FADE:
        colour_map = ColourMap.VIRIDIS  # there is nothing to fade
    rows, columns = norms.shape
    small = fit(evidence.crop or Image.new("RGB", (columns * 16, rows * 16)), *size)
    if palette.colourless:
        lines = glyph_rows(norms, small.width, small.height // 2)
        look = Style(dim=True) if stale else Style()
        return _centred([Strip([Segment(line, look)], small.width) for line in lines], *size)
    # The overlay is laid over the small picture: the same colours as over the large one, and far less work.
    image = overlay(small, norms, colour_map)
    if stale:
        image = fade(image, palette.background)
    return _centred(half_blocks(image), *size)


def patch_rows(patch: int, patches: int, pixels: int) -> tuple[int, int]:
    """The first pixel of a patch along one axis and the one after its last, at least one of them."""
    first = min(patch * pixels // patches, pixels - 1)
    return first, max((patch + 1) * pixels // patches, first + 1)


def with_pointer(
    strips: list[Strip],
    evidence: PictureView,
    size: tuple[int, int],
    at: tuple[int, int],
    palette: Palette,
) -> list[Strip]:
    """A box of ``size`` cells with a frame around the patch ``at`` this row and column of the sample's own grid."""
    if evidence.own_layout is None:
        return strips
    rows, columns = evidence.own_layout.grid
    shape = evidence.crop or Image.new("RGB", (columns * 16, rows * 16))
    small = fit(shape, *size)
    left, above = (size[0] - small.width) // 2, (size[1] - small.height // 2) // 2
    x0, x1 = patch_rows(at[1], columns, small.width)
    y0, y1 = patch_rows(at[0], rows, small.height)
    hollow = x1 - x0 > 2 and y1 - y0 > 2
    lines = list(strips)
    for cell_y in range(y0 // 2, (y1 + 1) // 2):
        cells: list[Segment] = []
        line = lines[above + cell_y]
        for x in range(x0, x1):
            inside = hollow and x0 < x < x1 - 1
            upper, lower = (y0 <= y < y1 and not (inside and y0 < y < y1 - 1) for y in (2 * cell_y, 2 * cell_y + 1))
            (segment,) = line.crop(left + x, left + x + 1) or [Segment(" ")]
            cells.append(_pointed(segment, upper, lower, palette))
        start, end = left + x0, left + x1
        lines[above + cell_y] = Strip.join([line.crop(0, start), Strip(cells), line.crop(end, line.cell_length)])
    return lines


def _pointed(segment: Segment, upper: bool, lower: bool, palette: Palette) -> Segment:
    """A cell whose upper or lower pixel belongs to the frame; without colour it is reversed."""
    look = segment.style or Style()
    if not (upper or lower):
        return segment
    if palette.colourless or look.bgcolor is None:
        return Segment(segment.text, look + Style(reverse=True))
    over, under = look.bgcolor, look.color if segment.text == "▄" and look.color is not None else look.bgcolor
    mark = _colour(POINTER)
    return Segment("▄", Style(color=mark if lower else under, bgcolor=mark if upper else over))


def scale(height: int, colour_map: ColourMap, palette: Palette) -> list[Strip]:
    """Norms from 10 at the top to 0, with their colours (or glyphs)."""
    # Two levels a cell, as in the pictures.
    levels = np.linspace(10, 0, 2 * height, dtype=np.float32)
    table = [(int(r), int(g), int(b)) for r, g, b in colours(levels, colour_map)]
    numbers = {0: "10", (height - 1) // 2: " 5", height - 1: " 0"}
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
