"""Lines of ready-made cells, and the widget that shows them and repaints only the cells that changed.

Over SSH every byte counts: a step changes a few rows of a list and some lines of a page, and Textual would otherwise
send the whole widget again. A line that is too long loses whole items from its end: never is half a number shown.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from vlmscope.core.base.text import plain
from vlmscope.tui.views.drawing import DRAWN
from vlmscope.tui.widgets.palette import Palette

View = TypeVar("View")

#: A number, with its sign, exponent and per cent; dates, times and ``5/8`` are cut as little as numbers.
NUMBER = re.compile(r"[-+]?(?:\.\d|\d)(?:[\d.,:/-]*\d)?(?:[eE][-+]?\d+)?%?")
_BETWEEN = re.compile(r" · |  +|; | \(")  # what the items of a line begin with
_ITEM = 32  # characters of an item that is dropped as a whole, at most: longer ones are sentences
_NARROWEST = 4  # characters of a wrapped line: a terminal may have fewer columns than a line's head

Span = tuple[str, Style]  #: text, which ``row`` makes harmless, and its style


def row(parts: Iterable[Span], width: int) -> Strip:
    """One line of exactly ``width`` cells: cut with an ellipsis, as ``cut_at`` allows it, or filled with blanks.

    Control characters of outside text become blanks here, so that they have a width when lines are laid out.
    """
    segments: list[Segment] = []
    for given, look in parts:
        text = given if given.isprintable() else plain(given)
        if segments and segments[-1].style == look:
            segments[-1] = Segment(segments[-1].text + text, look)
        elif text:
            segments.append(Segment(text, look))
    return fitted(Strip(segments), width)


def fitted(strip: Strip, width: int) -> Strip:
    """``strip`` in exactly ``width`` cells: cut with an ellipsis, as ``cut_at`` allows it, or filled with blanks."""
    if strip.cell_length <= width:
        return strip.adjust_cell_length(width)
    text = strip.text
    room = strip.crop(0, max(width - 1, 0)).text
    kept = text[: cut_at(text, len(room))]
    if kept.isspace():
        kept = ""
    cut = strip.crop(0, min(cell_len(kept), max(width - 1, 0)))
    return Strip([*cut, Segment("…")]).adjust_cell_length(width)


def cut_at(text: str, end: int) -> int:
    """How many characters of ``text`` to show where at most ``end`` have room.

    An item that has a number, and does not fit, is left out with what comes before it (``  max 1.04``, `` (95% .61 to
    .75``). Other text is cut where the room ends, but before a number that it would cut.
    """
    if end >= len(text):
        return len(text)
    end = max(end, 0)
    begin, stop = 0, len(text)
    for found in _BETWEEN.finditer(text):
        if found.start() >= end:
            stop = found.start()
            break
        begin = found.start()
    if stop == end:
        return end
    if begin and stop - begin <= _ITEM and NUMBER.search(text, begin, stop):
        return begin
    split = next((one.start() for one in NUMBER.finditer(text) if one.start() < end < one.end()), end)
    return end if split == end else len(text[:split].rstrip())


def short(text: str, limit: int) -> str:
    """``text`` cut at ``limit`` characters, with an ellipsis."""
    return text if len(text) <= limit else f"{text[: cut_at(text, limit - 1)]}…"


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """``text`` in lines of ``width`` characters, 4 at least; a number that fits into a line is not divided.

    Args:
        indent: before all lines but the first.
    """
    width = max(width, _NARROWEST)
    room = max(width - len(indent), 1)
    for word in {word for word in text.split() if len(word) > room}:
        text = text.replace(word, " ".join(_pieces(word, room)))
    return textwrap.wrap(text, width, subsequent_indent=indent)


def _pieces(word: str, width: int) -> list[str]:
    pieces = []
    while len(word) > width:
        at = cut_at(word, width) or width
        pieces.append(word[:at])
        word = word[at:]
    return [*pieces, word]


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


def dressed(strip: Strip, base: Style) -> Strip:
    """``strip`` on ``base``, where it has no background of its own; pictures have one everywhere and stay as they are.

    Adding a style to each of a picture's thousand styles costs more than making the picture.
    """
    return Strip(
        [
            segment
            if segment.style is not None
            and segment.style.bgcolor is not None
            and (segment.style.color is not None or not segment.text.strip())
            else Segment(segment.text, base if segment.style is None else base + segment.style)
            for segment in strip
        ],
        strip.cell_length,
    )


class PlainLines(LineFilter):
    """The last step of all that is drawn, by any widget: no control character and no bidirectional formatting.

    Texts of Textual's own widgets (the note, prompts, toasts, titles of borders, the palette) are changed here alone.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 (Textual's)
        """The same segments where all can be printed, as nearly always; the width in cells never changes."""
        if all(segment.text.isprintable() or DRAWN.issuperset(segment.text) for segment in segments):
            return segments
        return [Segment(_of_same_width(segment.text), segment.style, segment.control) for segment in segments]


def _of_same_width(text: str) -> str:
    clean = plain(text)  # a character for each
    if clean == text or DRAWN.issuperset(text):
        return text
    return "".join(new if new == old else new * cell_len(old) for old, new in zip(text, clean, strict=True))


class Lines(Widget, Generic[View], can_focus=False):
    """Shows lines that ``paint`` makes of a value, for the widget's size."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self.presented: tuple[View, Palette] | None = None
        self._lines: list[Strip] = []
        self._dressed: dict[int, Strip] = {}
        self._base = Style()
        self._painted_for = Size(0, 0)
        self._rendering = False

    @property
    def lines(self) -> Sequence[Strip]:
        """What is shown."""
        return self._lines

    @property
    def text(self) -> str:
        """What is shown, without its styles."""
        return "\n".join(strip.text.rstrip() for strip in self._lines)

    def present(self, view: View, palette: Palette) -> None:
        """Show ``view``."""
        self.presented = view, palette
        self.repaint()

    def paint(self, view: View, palette: Palette) -> list[Strip]:
        """The lines for the widget's size, from the top; what is missing is blank."""
        raise NotImplementedError

    def repaint(self) -> None:
        """``paint``; while hidden there is no size to paint for, and ``render_line`` does it when there is."""
        self._painted_for = self.size
        if self.presented is not None and self.size:
            self._show(self.paint(*self.presented), self.presented[1].base)

    def _show(self, lines: list[Strip], base: Style) -> None:
        old, self._lines = self._lines, lines
        if self._rendering:
            self._base = base
            self._dressed.clear()
            return
        if base != self._base:
            self._base = base
            self._dressed.clear()
            self.refresh()
            return
        empty = Strip([])
        regions = []
        for y in range(max(len(old), len(lines))):
            cells = changed_cells(old[y] if y < len(old) else empty, lines[y] if y < len(lines) else empty)
            if cells is not None:
                self._dressed.pop(y, None)
                regions.append(Region(cells[0], y, max(cells[1] - cells[0], 1), 1))
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        if self.size != self._painted_for:
            # Another size: made here and now, so that no frame shows the lines of the old one, or none.
            self._rendering = True
            try:
                self.repaint()
            finally:
                self._rendering = False
        width = self.size.width
        strip = self._dressed.get(y)
        if strip is None or strip.cell_length != width:
            strip = self._lines[y] if y < len(self._lines) else Strip([])
            strip = dressed(strip.adjust_cell_length(width), self._base)
            self._dressed[y] = strip
        return strip
