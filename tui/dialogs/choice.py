"""A small list to choose from, each entry with a letter: the filter and the order."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label
from vlmscope.tui.dialogs.ending import end
from vlmscope.tui.messages import Choice
from vlmscope.tui.views.state import Decided, Filter, Order

#: For entries that have no letter of their own: all but those that move (j, k) and leave (q).
LETTERS = "abcdefghilmnoprstuvwxyz"


def by_letter(names: Iterable[str]) -> dict[str, str]:
    """The names by a letter each: the first of a name's own that is free, else any; names beyond the letters go."""
    found: dict[str, str] = {}
    for name in names:
        free = (letter for letter in (*name.lower(), *LETTERS) if letter in LETTERS and letter not in found)
        if letter := next(free, ""):
            found[letter] = name
    return found


_LABELS = {"v": Label.VISUAL, "t": Label.TEXT, "m": Label.MULTIMODAL, "u": Label.UNKNOWN}
_VERDICTS = {"1": Decided.KEEP, "2": Decided.REJECT, "3": Decided.UNSURE, "4": Decided.NONE, "5": Decided.ANY}
_SWITCHES = {
    "h": ("high_confidence", "high confidence only"),
    "f": ("fragile", "fragile labels only"),
    "e": ("explained", "explained only"),
    "s": ("scored", "scored only"),
    "b": ("bookmarked", "bookmarked only"),
    "l": ("all_layers", "all layers"),
}
ORDERS = {
    "i": Order.INDEX,
    "l": Order.CLEAREST,
    "f": Order.FRAGILE,
    "x": Order.MAXIMUM,
    "g": Order.MARGIN,
    "c": Order.CONCEPT,
    "s": Order.SCORE,
} | {letter: Order(label.word) for letter, label in _LABELS.items()}


def filter_choices(filter_: Filter) -> list[Choice]:
    """What the list can be filtered by."""
    return [
        Choice("a", "everything", filter_ == Filter(all_layers=filter_.all_layers, layers=filter_.layers)),
        *(Choice(letter, label.word, filter_.label is label) for letter, label in _LABELS.items()),
        *(Choice(digit, str(verdict), filter_.verdict is verdict) for digit, verdict in _VERDICTS.items()),
        *(Choice(letter, text, bool(getattr(filter_, field))) for letter, (field, text) in _SWITCHES.items()),
    ]


def filter_after(filter_: Filter, letter: str) -> Filter:
    """The filter after ``letter`` was chosen; what is chosen again goes."""
    if letter in _SWITCHES:
        field = _SWITCHES[letter][0]
        switched: dict[str, Any] = {field: not getattr(filter_, field)}
        changed = replace(filter_, **switched)
        return replace(changed, layers=None) if field == "all_layers" else changed
    if letter in _VERDICTS:
        verdict = _VERDICTS[letter]
        return replace(filter_, verdict=None if filter_.verdict is verdict else verdict)
    if letter in _LABELS:
        label = _LABELS[letter]
        return replace(filter_, label=None if filter_.label is label else label)
    return Filter(all_layers=filter_.all_layers, layers=filter_.layers)


def order_choices(now: Order) -> list[Choice]:
    """What the list can be sorted by."""
    return [Choice(letter, order.means, now is order) for letter, order in ORDERS.items()]


class Choices(OptionList):
    """Textual's list; in a terminal without room for a line, a page further is nowhere, not a KeyError (8.2)."""

    def action_page_down(self) -> None:
        with contextlib.suppress(KeyError):
            super().action_page_down()  # type: ignore[no-untyped-call]

    def action_page_up(self) -> None:
        with contextlib.suppress(KeyError):
            super().action_page_up()  # type: ignore[no-untyped-call]


class ChoiceScreen(ModalScreen[str | None]):
    """Ends with the letter of the chosen entry, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Leave", show=False, priority=True),
        Binding("j", "down", "Down", show=False),
        Binding("k", "up", "Up", show=False),
    ]

    def __init__(self, title: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._choices = choices

    def compose(self) -> ComposeResult:
        options = [
            Option(f" {choice.letter}  {'●' if choice.now else ' '} {plain(choice.text)} ", id=f"choice-{at}")
            for at, choice in enumerate(self._choices)
        ]
        box = Choices(*options, id="choices", markup=False)
        box.border_title = plain(self._title)
        box.border_subtitle = "a letter, or enter · esc"
        yield box

    def on_mount(self) -> None:
        box = self.query_one(OptionList)
        now = [at for at, choice in enumerate(self._choices) if choice.now]
        box.highlighted = now[0] if now else 0
        box.focus()

    def on_key(self, event: Key) -> None:
        if any(choice.letter == event.character for choice in self._choices):
            event.stop()
            event.prevent_default()
            end(self, event.character)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        end(self, self._choices[event.option_index].letter)

    def action_down(self) -> None:
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        self.query_one(OptionList).action_cursor_up()

    def action_leave(self) -> None:
        end(self, None)
