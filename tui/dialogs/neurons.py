"""A list of neurons over the screen: enter goes to one of them. The list may come later than the dialog."""

import contextlib
import re
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.tui.dialogs.choice import ChoiceScreen
from vlmscope.tui.dialogs.ending import end
from vlmscope.tui.messages import AskNeurons
from vlmscope.tui.views.neurons import NeuronTable
from vlmscope.tui.widgets.lines import short

_GAP = "  "
_NUMBER = re.compile(r"[-+≈x]?[\d.]")


WIDEST = 106  #: cells of a line in the largest box
LEAST = 6  #: cells that a column of words takes at least


def aligned(table: NeuronTable, room: int = WIDEST) -> tuple[str, list[str]]:
    """The line of heads, and a line for each row: columns of equal width, numbers to the right.

    Columns that have no ``room`` are left out: no number is cut.
    """
    lines = [("neuron", *table.heads), *((str(row.neuron), *row.texts) for row in table.rows)]
    lines = [tuple(plain(text) for text in line) for line in lines]
    columns = _fitting(list(zip(*lines, strict=True)), room)
    lines = list(zip(*columns, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    numbers = [_is_number(column) for column in columns]

    def line_of(texts: tuple[str, ...]) -> str:
        cells = []
        for text, width, is_number in zip(texts, widths, numbers, strict=True):
            blanks = " " * (width - cell_len(text))
            cells.append(blanks + text if is_number else text + blanks)
        return _GAP.join(cells).rstrip()

    return line_of(lines[0]), [line_of(line) for line in lines[1:]]


def _is_number(column: tuple[str, ...]) -> bool:
    return all(not text or _NUMBER.match(text) for text in column[1:])


def _fitting(columns: list[tuple[str, ...]], room: int) -> list[tuple[str, ...]]:
    """The addresses, and as many columns as have room; the first that has none is cut if it is words, else left out."""
    kept = columns[:1]
    room -= max(map(cell_len, columns[0])) + len(_GAP)
    for column in columns[1:]:
        width = max(map(cell_len, column))
        if width <= room:
            kept.append(column)
        elif room >= LEAST and not _is_number(column):
            return [*kept, tuple(text if cell_len(text) <= room else short(text, room) for text in column)]
        else:
            return kept
        room -= width + len(_GAP)
    return kept


class NeuronsScreen(ModalScreen[None]):
    """Shows a table, and takes one of its neurons."""

    # All with priority: keys that arrive together are handled in their order.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Leave", show=False, priority=True),
        Binding("enter", "take", "Go to the neuron", show=False, priority=True),
        Binding("o", "rule", "Another rule", show=False, priority=True),
        *(
            Binding(keys, f"move('{move}')", move.replace("_", " "), show=False, priority=True)
            for keys, move in {
                "j,down": "cursor_down",
                "k,up": "cursor_up",
                "g,home": "first",
                "G,end": "last",
                "ctrl+d,pagedown": "page_down",
                "ctrl+u,pageup": "page_up",
            }.items()
        ),
    ]

    def __init__(self, question: AskNeurons) -> None:
        super().__init__()
        self.question = question
        self._table = question.table()

    def compose(self) -> ComposeResult:
        with Vertical(id="neurons") as box:
            rule = " · o rule" if self.question.rules is not None else ""
            box.border_subtitle = f"j k move · enter goes there{rule} · esc"
            yield Static(id="neurons-lines", markup=False)
            yield Static(id="neurons-heads", markup=False)
            yield OptionList(id="neurons-rows", markup=False)

    def on_mount(self) -> None:
        self.show(self.question.table())
        self.query_one(OptionList).focus()

    def on_resize(self) -> None:
        self.show(self._table)

    def show(self, table: NeuronTable) -> None:
        """Show another table; the row of the same neuron stays marked."""
        rows = self.query_one(OptionList)
        before = self._chosen
        self._table = table
        # The heads' line has a blank on either side, and the rows a scroll bar.
        heads, lines = aligned(table, max(self.query_one("#neurons-heads", Static).size.width - 2, 0) or WIDEST)
        self.query_one("#neurons", Vertical).border_title = plain(table.title)
        self.query_one("#neurons-lines", Static).update("\n".join(plain(line) for line in table.lines))
        self.query_one("#neurons-heads", Static).update(heads if table.rows else "")
        rows.set_options(f" {line}" for line in lines)
        rows.display = bool(lines)
        if lines:
            neurons = [row.neuron for row in table.rows]
            rows.highlighted = neurons.index(before) if before in neurons else 0

    @property
    def _chosen(self) -> Neuron | None:
        at = self.query_one(OptionList).highlighted
        return self._table.rows[at].neuron if at is not None and at < len(self._table.rows) else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._go(self._table.rows[event.option_index].neuron)

    def action_take(self) -> None:
        if self._chosen is not None:
            self._go(self._chosen)

    def _go(self, neuron: Neuron) -> None:
        if end(self):
            self.question.left()
            self.question.chosen(neuron)

    async def action_rule(self) -> None:
        if self.question.rules is not None:
            await self.app.push_screen(ChoiceScreen(self.question.rules()))

    def action_move(self, how: str) -> None:
        with contextlib.suppress(KeyError):  # as in ChoiceScreen
            getattr(self.query_one(OptionList), f"action_{how}")()

    def action_leave(self) -> None:
        if end(self):
            self.question.left()
