"""The line at the bottom in which commands, searches and paths are typed; it takes the footer's place."""

import asyncio
import contextlib
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Key
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input, Static

from vlmscope.core.base.text import plain
from vlmscope.tui.messages import LineChanged, LineEntered, LineLeft

DRAIN_S = 5.0  #: how long a key waits at most for what was typed before it: a busy machine may take seconds


async def drained(widget: Widget) -> None:
    """Wait until ``widget`` has handled what it was sent so far.

    On a slow connection several keys arrive at once, and Textual hands letters to a widget's queue while the app takes
    the next key. A key that ends the typing waits here for the letters before it.
    """
    done = asyncio.Event()
    widget.call_later(done.set)
    with contextlib.suppress(TimeoutError):  # a widget that is held up does not hold up all keys
        await asyncio.wait_for(done.wait(), DRAIN_S)


class PromptInput(Input):
    """An input that leaves on escape and steps through what was typed before.

    Its editing keys are done in their turn: Textual would run a widget's bindings only after their event has bubbled up
    to the app, when later letters are in the box already, and ctrl+u would delete them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "finish(True)", "Enter", show=False, priority=True),
        Binding("escape", "finish(False)", "Leave", show=False, priority=True),
        Binding("up", "earlier(-1)", "Earlier line", show=False),
        Binding("down", "earlier(1)", "Later line", show=False),
        Binding("tab", "cursor_right", "Take the suggestion", show=False),
    ]

    async def _on_key(self, event: Key) -> None:
        bound = self._bindings.key_to_bindings.get(event.key)
        if not bound:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        await self.run_action(bound[0].action)

    async def action_finish(self, entered: bool) -> None:
        await drained(self)
        line = self.parent
        if isinstance(line, PromptLine):
            await line.finish(self.value if entered else None)

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
        yield Static("", id="prompt-count", markup=False)

    def open(self, prompt: str, word: str, placeholder: str, suggester: Suggester | None, value: str = "") -> None:
        """Show the line with ``word`` in front, ``value`` to begin with, and the cursor in it."""
        value = plain(value)
        self._prompt = prompt
        self._given = value
        self._at = len(self._history.get(prompt, []))
        self.query_one("#prompt-word", Static).update(word)
        self.show_count("")
        box = self.query_one(PromptInput)
        box.suggester = suggester
        box.placeholder = placeholder
        box.value = value
        box.cursor_position = len(value)
        self.display = True
        self.screen.add_class("-typing")
        self.screen.set_focus(box)

    def show_count(self, text: str) -> None:
        """Show at the line's end what it would find."""
        self.query_one("#prompt-count", Static).update(plain(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display:
            self.screen.post_message(LineChanged(self._prompt, event.value))

    @property
    def typed(self) -> str:
        """What stands in the line and was not entered yet; empty if it is hidden, or has only what was given."""
        value = self.query_one(PromptInput).value if self.display else ""
        return value if value.strip() and value != self._given else ""

    def remember(self, prompt: str, text: str) -> None:
        """Add an earlier line, for ``recall``."""
        lines = self._history.setdefault(prompt, [])
        if text.strip() and lines[-1:] != [text]:
            lines.append(text)

    def close(self) -> None:
        """Hide the line."""
        self.display = False
        self.screen.remove_class("-typing")
        self.screen.set_focus(None)

    def recall(self, by: int) -> None:
        """Bring an earlier line back."""
        lines = self._history.get(self._prompt, [])
        self._at = min(max(self._at + by, 0), len(lines))
        box = self.query_one(PromptInput)
        box.value = lines[self._at] if self._at < len(lines) else ""
        box.cursor_position = len(box.value)

    async def finish(self, text: str | None) -> None:
        """Close the line and send the screen what was entered, if anything; the next key waits for that."""
        self.close()
        # An empty line is left, unless the user has deleted a given text.
        if text is None or not (text.strip() or self._given):
            self.screen.post_message(LineLeft())
        else:
            self.remember(self._prompt, text)
            self.screen.post_message(LineEntered(self._prompt, text))
        await drained(self.screen)
