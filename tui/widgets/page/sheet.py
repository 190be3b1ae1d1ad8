"""The contact sheet: a grid of small pictures with their maps, each with its rank, vote and peak words."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from rich.style import Style
from textual.strip import Strip

from vlmscope.tui.views.evidence import PictureView
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.sheet import SheetCell, SheetView
from vlmscope.tui.widgets.lines import Span, beside, blank, row
from vlmscope.tui.widgets.numbers import activation
from vlmscope.tui.widgets.page.frame import GAP
from vlmscope.tui.widgets.page.head import sample_line
from vlmscope.tui.widgets.page.words import shaded
from vlmscope.tui.widgets.palette import Palette

MOST, GLANCE, FEWEST = 20, 12, 4  #: pictures at once: at most, if they can be seen, at least
LEAST_ROWS = 6  #: lines of a picture in which something can be seen; it is twice as many cells wide
LEAST_WIDTH = 10  #: cells of a column: a caption's
WORD_LINES = 2  #: below a picture, at most
CHOSEN = Style(reverse=True, bold=True)
Box = Callable[[PictureView, tuple[int, int]], list[Strip]]  #: draws one picture with its map


@dataclass(frozen=True)
class SheetFrame:
    """How the room is divided: columns and rows of pictures, width and height of each, lines of words below each."""

    columns: int
    rows: int
    picture: tuple[int, int]
    words: int
    width: int  #: of a column

    @property
    def height(self) -> int:
        """Lines of a row: a caption, the picture, the words."""
        return 1 + self.picture[1] + self.words


@lru_cache(maxsize=64)
def sheet_frame(width: int, height: int, count: int) -> SheetFrame:
    """The grid for ``count`` pictures or more.

    Of the grids of 12 to 20 pictures the one that covers most is taken, if in its pictures something can be seen; else
    that with the most pictures in which something can be, or with the largest of at least four.
    """

    def made(columns: int, rows: int) -> SheetFrame:
        column, lines = (width + GAP) // columns - GAP, height // rows - 1
        high = max(min(lines - 1, column // 2), 1)
        return SheetFrame(columns, rows, (min(2 * high, column), high), max(min(lines - high, WORD_LINES), 0), column)

    grids = [
        made(columns, rows)
        for columns in range(1, max(min(MOST, (width + GAP) // (LEAST_WIDTH + GAP)), 1) + 1)
        for rows in range(1, max(min(MOST // columns, height // 2), 1) + 1)
    ]

    def shown(grid: SheetFrame) -> int:
        return min(grid.columns * grid.rows, count)

    seen = [grid for grid in grids if grid.picture[1] >= LEAST_ROWS]
    many = [grid for grid in seen if shown(grid) >= min(GLANCE, count)]
    if many:
        return max(many, key=lambda grid: (shown(grid) * grid.picture[1] ** 2, grid.words))
    if seen and max(map(shown, seen)) >= min(FEWEST, count):
        return max(seen, key=lambda grid: (shown(grid), grid.picture[1]))
    enough = [grid for grid in grids if shown(grid) >= min(FEWEST, count)] or grids
    return max(enough, key=lambda grid: (grid.picture[1], shown(grid)))


def window(view: SheetView, grid: SheetFrame, chosen: int) -> range:
    """The places of the pictures that are shown: whole screens, the last one full."""
    of = grid.columns * grid.rows
    rows = -(-len(view.cells) // grid.columns)
    first = min(chosen // of * grid.rows, max(rows - grid.rows, 0))
    return range(first * grid.columns, min(first * grid.columns + of, len(view.cells)))


def sheet_page(view: Scene, width: int, height: int, palette: Palette, box: Box) -> list[Strip]:
    """The sheet's lines; ``box`` draws a picture, dimmed if the view is stale."""
    sheet = view.sheet
    if sheet is None:
        return [row([("…", palette.muted)], width)]
    stale = sheet.key.neuron != view.state.neuron
    if not sheet.cells:
        return [row([("no top samples", palette.muted)], width)]
    chosen = sheet.place(view.state.rank)
    grid = sheet_frame(width, height - 1, len(sheet.cells))
    shown = window(sheet, grid, chosen)
    lines = [_head(sheet, shown, palette, width, stale=stale)]
    for start in range(shown.start, shown.stop, grid.columns):
        blocks = []
        for place in range(start, min(start + grid.columns, shown.stop)):
            marked = place == chosen and not stale
            blocks.append((_cell(sheet.cells[place], grid, palette, box, marked=marked), grid.width))
        lines += [line.adjust_cell_length(width) for line in beside(blocks, grid.height, GAP)]
    return lines[:height]


