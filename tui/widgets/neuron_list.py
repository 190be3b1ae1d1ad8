"""The list of neurons: any number of rows, of which only the visible ones are ever made (Textual's Line API).

Textual's own DataTable needs 53 s and 430 MB for 352,256 rows (design.md).
"""

from functools import lru_cache

from rich.style import Style
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.tui.messages import OrderChosen, RowChosen
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.marks import sign_of
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import Order
from vlmscope.tui.widgets.lines import Span, dressed, row, short
from vlmscope.tui.widgets.list_columns import (
    HIGH,
    LABEL,
    MARKS,
    NUMBER,
    ListColumns,
    SortedBy,
    list_columns,
    sorted_by,
)
from vlmscope.tui.widgets.numbers import activation, fraction, label_bar
from vlmscope.tui.widgets.palette import Palette

_CORNERS = 4  # cells of the border that its title leaves free, beyond the corners
_KEPT = 512  # rows that are kept as they were made


def _whole_words(words: list[str], width: int) -> str:
    """As many of ``words`` as fit; of the first at least its beginning."""
    text = short(words[0], width) if words else ""
    for word in words[1:]:
        if len(text) + 2 + len(word) > width:
            break
        text = f"{text}, {word}"
    return text


class NeuronList(ScrollView, can_focus=False):
    """Rows of neurons, with a cursor that stays in view."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self.view: Scene | None = None
        self._rows: dict[int, Strip] = {}
        self._palette: Palette | None = None
        self._sorts: SortedBy | None = None

    def present(self, view: Scene, palette: Palette) -> None:
        """Show ``view``; only the rows that look different are made again."""
        old, same_palette = self.view, palette is self._palette
        self.view, self._palette = view, palette
        if old is None or not _same_order(old, view):
            self._sorts = sorted_by(view)
        self._title(view)
        touched: set[int] = set()
        if old is None or not same_palette or not _same_rows(old, view):
            self._rows.clear()
            self.virtual_size = self.size.with_height(len(view.selection.rows) + 1)
            self.refresh()
        else:
            if (old.cursor, old.listed) != (view.cursor, view.listed):
                touched = {at for at in (old.cursor, view.cursor) if at is not None}
            # A resize forgets rows that stand on the screen.
            top = self.scroll_offset.y
            shown = range(top, min(top + self.page_rows, len(view.selection.rows)))
            if old.picked is not None or view.picked is not None:
                touched |= {at for at in {*self._rows, *shown} if is_picked(old, at) != is_picked(view, at)}
            if old.noted is not view.noted:
                touched |= {at for at in {*self._rows, *shown} if _sign(old, at) != _sign(view, at)}
        for position in touched:
            self._rows.pop(position, None)
        before = self.scroll_offset.y
        self._follow()
        if self.scroll_offset.y == before:
            for position in touched:
                self.refresh(Region(0, position + 1 - before, self.size.width, 1))

    def _title(self, view: Scene) -> None:
        """Write into the border what the list holds, as far as it fits."""
        # Textual repaints the whole list for another title, if only from the rows that are kept.
        state, width = view.state, max(self.size.width - _CORNERS, 0)
        title = list_title(state.filter, state.order, state.neuron.layer, len(view.selection.rows), width)
        if self.border_title != title:
            self.border_title = title
        progress = short(view.noted.progress, width)
        if self.border_subtitle != progress:
            self.border_subtitle = progress

    def on_resize(self) -> None:
        self._rows.clear()
        if self.view is not None:
            self._title(self.view)
            self.virtual_size = self.size.with_height(len(self.view.selection.rows) + 1)
            self._follow()

    @property
    def page_rows(self) -> int:
        """Rows that are visible at once: the first line is the head."""
        return max(self.size.height - 1, 1)

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
        target = min(max(target, 0), max(len(view.selection.rows) - rows, 0))
        if target != top:
            self.scroll_to(y=target, animate=False, immediate=True)

    def put_cursor_on(self, line: int) -> None:
        """Scroll so that the cursor is on this line below the head, even one out of sight, as far as the list goes."""
        view = self.view
        if view is not None and view.cursor is not None:
            top = min(max(view.cursor - line, 0), max(len(view.selection.rows) - self.page_rows, 0))
            if top != self.scroll_offset.y:
                self.scroll_to(y=top, animate=False, immediate=True)

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is None or self.view is None or self._palette is None:
            return
        if at.y == 0:
            end = 0
            for text, _, order in self._heads(self.size.width, self._palette):
                end += len(text)
                if at.x < end:
                    self.post_message(OrderChosen(Order.INDEX if order is self.view.state.order else order))
                    return
            return
        position = at.y - 1 + self.scroll_offset.y
        if position < len(self.view.selection.rows):
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
        elif not len(view.selection.rows) and y == 2:
            strip = row([(f" No neuron here is {view.state.filter}: f changes the filter.", palette.muted)], width)
        elif position < len(view.selection.rows):
            return self._kept_row(position, width)
        else:
            strip = Strip.blank(width)
        return dressed(strip, palette.base)

    def _kept_row(self, position: int, width: int) -> Strip:
        """A row as it was made before, if nothing has changed in it."""
        strip = self._rows.get(position)
        if strip is None or strip.cell_length != width:
            assert self._palette is not None
            if len(self._rows) >= _KEPT:
                self._rows.clear()
            self._rows[position] = strip = dressed(self._row(position, width), self._palette.base)
        return strip

    def _columns(self, width: int) -> ListColumns:
        view = self.view
        assert view is not None
        state = view.state
        return list_columns(
            width,
            whole=state.filter.whole,
            concepts=view.has_concepts,
            sorts=self._sorts is not None,
            maximum_sorts=state.order is Order.MAXIMUM,
            poled=view.selection.numbering.poled,
        )

    def _heads(self, width: int, palette: Palette) -> list[tuple[str, Style, Order]]:
        """The heads of the columns, with the order that a click on each sorts by."""
        view = self.view
        assert view is not None
        columns, order = self._columns(width), view.state.order
        address = "  neuron" if view.state.filter.whole else f"{'N':>{columns.address}}"
        heads: list[tuple[str, Style, Order]] = [
            (f"{address:<{columns.address + MARKS}}", palette.muted, Order.INDEX),
            (f"{' label':<{LABEL + columns.high}}", palette.muted, Order.MARGIN),
        ]
        if columns.bar:
            heads.append((f"{'votes':<{columns.bar}}", palette.muted, Order.MARGIN))
        if columns.fractions:
            heads += [(f"  {label.letter} ", palette.labels[label], Order(label.word)) for label in Label]
        if columns.maximum:
            heads.append((f"{'max':>{NUMBER - 1}} ", palette.muted, Order.MAXIMUM))
        if columns.sorts and self._sorts is not None:
            heads.append((f"{self._sorts.head:>{NUMBER - 1}} ", palette.accent, order))
        heads.append((f"{'concepts':<{columns.words}}"[: columns.words], palette.muted, Order.CONCEPT))
        return [(text, palette.accent if by is order else look, by) for text, look, by in heads]

    def _head(self, width: int, palette: Palette) -> Strip:
        return row([(text, look) for text, look, _ in self._heads(width, palette)], width)

    def _row(self, position: int, width: int) -> Strip:
        view, palette = self.view, self._palette
        assert view is not None and palette is not None
        labels, concepts = view.columns.labels, view.columns.concepts
        neuron = view.selection.at(position)
        at = neuron.layer, neuron.index
        label = Label(int(labels.label[at]))
        counts = [int(count) for count in labels.votes[at]]
        chosen = position == view.cursor
        look = palette.strong if chosen else palette.text
        picked = is_picked(view, position)
        pointer = ("◆" if picked else "▸" if view.listed else "›") if chosen else "●" if picked else " "
        columns = self._columns(width)
        room = columns.address - 1  # after the pointer
        address = f" {neuron!s:<{room - 1}}" if view.state.filter.whole else f"{neuron.name:>{room}}"
        parts: list[Span] = [
            (pointer, palette.accent),
            (address, look),
            (sign_at(view, neuron), palette.accent),
            (f" {label.letter} ", palette.labels[label] + palette.strong),
            (f"{fraction(max(counts) / max(labels.valid, 1))} ", palette.labels[label]),
        ]
        if columns.high:
            parts.append((f"{'high' if labels.high_confidence[at] else '':<{HIGH}}", palette.labels[label]))
        if columns.bar:
            parts += label_bar(counts, columns.bar, palette, "━╌")
        if columns.fractions:
            for which, count in zip(Label, counts, strict=True):
                tone = palette.labels[which] if which is label else palette.muted
                parts.append((f" {fraction(count / max(labels.valid, 1))}", tone))
        if columns.maximum:
            parts.append((f"{activation(float(view.columns.store.maximum[at])):>{NUMBER - 1}} ", look))
        if columns.sorts and self._sorts is not None:
            parts.append((f"{self._sorts.text(view.selection.numbering.flat(neuron)):>{NUMBER - 1}} ", look))
        if columns.words and concepts is not None:
            words = [concept.word for concept in concepts.of(neuron).words]
            parts.append((_whole_words(words, columns.words), palette.text))
        strip = row(parts, width)
        return strip.apply_style(palette.cursor) if chosen else strip


def is_picked(view: Scene, position: int) -> bool:
    """Whether the neuron of a row is picked."""
    picked = view.picked
    if picked is None:
        return False
    rows = picked.rows(view.selection, view.cursor)
    return bool(picked.flags[view.selection.rows[position]]) or (rows is not None and rows[0] <= position <= rows[1])


def _same_order(old: Scene, new: Scene) -> bool:
    """Whether the value that sorts is the same."""
    one, other = old.state, new.state
    same = one.order is other.order and one.filter.words == other.filter.words and old.columns is new.columns
    return same and (other.order is not Order.SCORE or old.noted is new.noted)


def _same_rows(old: Scene, new: Scene) -> bool:
    """Whether all rows but those of the cursor, of other marks and of other picks look the same."""
    one, other = old.columns, new.columns
    same = old.selection is new.selection and one.labels is other.labels and one.concepts is other.concepts
    return same and _same_order(old, new)


@lru_cache(maxsize=16)
def list_title(filter_: Filter, order: Order, layer: int, rows: int, width: int) -> str:
    """What the list holds and how it is sorted, in the longest words that fit; then as much of the filter as fits."""
    where = "all layers" if filter_.all_layers else f"L{layer}"
    if filter_.layers is not None:
        where = "L{}-{}".format(*filter_.layers)
    by = order.means if order in (Order.CLEAREST, Order.FRAGILE, Order.MATCH) else f"by {order}"
    if order is Order.SCORE:
        by += ", independent first"
    elif order is Order.PREFERENCE:
        by += ", visual first"
    elif order is not Order.INDEX and by != order.means:
        by += ", largest first"
    briefly = "all" if filter_.all_layers and filter_.layers is None else where
    for begin in dict.fromkeys((f"{where} · {rows:,} neurons", f"{where} · {rows:,}", f"{briefly} · {rows:,}")):
        for end in dict.fromkeys((by, f"by {order}")):
            title = f"{begin} · {filter_} · {end}"
            if len(title) <= width:
                return title
    room = width - len(f"{briefly} · {rows:,} ·  · by {order}")
    if room < 1:
        return short(f"{briefly} · {rows:,} · by {order}", width)
    return f"{briefly} · {rows:,} · {short(str(filter_), room)} · by {order}"


def sign_at(view: Scene, neuron: Neuron) -> str:
    """The four cells for what the notebook holds on a neuron."""
    noted = view.noted
    return sign_of(int(noted.bits[neuron.layer * noted.neurons + neuron.index]), neuron in view.published)


def _sign(view: Scene, position: int) -> str:
    return sign_at(view, view.selection.at(position))
