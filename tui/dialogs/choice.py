"""A small list to choose from, each entry with a letter: the filter and the order."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import OptionList

from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label
from vlmscope.tui.dialogs.ending import end, taken
from vlmscope.tui.messages import AskChoice, Choice
from vlmscope.tui.views.filters import Decided, Filter
from vlmscope.tui.views.state import Order

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
    "h": ("high_confidence", "high-confidence only"),
    "f": ("fragile", "fragile labels only"),
    "e": ("explained", "explained only"),
    "s": ("scored", "scored only"),
    "c": ("checked", "causally checked only"),
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
    "p": Order.PREFERENCE,
    "w": Order.MATCH,
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


class ChoiceScreen(ModalScreen[None]):
    """Takes the letter of an entry, or ends without an answer."""

    # All with priority: keys that arrive together are handled in their order.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Leave", show=False, priority=True),
        Binding("enter", "take", "Take the entry", show=False, priority=True),
        *(
            Binding(keys, f"move('{move}')", move.replace("_", " "), show=False, priority=True)
            for keys, move in {
                "j,down": "cursor_down",
                "k,up": "cursor_up",
                "home": "first",
                "end": "last",
                "pagedown": "page_down",
                "pageup": "page_up",
            }.items()
        ),
    ]

    def __init__(self, question: AskChoice) -> None:
        super().__init__()
        self._question = question
        for choice in question.choices:
            self._bindings.bind(choice.letter, f"letter('{choice.letter}')", priority=True)

    def compose(self) -> ComposeResult:
        choices = self._question.choices
        box = OptionList(
            *(f" {choice.letter}  {'●' if choice.now else ' '} {plain(choice.text)} " for choice in choices),
            id="choices",
            markup=False,
        )
        box.border_title = plain(self._question.title)
        box.border_subtitle = "a letter, or enter · esc"
        yield box

    def on_mount(self) -> None:
        box = self.query_one(OptionList)
        box.highlighted = next((at for at, choice in enumerate(self._question.choices) if choice.now), 0)
        box.focus()

    async def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        await self.run_action(f"letter('{self._question.choices[event.option_index].letter}')")

    async def action_take(self) -> None:
        await self.action_letter(self._question.choices[self.query_one(OptionList).highlighted or 0].letter)

    async def action_letter(self, letter: str) -> None:
        if end(self):
            await taken(self._question.chosen(letter))

    def action_move(self, how: str) -> None:
        with contextlib.suppress(KeyError):  # of Textual 8.2: a page further in a terminal without room for a line
            getattr(self.query_one(OptionList), f"action_{how}")()

    def action_leave(self) -> None:
        end(self)
