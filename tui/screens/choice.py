"""A small list to choose from, each entry with a letter: the filter and the order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from core.labels import Label
from tui.screens.state import Filter, Order

#: For entries that have no letter of their own: all but those that move (j, k) and leave (q).
LETTERS = "abcdefghilmnoprstuvwxyz"


@dataclass(frozen=True)
class Choice:
    """One entry: the letter that picks it, what it says, and whether it holds now."""

    letter: str
    text: str
    now: bool


_LABELS = {"v": Label.VISUAL, "t": Label.TEXT, "m": Label.MULTIMODAL, "u": Label.UNKNOWN}
ORDERS = {"i": Order.INDEX, "x": Order.MAXIMUM} | {letter: Order(label.word) for letter, label in _LABELS.items()}


def filter_choices(kept: Filter) -> list[Choice]:
    """What the filter can be made to keep."""
    return [
        Choice("a", "all labels", kept.label is None),
        *(Choice(letter, label.word, kept.label is label) for letter, label in _LABELS.items()),
        Choice("h", "high confidence only", kept.high_confidence),
        Choice("l", "all layers", kept.all_layers),
    ]


def filter_after(kept: Filter, letter: str) -> Filter:
    """The filter after ``letter`` was chosen: labels replace one another, the other two switch on and off."""
    if letter == "h":
        return replace(kept, high_confidence=not kept.high_confidence)
    if letter == "l":
        return replace(kept, all_layers=not kept.all_layers)
    return replace(kept, label=_LABELS.get(letter))


def order_choices(now: Order) -> list[Choice]:
    """What the list can be sorted by."""
    return [
        Choice(letter, f"fraction {order}" if order.label is not None else str(order), now is order)
        for letter, order in ORDERS.items()
    ]


class ChoiceScreen(ModalScreen[str | None]):
    """Ends with the letter of the chosen entry, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Leave", show=False),
        Binding("j", "down", "Down", show=False),
        Binding("k", "up", "Up", show=False),
    ]

    def __init__(self, title: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._choices = choices

    def compose(self) -> ComposeResult:
        options = [
            Option(f" {choice.letter}  {'●' if choice.now else ' '} {choice.text} ", id=f"choice-{at}")
            for at, choice in enumerate(self._choices)
        ]
        box = OptionList(*options, id="choices", markup=False)
        box.border_title = self._title
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
            self.dismiss(event.character)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index].letter)

    def action_down(self) -> None:
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        self.query_one(OptionList).action_cursor_up()

    def action_leave(self) -> None:
        self.dismiss(None)
