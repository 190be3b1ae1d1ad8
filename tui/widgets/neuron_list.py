"""The list of neurons: any number of rows, of which only the visible ones are ever made (Textual's Line API).

Textual's own DataTable needs 53 s and 430 MB for 352,256 rows (design.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label, Labels
from vlmscope.tui.messages import RowChosen
from vlmscope.tui.views.selection import Selection
from vlmscope.tui.widgets.lines import Part, dressed, row
from vlmscope.tui.widgets.numbers import activation, fraction, label_bar
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.core.method.concepts import Concepts

_CONCEPTS = 48  # cells of concepts, where there is room for so many


@dataclass(frozen=True)
class _Columns:
    """Cells of the votes bar and of the concepts, and whether the fractions are written too."""

    bar: int
    words: int
    numbers: bool


def _whole_words(words: list[str], width: int) -> str:
    """As many of ``words`` as fit; of the first at least its beginning."""
    text = plain(words[0], width) if words else ""
    for word in words[1:]:
        if len(text) + 2 + len(word) > width:
            break
        text = f"{text}, {word}"
    return text


@dataclass(frozen=True, eq=False)
class ListView:
    """What the list shows.

    Attributes:
        selection: which neurons, in which order.
        labels: of all neurons, (L, F).
        maximum: float32 (L, F).
        cursor: the row with the cursor, or None.
        cursor_is_page: whether the cursor's row is the neuron on the page, or only the row nearest to it.
        all_layers: rows bear whole addresses.
        has_concepts: whether there is a column of concepts. concepts: of all neurons, or None while they are not read.
        marks: up to four characters beside the address of each neuron that somebody has worked on.
        empty: what to say if there are no rows.
    """

    selection: Selection
    labels: Labels
    maximum: NDArray[np.float32]
    cursor: int | None
    cursor_is_page: bool
    all_layers: bool
    has_concepts: bool
    concepts: "Concepts | None"
    marks: Mapping[Neuron, str]
    empty: str


class NeuronList(ScrollView, can_focus=False):
    """Rows of neurons, with a cursor that stays in view."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self.view: ListView | None = None
        self._palette: Palette | None = None

    def present(self, view: ListView, palette: Palette) -> None:
        """Show ``view``; repaint two rows if only the cursor moved."""
        old, same_palette = self.view, palette is self._palette
        self.view, self._palette = view, palette
        same_rows = old is not None and same_palette and old.selection is view.selection and old.labels is view.labels
        same_rows = same_rows and old is not None and old.marks is view.marks and old.concepts is view.concepts
        if not same_rows:
            self.virtual_size = self.size.with_height(len(view.selection) + 1)
            self.refresh()
        before = self.scroll_offset.y
        self._follow()
        if same_rows and old is not None and self.scroll_offset.y == before:
            for position in {old.cursor, view.cursor} - {None}:
                self._refresh_row(position)

    def on_resize(self) -> None:
        if self.view is not None:
            self.virtual_size = self.size.with_height(len(self.view.selection) + 1)
            self._follow()

    @property
    def page_rows(self) -> int:
        """Rows that are visible at once: the first line is the head."""
        return max(self.size.height - 1, 1)

    def _refresh_row(self, position: int | None) -> None:
        if position is not None:
            self.refresh(Region(0, position + 1 - self.scroll_offset.y, self.size.width, 1))

    def _follow(self) -> None:
        """Scroll so that the cursor is in view, with a little of what comes next.

        A cursor that leaves turns a page: scrolling by a line at every step would send the whole list each time, 11 KiB
        at 140 x 40, as much as a picture.
        """
        view = self.view
        if view is None or view.cursor is None:
            return
        rows, top = self.page_rows, self.scroll_offset.y
        margin = min(3, (rows - 1) // 2)
        target = top
        if view.cursor < top + margin:
            target = view.cursor - rows + 1 + margin
        elif view.cursor > top + rows - 1 - margin:
            target = view.cursor - margin
        if not top - rows < target < top + rows:
            target = view.cursor - rows // 2  # a far jump: the neighbours on both sides in view
        target = min(max(target, 0), max(len(view.selection) - rows, 0))
        if target != top:
            self.scroll_to(y=target, animate=False, immediate=True)

    def put_cursor_on(self, line: int) -> None:
        """Scroll so that the cursor is on this line below the head, even one out of sight, as far as the list goes."""
        view = self.view
        if view is not None and view.cursor is not None:
            top = min(max(view.cursor - line, 0), max(len(view.selection) - self.page_rows, 0))
            if top != self.scroll_offset.y:
                self.scroll_to(y=top, animate=False, immediate=True)

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is None or at.y == 0 or self.view is None:
            return
        position = at.y - 1 + self.scroll_offset.y
        if position < len(self.view.selection):
            self.post_message(RowChosen(position))

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        self.scroll_relative(y=3, animate=False)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        self.scroll_relative(y=-3, animate=False)

    def line_text(self, position: int) -> str:
        """A row's text."""
        return self._row(position, self.size.width).text.rstrip()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        view, palette = self.view, self._palette
        if view is None or palette is None:
            return Strip.blank(width)
        position = y - 1 + self.scroll_offset.y
        if y == 0:
            strip = self._head(width, palette)
        elif not len(view.selection) and y == 2:
            strip = row([(f" {view.empty}", palette.muted)], width)
        elif position < len(view.selection):
            strip = self._row(position, width)
        else:
            strip = Strip.blank(width)
        return dressed(strip, palette.base)

    def _columns(self, width: int) -> _Columns:
        view = self.view
        whole = view is not None and view.all_layers
        room = width - (16 if whole else 10) - 18
        if view is None or not view.has_concepts:
            return _Columns(min(room - 16, 30), 0, True) if room >= 26 else _Columns(max(min(room, 24), 4), 0, False)
        if room >= 46:
            return _Columns(10, min(room - 26 - 1, _CONCEPTS), True)
        words = min(max(room - 6, 0), _CONCEPTS)
        return _Columns(max(min(room - words, 24), 4), words, False)

    def _head(self, width: int, palette: Palette) -> Strip:
        view = self.view
        columns = self._columns(width)
        address = "  neuron        " if view is not None and view.all_layers else "     N    "
        parts: list[Part] = [
            (address, palette.muted),
            (" label  ", palette.muted),
            (f"{'votes':<{columns.bar}}"[: columns.bar], palette.muted),
        ]
        if columns.numbers:
            parts += [(f"  {label.letter} " if label else " V  ", palette.label(label)) for label in Label]
        parts.append((f"{'max':>8} ", palette.muted))
        parts.append((f"{'concepts':<{columns.words}}"[: columns.words], palette.muted))
        return row(parts, width)

    def _row(self, position: int, width: int) -> Strip:
        view, palette = self.view, self._palette
        assert view is not None and palette is not None
        neuron = view.selection.at(position)
        at = (neuron.layer, neuron.index)
        label = Label(int(view.labels.label[at]))
        counts = [int(count) for count in view.labels.votes[at]]
        chosen = position == view.cursor
        look = palette.strong if chosen else palette.text
        pointer = "▸" if chosen and view.cursor_is_page else "›" if chosen else " "
        address = f" {neuron!s:<10}" if view.all_layers else f"{neuron.index:>5}"
        firm = "●" if view.labels.high_confidence[at] else " "
        columns = self._columns(width)
        mark = f"{view.marks.get(neuron, ''):<4}"
        parts: list[Part] = [
            (pointer, palette.accent),
            (address, look),
            (mark, palette.accent),
            (f" {label.letter} ", palette.label(label) + palette.strong),
            (f"{fraction(max(counts) / max(view.labels.valid, 1))} {firm} ", palette.label(label)),
            *label_bar(counts, columns.bar, palette, "━╌"),
        ]
        if columns.numbers:
            for which, count in zip(Label, counts, strict=True):
                tone = palette.label(which) if which is label else palette.muted
                parts.append((f" {fraction(count / max(view.labels.valid, 1))}", tone))
        parts.append((f"{activation(float(view.maximum[at])):>8} ", look))
        if columns.words and view.concepts is not None:
            words = [plain(concept.word) for concept in view.concepts.of(neuron).words]
            parts.append((_whole_words(words, columns.words), palette.text))
        strip = row(parts, width)
        return strip.apply_style(palette.cursor) if chosen else strip
