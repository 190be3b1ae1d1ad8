"""A score as the page shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.neuron import Neuron

if TYPE_CHECKING:
    from vlmscope.core.scoring.report import ScoreReport
    from vlmscope.core.scoring.simulation import PredictedSample


@dataclass(frozen=True, eq=False)
class ScoreView:
    """The newest score of a neuron.

    Attributes:
        report: None if what the notebook holds cannot be read; ``problem`` says why.
        leads: whether it is of the explanation that leads.
        examples: origin, truth and prediction of each sample; None if they were not computed in this session.
        at: the example shown. crop: its picture as a JPEG, or empty.
    """

    neuron: Neuron
    report: "ScoreReport | None"
    examples: "tuple[PredictedSample, ...] | None"
    at: int
    crop: bytes = b""
    problem: str = ""
    leads: bool = True
