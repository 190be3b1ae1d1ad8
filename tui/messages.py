"""What the parts of the screen say to the screen: widgets by Textual's messages, controllers by plain frozen values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from textual.message import Message

from vlmscope.tui.views.columns import Columns
from vlmscope.tui.views.scene import Changed

# -- widgets -----------------------------------------------------------------------------------------------------------


@dataclass
class RowChosen(Message):
    """The user clicked a row of the list."""

    position: int


@dataclass
class LayerChosen(Message):
    """The user clicked a layer of the strip."""

    layer: int


@dataclass
class LineEntered(Message):
    """The user typed a line at a prompt (``:``, ``/`` or the picture's) and pressed enter."""

    prompt: str
    text: str


class LineLeft(Message):
    """The user left a prompt without entering anything."""


# -- controllers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repaint:
    """Parts of the screen show something else now."""

    changed: Changed


@dataclass(frozen=True)
class LoadPage:
    """The page's picture may be another one now: gather it again."""


@dataclass(frozen=True)
class NewCheckpoint:
    """The scan has come further; ``columns`` are the new checkpoint's."""

    columns: Columns


@dataclass(frozen=True)
class Notice:
    """A short word to the user, shown for so many seconds."""

    text: str
    timeout: float | None = 3  #: None: as long as the app shows others
    title: str = ""
    severity: Literal["information", "warning", "error"] = "information"


@dataclass(frozen=True)
class Copy:
    """Text for the clipboard."""

    text: str


@dataclass(frozen=True)
class Choice:
    """One entry of a list to choose from: the letter that picks it, its text, and whether it holds now."""

    letter: str
    text: str
    now: bool


@dataclass(frozen=True)
class AskChoice:
    """A choice for the user; ``chosen`` is called with its letter, and not at all if the user leaves."""

    title: str
    choices: Sequence[Choice]
    chosen: Callable[[str], None]


@dataclass(frozen=True)
class AskConfirm:
    """A question before something that costs; ``agreed`` is called after a yes."""

    title: str
    lines: Sequence[str]
    agreed: Callable[[], None]


Ask = AskChoice | AskConfirm
Said = Repaint | LoadPage | NewCheckpoint | Notice | Copy | Ask
Post = Callable[[Said], None]  #: how controllers say it; in the event loop's thread
