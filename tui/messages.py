"""What widgets and background work tell the browse screen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.worker.messages import DescribeAnswer, MapAnswer, ModelStatus, PromotedAnswer
from vlmscope.tui.views.columns import Columns
from vlmscope.tui.views.state import OwnPicture

if TYPE_CHECKING:
    from vlmscope.core.explain.explain import Answered
    from vlmscope.core.notebook.values import Entry
    from vlmscope.core.scoring.simulation import Outcome


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


@dataclass
class Relabelled(Message):
    """All neurons have new labels."""

    columns: Columns


@dataclass
class ControlCounted(Message):
    """The control's neurons are labelled at these thresholds; ``counts`` of each layer, by label."""

    thresholds: Thresholds
    counts: tuple[tuple[int, int, int, int], ...]


@dataclass
class StatusChanged(Message):
    """The model process is in another state."""

    status: ModelStatus


@dataclass
class MapArrived(Message):
    """The model has computed a map."""

    answer: MapAnswer


@dataclass
class Described(Message):
    """The model has described the user's picture."""

    own: OwnPicture
    answer: DescribeAnswer


@dataclass
class MapFailed(Message):
    """There will be no map of this neuron on this picture."""

    neuron: Neuron
    sample: int | None
    image: str
    error: VlmscopeError


@dataclass
class DescribeFailed(Message):
    """The user's picture could not be described."""

    own: OwnPicture
    error: VlmscopeError


@dataclass
class PromotedArrived(Message):
    """The model has told what a neuron writes."""

    answer: PromotedAnswer


@dataclass
class PromotedFailed(Message):
    """It will not be known what this neuron writes."""

    neuron: Neuron
    error: VlmscopeError


@dataclass
class Explained(Message):
    """The API has answered about a neuron, and the notebook has it; ``note`` says what the evidence lacked."""

    neuron: Neuron
    answered: "Answered"
    note: str


@dataclass
class ExplainFailed(Message):
    """Nothing could be asked about a neuron, or the answer could not be kept."""

    neuron: Neuron
    error: VlmscopeError


@dataclass
class Scored(Message):
    """An explanation has its score, and the notebook has it: ``entry``."""

    neuron: Neuron
    outcome: "Outcome"
    entry: "Entry"


@dataclass
class ScoreFailed(Message):
    """An explanation could not be scored."""

    neuron: Neuron
    error: VlmscopeError
