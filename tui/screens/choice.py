"""A small list to choose from, each entry with a letter: the filter and the order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option


@dataclass(frozen=True)
class Choice:
    """One entry: the letter that picks it, what it says, and whether it holds now."""

    letter: str
    text: str
    now: bool


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
