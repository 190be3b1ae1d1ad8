"""What the user chose to see, as one frozen value that actions replace."""

from dataclasses import dataclass
from enum import StrEnum

from vlmscope.core.base.intervention import Intervention, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.method.layout import WHOLE, Box
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.pointer import Pointer


class Order(StrEnum):
    """How the list is sorted. All but INDEX: largest first; neurons that lack the value come last."""

    INDEX = "index"
    MAXIMUM = "maximum"
    VISUAL = "visual"
    TEXT = "text"
    MULTIMODAL = "multimodal"
    UNKNOWN = "unknown"
    MARGIN = "margin"
    CONCEPT = "concept"
    SCORE = "score"
    CLEAREST = "clearest"
    FRAGILE = "fragile"
    PREFERENCE = "preference"  #: visual, text, multimodal, undecided; in each, those that fire most often first
    MATCH = "match"  #: how strongly a neuron has the words that the filter asks for

    @property
    def label(self) -> Label | None:
        """The label whose fraction sorts, if one does."""
        return Label[self.name] if self.name in Label.__members__ else None

    @property
    def means(self) -> str:
        """For the user who chooses."""
        if self.label is not None:
            return f"fraction {self}"
        return {
            Order.MARGIN: "margin of the leading fraction",
            Order.CONCEPT: "strength of the concept",
            Order.CLEAREST: "clearest first",
            Order.FRAGILE: "fragile labels first",
            Order.PREFERENCE: "modality preference",
            Order.MATCH: "strongest match first",
        }.get(self, str(self))


class AfterVerdict(StrEnum):
    """Where the cursor goes after a verdict."""

    STAY = "stay"
    NEXT = "next"  #: to the next row
    UNTRIAGED = "untriaged"  #: to the next neuron of the list that has no verdict


class Mode(StrEnum):
    """What the page's middle shows."""

    PICTURES = "pictures"
    STATISTICS = "statistics"
    MEANING = "meaning"
    SCORE = "score"
    SHEET = "sheet"
    ZOOM = "zoom"
    ABLATION = "ablation"
    CHECK = "check"
    POINT = "point"

    @property
    def asks(self) -> bool:
        """Whether it asks something of the picture: then it is left before the user's own picture is."""
        return self in (Mode.ABLATION, Mode.CHECK, Mode.POINT)


class Pane(StrEnum):
    """Which pane has the screen where only one fits."""

    LIST = "list"
    PAGE = "page"


@dataclass(frozen=True)
class OwnPicture:
    """The user's own picture with the model's words for it; stepping neurons stays on it.

    Attributes:
        question: what the model is asked.
        prompt: the whole text before its answer; empty until the model has described the picture.
        whole: the picture as a JPEG, made smaller; empty until it is read. crop: the part that the model sees.
        seen: where that part is in the picture.
    """

    image: str
    question: str
    prompt: str = ""
    description: str = ""
    tokens: tuple[str, ...] = ()
    crop: bytes = b""
    whole: bytes = b""
    seen: Box = WHOLE

    @property
    def described(self) -> bool:
        return bool(self.prompt)


class SetKind(StrEnum):
    """Which neurons are changed together."""

    NEURON = "neuron"  #: the page's alone
    CONCEPT = "concept"  #: those that have the word among their concepts; a number behind it: so many, the first ones
    KEPT = "kept"  #: by verdict
    TAG = "tag"
    NEURONS = "neurons"  #: those that are named by their addresses


@dataclass(frozen=True)
class Ablating:
    """What the page of ablation does to the model.

    Attributes:
        to: what becomes of the neurons. at: where.
        word: whose log-odds stand first; empty for the leading concept.
        kind: which neurons. name: the concept, the tag or the addresses; empty for the others.
        caption: whether the model describes the picture again.
    """

    to: Intervention = Intervention()  # noqa: RUF009 (frozen)
    at: Positions = Positions.ALL
    word: str = ""
    kind: SetKind = SetKind.NEURON
    name: str = ""
    caption: bool = False


@dataclass(frozen=True)
class Pinned:
    """A neuron that others are compared with, on one sample.

    Attributes:
        rank: the sample's place among its top samples, from 0; None for a sample of the panel.
    """

    neuron: Neuron
    sample: int
    rank: int | None


PlaceAskedAt = tuple[Neuron, int, OwnPicture | None, Mode, Pane]


@dataclass(frozen=True)
class Listed:
    """What a list holds, and in which order."""

    filter: Filter = Filter()  # noqa: RUF009 (frozen)
    order: Order = Order.INDEX


@dataclass(frozen=True)
class State:
    """All that decides what is on the screen, besides the scan itself and the model's answers."""

    neuron: Neuron
    thresholds: Thresholds
    rank: int = 0
    order: Order = Order.INDEX
    filter: Filter = Filter()  # noqa: RUF009 (frozen)
    left: Listed | None = None  #: the list that a search or a saved view has replaced, and that ``esc`` goes back to
    colour_map: ColourMap | None = None  #: None: the theme's
    cover: int | None = None  #: the one cover that maps are drawn of, where a picture has several; None for all
    mode: Mode = Mode.PICTURES
    from_sheet: bool = False  #: of the zoom: whether the contact sheet has opened it
    pane: Pane = Pane.LIST
    own: OwnPicture | None = None
    pinned: Pinned | None = None  #: then the page shows two neurons on its sample
    search: str = ""
    score: int = 0  #: of the score page: which of the neuron's scores, in the order of the rule
    example: int = 0  #: of the score page
    pointer: Pointer = Pointer()  # noqa: RUF009 (frozen)  #: of the page that points
    ablating: Ablating = Ablating()  #: of the page of ablation
    check: int = 0  #: of the page of checks: which one, newest first
    set_check: bool = False  #: of the page of checks: whether it shows those of sets


def place_asked_at(state: State) -> PlaceAskedAt:
    """Where the user is: a page changes by itself only where it was asked to."""
    return state.neuron, state.rank, state.own, state.mode, state.pane
