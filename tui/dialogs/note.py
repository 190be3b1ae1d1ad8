"""Writing a note: a box of text over the screen. Every pause writes a draft, so that nothing typed is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import TextArea

from vlmscope.core.base.text import plain, written
from vlmscope.tui.dialogs import drafts
from vlmscope.tui.dialogs.ending import end
from vlmscope.tui.widgets.prompt_line import drained

DRAFT_AFTER_S = 0.3  #: pause of the typing after which the draft is written


class NoteScreen(ModalScreen[None]):
    """Gives the note to ``keep`` if it was changed; ``draft`` is where it is kept while it is written."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+s", "leave(True)", "Save", show=False, priority=True),
        Binding("ctrl+g", "leave(False)", "Leave it as it was", show=False, priority=True),
    ]

    def __init__(self, title: str, text: str, draft: Path, keep: Callable[[str], None]) -> None:
        super().__init__()
        self._title = title
        self._before = text
        self._draft = draft
        self._keep = keep
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        box = TextArea(written(self._before), soft_wrap=True, show_line_numbers=False, id="note", compact=True)
        box.border_title = plain(self._title)
        box.border_subtitle = "esc saves · ctrl+g leaves it as it was"
        yield box

    def on_mount(self) -> None:
        box = self.query_one(TextArea)
        self._before = box.text  # without control characters: a note that is not edited stays as it was
        box.move_cursor(box.document.end)
        box.focus()

    def on_text_area_changed(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DRAFT_AFTER_S, self.keep_draft)

    def keep_draft(self) -> None:
        """Write what is typed so far, if the note was changed."""
        text = self.query_one(TextArea).text
        if text != self._before or self._draft.exists():
            drafts.keep(self._draft, text)

    async def action_leave(self, save: bool) -> None:
        box = self.query_one(TextArea)
        await drained(box)  # what was typed before this key is in the text
        if not save:
            drafts.drop(self._draft)
            end(self)
            return
        self.keep_draft()
        changed = box.text != self._before or self._draft.exists()
        if end(self) and changed:
            self._keep(box.text)
