"""What the browse screen shows, as one frozen value: widgets are painted from it, actions replace it."""

from dataclasses import dataclass
from enum import StrEnum

from core.heatmap import ColourMap
from core.labels import Label, Thresholds
from core.neuron import Neuron


class Order(StrEnum):
    """How the list is sorted. All but INDEX: largest first."""

    INDEX = "index"
    MAXIMUM = "maximum"
    VISUAL = "visual"
    TEXT = "text"
    MULTIMODAL = "multimodal"
    UNKNOWN = "unknown"

    @property
    def label(self) -> Label | None:
        """Whose fraction sorts, if one does."""
        return None if self in (Order.INDEX, Order.MAXIMUM) else Label[self.name]


@dataclass(frozen=True)
class Filter:
    """Which neurons the list holds."""

    label: Label | None = None
    high_confidence: bool = False
    all_layers: bool = False

    def __str__(self) -> str:
        words = [self.label.word if self.label is not None else "", "firm" if self.high_confidence else ""]
        return " ".join(word for word in words if word) or "all"


class Mode(StrEnum):
    """What the page's middle shows."""

    PICTURES = "pictures"
    STATISTICS = "statistics"
    MEANING = "meaning"
    ZOOM = "zoom"


class Pane(StrEnum):
    """Which pane has the screen where only one fits."""

    LIST = "list"
    PAGE = "page"


@dataclass(frozen=True)
class OwnPicture:
    """The user's own picture with the model's words for it; stepping neurons stays on it.

    ``prompt`` is empty until the model has described the picture.
    """

    image: str
    question: str
    prompt: str = ""
    description: str = ""
    tokens: tuple[str, ...] = ()
    crop: bytes = b""

    @property
    def described(self) -> bool:
        return bool(self.prompt)


@dataclass(frozen=True)
class State:
    """All that decides what is on the screen, besides the scan itself and the model's answers."""

    neuron: Neuron
    thresholds: Thresholds
    rank: int = 0
    order: Order = Order.INDEX
    filter: Filter = Filter()
    colour_map: ColourMap = ColourMap.FADE
    mode: Mode = Mode.PICTURES
    pane: Pane = Pane.LIST
    own: OwnPicture | None = None
    search: str = ""
