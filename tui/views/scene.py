"""All that the screen shows, as one frozen value, and the parts that the screen consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import TYPE_CHECKING

from vlmscope.core.analysis.firmness import NeuronFirmness
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.worker.messages import ModelStatus, Phase
from vlmscope.tui.views.columns import Columns, Noted
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.views.page import Facts
from vlmscope.tui.views.score import ScoreView
from vlmscope.tui.views.selection import Selection
from vlmscope.tui.views.state import State
from vlmscope.tui.views.title import LayerCounts

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Entry
    from vlmscope.tui.views.evidence import PictureView


class Changed(Flag):
    """Parts of the screen."""

    NOTHING = 0
    TITLE = auto()
    LAYERS = auto()
    LIST = auto()
    PAGE = auto()
    KEYS = auto()  #: the footer, and which panes there are
    ALL = TITLE | LAYERS | LIST | PAGE | KEYS


@dataclass(frozen=True)
class ControlCounts:
    """The control's label counts of each layer at these thresholds."""

    thresholds: Thresholds
    counts: LayerCounts


@dataclass(frozen=True, eq=False)
class Scene:
    """All that the screen shows.

    Attributes:
        state: what the user chose.
        columns: the scan, its labels and its concepts.
        counts: of the labels, by layer.
        selection: the list's rows. cursor: one of them, or None where there are none.
        listed: whether the cursor's row is the page's neuron, and not only the row nearest to it.
        noted: what the notebook holds on all neurons. marks: the list's cells for it.
        control: None where the scan has none, or it is not counted yet.
        stale: whether the page's picture, facts and words are those of a neuron or sample that was left.
        problem: why there is no picture.
        entry: what the notebook holds on the page's neuron; None while it is being read.
        entry_problem: why there is no notebook; empty if there is one.
        status: the model's.
        asking: whether the page waits for an answer of the model.
        working: whether anything is on its way that can be stopped.
        doing: what is being done to a neuron in the background, by what it is and the neuron.
        spent: on requests to an API, in this session.
        scanning: whether somebody is at work on a scan that is not whole.
    """

    scan_name: str
    state: State
    columns: Columns
    has_concepts: bool
    counts: LayerCounts
    selection: Selection
    cursor: int | None
    listed: bool
    noted: Noted
    marks: Mapping[Neuron, str]
    control: ControlCounts | None = None
    stale: bool = True
    picture: "PictureView | None" = None
    problem: str = ""
    firmness: NeuronFirmness | None = None
    facts: Facts | None = None
    entry: "Entry | None" = None
    entry_problem: str = ""
    meaning: Meaning | None = None
    score: ScoreView | None = None
    status: ModelStatus = ModelStatus(Phase.OFF)  # noqa: RUF009 (frozen)
    asking: bool = False
    working: bool = False
    doing: Mapping[tuple[str, Neuron], str] = field(default_factory=dict)
    spent: str = ""
    scanning: bool = False
