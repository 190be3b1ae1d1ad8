"""What the page is painted from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.analysis.firmness import NeuronFirmness
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.distribution import Distribution
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Label
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.views.score import ScoreView
from vlmscope.tui.views.state import Mode

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView


@dataclass(frozen=True, eq=False)
class Facts:
    """The neuron as a whole: its words and its distributions."""

    neuron: Neuron
    peaks: tuple[tuple[str, int], ...]
    visual: Distribution
    text: Distribution
    content_maximum: float


@dataclass(frozen=True, eq=False)
class PageView:
    """All that the page shows.

    Attributes:
        counts: how many top samples are visual, text, multimodal, unknown.
        votes: of each top sample, best first.
        rank: the chosen top sample, or None on the user's own picture.
        firmness: None while stale.
        evidence: the picture; of another neuron or sample while ``stale``.
        facts, meaning: of another neuron while stale.
        score: its newest score, on the page of scores alone.
        waiting: what the model is doing about a map that is not there.
        problem: why there is no picture at all; empty otherwise.
        tokens: of the scan's longest description.
    """

    neuron: Neuron
    label: Label
    counts: tuple[int, int, int, int]
    valid: int
    firm: bool
    firmness: NeuronFirmness | None
    maximum: float
    votes: tuple[Label, ...]
    rank: int | None
    colour_map: ColourMap
    mode: Mode
    listed: bool
    evidence: "PictureView | None"
    facts: Facts | None
    meaning: Meaning | None
    score: ScoreView | None
    stale: bool
    waiting: str
    problem: str
    tokens: int
