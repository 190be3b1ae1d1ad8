"""The line at the bottom in which commands, searches and paths are typed; it takes the footer's place."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from tui.messages import LineEntered, LineLeft


class PromptInput(Input):
    """An input that leaves on escape and steps through what was typed before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False),
        Binding("up", "earlier(-1)", "Earlier line", show=False),
        Binding("down", "earlier(1)", "Later line", show=False),
        Binding("tab", "cursor_right", "Take the suggestion", show=False),
    ]

    def action_leave(self) -> None:
        self.post_message(LineLeft())

    def action_earlier(self, by: int) -> None:
        line = self.parent
        if isinstance(line, PromptLine):
            line.recall(by)


class PromptLine(Horizontal):
    """A prompt with its word in front."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._prompt = ""
        self._history: dict[str, list[str]] = {}
        self._at = 0
        self._given = ""

    def compose(self) -> ComposeResult:
        yield Static("", id="prompt-word", markup=False)
        yield PromptInput(id="prompt-input", compact=True, select_on_focus=False)

    def open(self, prompt: str, word: str, placeholder: str, suggestions: list[str], value: str = "") -> None:
        """Show the line with ``word`` in front, ``value`` to begin with, and the cursor in it."""
        self._prompt = prompt
        self._given = value
        self._at = len(self._history.get(prompt, []))
        self.query_one("#prompt-word", Static).update(word)
        box = self.query_one(PromptInput)
        box.suggester = SuggestFromList(suggestions) if suggestions else None
        box.placeholder = placeholder
        box.value = value
        box.cursor_position = len(value)
        self.display = True
        self.screen.set_focus(box)

    def close(self) -> None:
        """Hide the line."""
        self.display = False
        self.screen.set_focus(None)

    def recall(self, by: int) -> None:
        """Bring an earlier line back."""
        lines = self._history.get(self._prompt, [])
        self._at = min(max(self._at + by, 0), len(lines))
        box = self.query_one(PromptInput)
        box.value = lines[self._at] if self._at < len(lines) else ""
        box.cursor_position = len(box.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        # An empty line means nothing, unless something stood there that was taken away.
        if event.value.strip() or self._given:
            lines = self._history.setdefault(self._prompt, [])
            if lines[-1:] != [event.value]:
                lines.append(event.value)
            self.post_message(LineEntered(self._prompt, event.value))
        else:
            self.post_message(LineLeft())
