"""What the parts of the screen ask of it: widgets by Textual's messages, controllers by plain frozen values."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from textual.message import Message

from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.views.columns import Columns
from vlmscope.tui.views.neurons import NeuronTable
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import Mode, Order, PlaceAskedAt

# -- widgets -----------------------------------------------------------------------------------------------------------


@dataclass
class RowChosen(Message):
    """The user clicked a row of the list."""

    position: int


@dataclass
class OrderChosen(Message):
    """The user clicked the head of a column of the list."""

    order: Order


@dataclass
class SampleChosen(Message):
    """The user clicked a vote: of the top sample of this rank, from 0."""

    rank: int


@dataclass
class PatchChosen(Message):
    """The user clicked a patch of the picture, in the page that points."""

    row: int
    column: int


@dataclass
class TokenChosen(Message):
    """The user clicked a word of the description, in the page that points."""

    token: int


@dataclass
class LayerChosen(Message):
    """The user clicked a layer of the strip."""

    layer: int


@dataclass
class LineEntered(Message):
    """The user typed a line at a prompt (``:``, ``/`` or the picture's) and pressed enter."""

    prompt: str
    text: str


@dataclass
class LineChanged(Message):
    """The user has typed at a prompt, and not entered it yet."""

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
class PageReady:
    """A page's content is ready: ``text`` is for a toast, which names the key of the page; no page is changed.

    Attributes:
        asked_at: where the user was. A user who is still there, on that page, sees what is ready.
        mode: the page; the action that shows it has the same id.
        score: of the page of scores, the place of the one that is ready. set_check: whether a check is of a set.
    """

    text: str
    asked_at: PlaceAskedAt
    mode: Mode
    score: int = 0
    set_check: bool = False


@dataclass(frozen=True)
class LoadPage:
    """The page's picture may have changed: it is gathered again."""


@dataclass(frozen=True)
class NewCheckpoint:
    """The scan has a later checkpoint; ``columns`` are of it."""

    columns: Columns


@dataclass(frozen=True)
class Notice:
    """A short message to the user, shown for ``timeout`` seconds."""

    text: str
    timeout: float | None = 3  #: None: the app's own
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
    """A choice for the user.

    ``chosen`` is called with the letter, and not at all if the user leaves. It returns the task that it starts, if any:
    the next key waits for it, for a second at most.
    """

    title: str
    choices: Sequence[Choice]
    chosen: Callable[[str], asyncio.Task[None] | None]


@dataclass(frozen=True)
class AskConfirm:
    """A question before something that costs; ``agreed`` is called after a yes."""

    title: str
    lines: Sequence[str]
    agreed: Callable[[], None]


@dataclass(frozen=True, eq=False)
class AskNeurons:
    """A list of neurons for the user, of whom one may be gone to.

    Attributes:
        table: gives what is known now; ``NeuronsFound`` comes when there is more.
        chosen: called with the neuron that is gone to. left: called before that, and when the user leaves.
        rules: the question by which rule the list is made; None where there is one alone.
    """

    table: Callable[[], NeuronTable]
    chosen: Callable[[Neuron], None]
    left: Callable[[], None]
    rules: Callable[[], AskChoice] | None = None


@dataclass(frozen=True)
class NeuronsFound:
    """The list of a question has another table."""

    question: AskNeurons


Ask = AskChoice | AskConfirm | AskNeurons
Posted = Repaint | PageReady | LoadPage | NewCheckpoint | Notice | Copy | NeuronsFound | Ask
Post = Callable[[Posted], None]  #: how controllers ask; in the event loop's thread
