"""A score as the page shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import NotebookError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Entry
    from vlmscope.core.scoring.report import ScoreReport
    from vlmscope.core.scoring.simulation import Outcome, PredictedSample


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


def score_view(
    entry: "Entry", outcomes: "Mapping[tuple[Neuron, str, str], Outcome]", example: int, store: ScanStore
) -> ScoreView | None:
    """The newest score of the leading explanation, or of another one if that has none; None if there is no score.

    Args:
        outcomes: of this session, by neuron, backend and explanation: a score's pictures come with it if it is there.
        example: the one to show.
    """
    from vlmscope.core.scoring.report import ScoreReport

    if not entry.scores:
        return None
    first = entry.explanations[0].id if entry.explanations else -1
    saved = next((one for one in entry.scores if one.explanation_id == first), entry.scores[0])
    try:
        report = ScoreReport.from_json(saved.body)
    except NotebookError as error:
        return ScoreView(entry.neuron, None, None, 0, problem=error.message)
    outcome = outcomes.get((entry.neuron, report.backend, report.explanation))
    examples = outcome.examples if outcome is not None else None
    at = min(example, max(len(examples or ()) - 1, 0))
    crop = b""
    if examples:
        try:
            crop = store.crop(examples[at].sample.sample)
        except VlmscopeError:  # the box shows that there is no picture
            crop = b""
    return ScoreView(entry.neuron, report, examples, at, crop, leads=saved.explanation_id == first)
