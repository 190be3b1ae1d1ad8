"""What controllers post, done on the screen: repaints, a later checkpoint, messages to the user, questions."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from textual.widgets._toast import ToastRack

from vlmscope.core.base.text import plain
from vlmscope.tui import keys
from vlmscope.tui.browse import incoming
from vlmscope.tui.messages import (
    Ask,
    AskConfirm,
    AskNeurons,
    Copy,
    LoadPage,
    NeuronsFound,
    NewCheckpoint,
    Notice,
    PageReady,
    Posted,
    Repaint,
)
from vlmscope.tui.views.columns import Columns
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import place_asked_at
from vlmscope.tui.widgets.neuron_list import NeuronList

if TYPE_CHECKING:
    from vlmscope.tui.browse.screen import BrowseScreen


class Posts:
    """Takes what is posted to ``screen``."""

    def __init__(self, screen: "BrowseScreen") -> None:
        self._screen = screen
        self._changed = Changed.NOTHING

    def take(self, posted: Posted) -> None:
        """Do what a controller asks for. Repaints of one turn of the event loop are one paint."""
        screen = self._screen
        if not screen.is_running:
            return
        match posted:
            case Repaint(changed):
                if changed is Changed.NOTHING:
                    return
                if self._changed is Changed.NOTHING:
                    screen.call_later(self._paint)
                self._changed |= changed
            case LoadPage():
                if not screen.session.scene.stale:
                    screen.show(screen.load_page())
            case NewCheckpoint(columns):
                self._replace_store(columns)
            case Notice():
                self.notify(posted)
            case Copy(text):
                screen.app.copy_to_clipboard(text)
            case PageReady():
                self._take_page(posted)
            case NeuronsFound(question):
                self._show_neurons(question)
            case _:
                self.open(posted)

    def _paint(self) -> None:
        changed, self._changed = self._changed, Changed.NOTHING
        self._screen.show(changed)

    def _replace_store(self, columns: Columns) -> None:
        """Take a later checkpoint; the cursor stays on its line of the screen."""
        screen = self._screen
        neurons, cursor = screen.query_one(NeuronList), screen.session.scene.cursor
        line = None if cursor is None else cursor - neurons.scroll_offset.y
        screen.show(incoming.replace_store(screen.session, columns) | screen.load_page())
        if line is not None:
            neurons.put_cursor_on(line)

    def _take_page(self, ready: PageReady) -> None:
        """Tell which key shows what is ready. A user who waits for it on that very page sees it; no page is changed."""
        screen = self._screen
        session = screen.session
        there = session.state.neuron == ready.asked_at[0]
        shown = session.state.mode is ready.mode and place_asked_at(session.state) == ready.asked_at
        key = keys.keys_of(ready.mode, screen.config.keys)[0]
        how = "" if shown else f" {key} shows it." if there else f" {key} shows it there."
        self.notify(Notice(f"{ready.text}{how}", None))
        if shown:
            after = {"score": ready.score, "example": 0, "check": 0, "set_check": ready.set_check}
            screen.show(session.change_state(**after))

    def _show_neurons(self, question: AskNeurons) -> None:
        from vlmscope.tui.dialogs.neurons import NeuronsScreen

        for dialog in self._screen.app.screen_stack:
            if isinstance(dialog, NeuronsScreen) and dialog.question is question and dialog.is_mounted:
                dialog.show(question.table())

    def notify(self, notice: Notice) -> None:
        """Show a message; text from outside becomes harmless."""
        text = f"{notice.title}: {notice.text}" if notice.title else notice.text
        lines = " ".join(plain(line) for line in text.splitlines())
        self._screen.app.notify(lines, severity=notice.severity, timeout=notice.timeout, markup=False)

    def close_messages(self) -> bool:
        """Close all messages that are shown; False where none is."""
        app = self._screen.app
        shown = len(app._notifications) > 0  # Textual 8.2 has no other way to ask
        if shown:
            app.clear_notifications()
            for rack in (child for child in app.screen.children if isinstance(child, ToastRack)):
                rack.remove_children()  # Textual would leave an empty line for each
        return shown

    def open(self, question: Ask) -> Awaitable[None]:
        """Open the dialog of a question; awaited, until the dialog takes the keys."""
        if isinstance(question, AskConfirm):
            from vlmscope.tui.dialogs.confirm import ConfirmScreen

            return self._screen.app.push_screen(ConfirmScreen(question))
        if isinstance(question, AskNeurons):
            from vlmscope.tui.dialogs.neurons import NeuronsScreen

            return self._screen.app.push_screen(NeuronsScreen(question))
        from vlmscope.tui.dialogs.choice import ChoiceScreen

        return self._screen.app.push_screen(ChoiceScreen(question))
