"""A question before something that costs: enter or y goes on, everything else does not."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from vlmscope.core.base.text import plain
from vlmscope.tui.dialogs.ending import end


class ConfirmScreen(ModalScreen[bool]):
    """Ends with whether the user agreed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "agree", "Yes", show=False, priority=True),
        Binding("n,escape,q", "refuse", "No", show=False, priority=True),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="confirm") as box:
            box.border_title = Text(plain(self._title))
            box.border_subtitle = "y yes · n no"
            yield Static(Text("\n".join(plain(line) for line in self._lines)), markup=False)

    def on_mount(self) -> None:
        self.query_one("#confirm").focus()

    def action_agree(self) -> None:
        end(self, True)

    def action_refuse(self) -> None:
        end(self, False)
