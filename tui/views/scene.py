"""All that the screen shows, as one frozen value, and which parts of the screen depend on what of it."""

from collections.abc import Callable, Mapping
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
        noted: what the notebook holds on all neurons. marks: the list's cells for it.
        control: None where the scan has none, or it is not counted yet.
        stale: whether the page's picture, facts and words are those of a neuron or sample that was left.
        problem: why there is no picture.
        entry: what the notebook holds on the page's neuron; None while it is being read.
        entry_problem: why there is no notebook; empty if there is one.
        status: the model's.
        asking: whether the screen waits for an answer of the model. busy: whether anything else does, too.
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
    busy: bool = False
    doing: Mapping[tuple[str, Neuron], str] = field(default_factory=dict)
    spent: str = ""
    scanning: bool = False

    @property
    def listed(self) -> bool:
        """Whether the list holds the neuron on the page."""
        return self.cursor is not None and self.selection.at(self.cursor) == self.state.neuron

    @property
    def working(self) -> bool:
        """Whether anything is on its way that can be stopped."""
        return self.busy or bool(self.doing)

    @property
    def waiting(self) -> str:
        """What the empty box says while the model works."""
        if not self.asking or (self.picture is not None and self.picture.visual is not None):
            return ""
        loading = self.status.phase in (Phase.STARTING, Phase.LOADING)
        return f"asking the model: {self.status.phase}" if loading else "asking the model"


# A value that holds arrays counts as another one if it is another object: comparing it would cost more than painting.
_DEPENDS: dict[Changed, Callable[[Scene], tuple[object, ...]]] = {
    Changed.TITLE: lambda scene: (
        id(scene.columns.store),
        scene.counts,
        scene.control,
        scene.state.thresholds,
        scene.status,
        scene.spent,
        scene.scanning,
    ),
    Changed.LAYERS: lambda scene: (
        id(scene.columns.store),
        scene.counts,
        scene.control,
        scene.state.thresholds,
        scene.state.neuron.layer,
        scene.noted.triaged,
        scene.scanning,
    ),
    Changed.LIST: lambda scene: (
        id(scene.columns.store),
        id(scene.columns.labels),
        id(scene.columns.concepts),
        scene.has_concepts,
        id(scene.selection),
        scene.cursor,
        scene.listed,
        id(scene.marks),
        scene.noted.triaged,
        scene.state.filter,
        scene.state.order,
        scene.state.neuron.layer,
    ),
    Changed.PAGE: lambda scene: (
        id(scene.columns.store),
        id(scene.columns.labels),
        scene.listed,
        scene.stale,
        id(scene.picture),
        scene.problem,
        scene.firmness,
        id(scene.facts),
        id(scene.meaning),
        id(scene.score),
        scene.waiting,
        scene.state.neuron,
        scene.state.rank,
        scene.state.own is None,
        scene.state.mode,
        scene.state.colour_map,
    ),
    Changed.KEYS: lambda scene: (scene.working, scene.state.own, scene.state.pane, scene.state.mode),
}


def changed_parts(old: Scene, new: Scene) -> Changed:
    """The parts of the screen that show something else."""
    changed = Changed.NOTHING
    for part, depends in _DEPENDS.items():
        if depends(old) != depends(new):
            changed |= part
    return changed
