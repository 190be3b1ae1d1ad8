"""A question before something that costs: y or enter agrees, n or esc does not."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from vlmscope.core.base.text import plain
from vlmscope.tui.dialogs.ending import end
from vlmscope.tui.messages import AskConfirm


class ConfirmScreen(ModalScreen[None]):
    """Asks; nothing is done without a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "agree", "Yes", show=False, priority=True),
        Binding("n,escape,q", "refuse", "No", show=False, priority=True),
    ]

    def __init__(self, question: AskConfirm) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="confirm") as box:
            box.border_title = Text(plain(self._question.title))
            box.border_subtitle = "y yes · n no"
            yield Static(Text("\n".join(plain(line) for line in self._question.lines)), markup=False)

    def on_mount(self) -> None:
        self.query_one("#confirm").focus()

    def action_agree(self) -> None:
        if end(self):
            self._question.agreed()

    def action_refuse(self) -> None:
        end(self)
