"""All that the screen shows, as one frozen value that its parts are painted from, and which parts there are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import TYPE_CHECKING

from vlmscope.core.analysis.firmness import NeuronFirmness
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Labels, Thresholds
from vlmscope.core.store.progress import progress_title
from vlmscope.core.worker.messages import ModelStatus, Phase
from vlmscope.tui.views.ablation import AblationView
from vlmscope.tui.views.check import CheckView
from vlmscope.tui.views.columns import Columns, Noted
from vlmscope.tui.views.facts import Facts
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.views.picked import Picked
from vlmscope.tui.views.score import ScoreView
from vlmscope.tui.views.selection import Selection
from vlmscope.tui.views.state import State

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Entry
    from vlmscope.tui.views.evidence import PictureView
    from vlmscope.tui.views.sheet import SheetView


LabelCounts = tuple[int, int, int, int]  #: of neurons that are visual, text, multimodal, unknown
LayerCounts = tuple[LabelCounts, ...]  #: the same of each layer


def layer_counts(labels: Labels) -> LayerCounts:
    """How many neurons of each layer have each label."""
    return tuple((int(v), int(t), int(m), int(u)) for v, t, m, u in labels.counts())


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
        noted: what the notebook holds on all neurons. published: those that the paper names.
        control: None where the scan has none, or it is not counted yet.
        stale: whether the page's picture, facts and words belong to a neuron or sample that was left.
        problem: why there is no picture.
        beside: the pinned neuron on the same sample; None where none is pinned.
        entry: what the notebook holds on the page's neuron; None while it is being read.
        entry_problem: why there is no notebook; empty if there is one.
        sheet: the contact sheet's pictures, perhaps still those of a neuron that was left; None before it is shown.
        map_key: asks the model for the picture's exact map.
        ablation, check: what the pages of these modes show; None on other pages.
        status: the model's.
        asking: whether the page waits for an answer of the model.
        working: whether something is running that can be stopped.
        doing: work on neurons in the background, as text, by its kind and the neuron.
        spent: on requests to an API, in this session.
        scanning: whether a process is at work on a scan that is not whole.
        picked: neurons that the user has picked, to do one thing with all of them; None for none.
        batch: how far the work on picked neurons is, as text.
        count: typed before a move, which is made so many times; 0 where none is.
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
    published: Collection[Neuron]
    control: ControlCounts | None = None
    stale: bool = True
    picture: "PictureView | None" = None
    problem: str = ""
    beside: "PictureView | None" = None
    firmness: NeuronFirmness | None = None
    facts: Facts | None = None
    entry: "Entry | None" = None
    entry_problem: str = ""
    meaning: Meaning | None = None
    score: ScoreView | None = None
    sheet: "SheetView | None" = None
    map_key: str = "X"
    ablation: AblationView | None = None
    check: CheckView | None = None
    status: ModelStatus = ModelStatus(Phase.OFF)  # noqa: RUF009 (frozen)
    asking: bool = False
    working: bool = False
    doing: Mapping[tuple[str, Neuron], str] = field(default_factory=dict)
    spent: str = ""
    scanning: bool = False
    picked: Picked | None = None
    batch: str = ""
    count: int = 0

    @property
    def picked_rows(self) -> tuple[int, int] | None:
        """First and last row of the range that is being picked; None where there is none."""
        return None if self.picked is None else self.picked.rows(self.selection, self.cursor)

    @property
    def control_counts(self) -> LayerCounts | None:
        """The control's label counts of each layer: None where there is no control, 0 while they are being counted."""
        if self.control is None:
            return None
        is_now = self.control.thresholds == self.state.thresholds
        return self.control.counts if is_now else ((0, 0, 0, 0),) * len(self.counts)

    @property
    def scan_progress(self) -> tuple[str, ...]:
        """How far a scan in progress is, the longest text first; empty for a whole scan."""
        progress = self.columns.store.manifest.progress
        return () if progress is None else progress_title(progress, self.scanning)