def chosen_line(view: Scene, palette: Palette, width: int) -> Strip:
    """``sample_line`` of the picture that is chosen on the contact sheet."""
    sheet = view.sheet
    picture = None
    if sheet is not None and sheet.cells and sheet.key.neuron == view.state.neuron:
        picture = sheet.cells[sheet.place(view.state.rank)].picture
    if picture is None:
        return row([("…", palette.muted)], width)
    return sample_line(picture, view.columns.labels.valid, palette, width, view.map_key)


def _head(sheet: SheetView, shown: range, palette: Palette, width: int, *, stale: bool) -> Strip:
    if stale:
        return row([(f"still {sheet.key.neuron}", palette.warning)], width)
    pictures = [one for place in shown if (one := sheet.cells[place].picture) is not None]
    across = sum(one.across is not None for one in pictures)
    panel = f"{across} of the panel, with the share that is weaker"
    which = "top samples, strongest first" if not across else panel if across == len(shown) else f"top samples, {panel}"
    parts: list[Span] = [(which, palette.strong)]
    if len(shown) < len(sheet.cells):
        parts.append((f" · {shown.start + 1} to {shown.stop} of {len(sheet.cells)}", palette.muted))
    if any(one.small for one in pictures):
        parts.append((" · ≈ small maps", palette.muted))
    return row(parts, width)


def _cell(cell: SheetCell, grid: SheetFrame, palette: Palette, box: Box, *, marked: bool) -> list[Strip]:
    width, picture = grid.width, cell.picture
    line = row(_caption(cell, palette), width)
    lines = [line.apply_style(CHOSEN) if marked else line]
    if picture is None:
        return [*lines, row([(cell.problem, palette.muted)], width), *blank(width, grid.height - 2)]
    lines += [line.adjust_cell_length(width) for line in box(picture, grid.picture)]
    return [*lines, *_words(cell, picture.thresholds.T_t, width, grid.words, palette)]


def _caption(cell: SheetCell, palette: Palette) -> list[Span]:
    """Rank, vote and activation; of a panel sample the share of the panel that is weaker."""
    picture = cell.picture
    if picture is None:
        return [(f"{cell.rank + 1}", palette.strong)]
    if picture.across is not None:
        return [(f"{picture.across.place:.0%}", palette.accent), *_vote(picture, palette)]
    value = "" if picture.activation is None else f" {activation(picture.activation)}"
    return [(f"{cell.rank + 1}", palette.strong), *_vote(picture, palette), (value, palette.text)]


def _vote(picture: PictureView, palette: Palette) -> list[Span]:
    return [] if picture.vote is None else [(f" {picture.vote.letter}", palette.labels[picture.vote])]


def _words(cell: SheetCell, threshold: float, width: int, lines: int, palette: Palette) -> list[Strip]:
    """The words with the largest norms, shaded as in the description: as many as fit whole, the first one always."""
    found: list[Strip] = []
    line: list[Span] = []
    used = 0
    for word, norm in cell.peaks:
        spans = [(word, palette.muted)] if norm is None else shaded(word, norm, threshold, palette)
        size = sum(len(text) for text, _ in spans)
        if line and used + 1 + size > width:
            found.append(row(line, width))
            line, used = [], 0
        if len(found) == lines:
            break
        line += [(" ", palette.text), *spans] if line else spans
        used += size + (used > 0)
    if line and len(found) < lines:
        found.append(row(line, width))
    return [*found, *blank(width, lines - len(found))]
