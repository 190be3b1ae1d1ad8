"""Lines of ready-made cells, and the widget that shows them and repaints only the cells that changed.

Over SSH every byte counts: a step changes a few rows of a list and some lines of a page, and Textual would otherwise
send the whole widget again.
"""

from collections.abc import Iterable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

Part = tuple[str, Style]  #: text, already plain, and how it looks


def row(parts: Iterable[Part], width: int) -> Strip:
    """One line of exactly ``width`` cells: cut with an ellipsis, or filled with blanks."""
    strip = Strip([Segment(text, look) for text, look in parts if text])
    if strip.cell_length > width:
        return Strip([*strip.crop(0, max(width - 1, 0)), Segment("…")], max(width, 1)).crop(0, width)
    return strip.adjust_cell_length(width)


def blank(width: int, count: int = 1) -> list[Strip]:
    """``count`` empty lines."""
    return [Strip.blank(width)] * count


def beside(blocks: Sequence[tuple[Sequence[Strip], int]], height: int, gap: int = 1) -> list[Strip]:
    """Blocks of lines side by side, ``gap`` cells apart; each comes with its width."""
    space = Strip.blank(gap)
    lines = []
    for y in range(height):
        strips: list[Strip] = []
        for lines_of_block, width in blocks:
            strips.append(lines_of_block[y] if y < len(lines_of_block) else Strip.blank(width))
            strips.append(space)
        lines.append(Strip.join(strips[:-1]))
    return lines


def changed_cells(old: Strip, new: Strip) -> tuple[int, int] | None:
    """First and one past the last cell in which two lines differ, or None."""
    if old == new:
        return None
    start = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        start += one.cell_length
    end = max(old.cell_length, new.cell_length)
    if old.cell_length == new.cell_length:
        for one, other in zip(reversed(list(old)), reversed(list(new)), strict=False):
            if one != other or end - one.cell_length <= start:
                break
            end -= one.cell_length
    return start, end


class Lines(Widget, can_focus=False):
    """Shows lines that ``paint`` has made for its size."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id, classes=classes)
        self._lines: list[Strip] = []

    @property
    def text(self) -> str:
        """What is shown, without its looks."""
        return "\n".join(strip.text.rstrip() for strip in self._lines)

    def on_resize(self) -> None:
        if self.size:
            self.paint()

    def paint(self) -> None:
        """Make the lines for the size of now and ``show`` them."""

    def show(self, lines: list[Strip]) -> None:
        """Show ``lines`` from the top; what is missing is blank."""
        old, self._lines = self._lines, lines
        empty = Strip([])
        regions = []
        for y in range(max(len(old), len(lines))):
            cells = changed_cells(old[y] if y < len(old) else empty, lines[y] if y < len(lines) else empty)
            if cells is not None:
                regions.append(Region(cells[0], y, max(cells[1] - cells[0], 1), 1))
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        strip = self._lines[y] if y < len(self._lines) else Strip([])
        return strip.apply_style(base).adjust_cell_length(self.size.width, base)
