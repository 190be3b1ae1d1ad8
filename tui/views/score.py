"""A score as the page shows it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import NotebookError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.views.columns import ListScore

if TYPE_CHECKING:
    from vlmscope.core.notebook.values import Entry, SavedScore
    from vlmscope.core.scoring.judge_report import AnyReport
    from vlmscope.core.scoring.simulation import Outcome, PredictedSample


@dataclass(frozen=True, eq=False)
class ScoreView:
    """One of a neuron's scores.

    Attributes:
        report: None if what the notebook holds cannot be read; ``problem`` says why.
        place: from 0, among the ``others`` and this one. others: the neuron's other scores in their order, those that
            can be read.
        count: how many scores there are.
        leads: whether it is of the explanation that leads.
        examples: origin, truth and prediction of each sample; None if they were not computed in this session.
        at: the example shown. crop: its picture as a JPEG, or empty.
    """

    neuron: Neuron
    report: "AnyReport | None"
    examples: "tuple[PredictedSample, ...] | None"
    at: int
    crop: bytes = b""
    problem: str = ""
    leads: bool = True
    place: int = 0
    count: int = 1
    others: "tuple[AnyReport, ...]" = ()


def _in_order(entry: "Entry") -> "list[tuple[SavedScore, AnyReport | NotebookError]]":
    """All scores as they are shown: the leading explanation's first, of each explanation in the order of the rule.

    Those that cannot be read come last, with the reason.
    """
    from vlmscope.core.scoring.judge_report import read_report
    from vlmscope.core.scoring.preferred import ordered

    read: dict[int | None, list[AnyReport]] = {saved.id: [] for saved in entry.explanations}
    unread: list[tuple[SavedScore, AnyReport | NotebookError]] = []
    saved_of: dict[int, SavedScore] = {}
    for saved in _scores(entry):
        try:
            report = read_report(saved.body)
        except NotebookError as error:
            unread.append((saved, error))
        else:
            read.setdefault(saved.explanation_id, []).append(report)
            saved_of[id(report)] = saved
    return [*((saved_of[id(one)], one) for reports in read.values() for one in ordered(reports)), *unread]


def _scores(entry: "Entry") -> "tuple[SavedScore, ...]":
    """Those of explanations, then those of the neuron itself."""
    return (*entry.scores, *entry.own_scores)


def place_of_newest(entry: "Entry") -> int:
    """The place of the score that was kept last, among all as they are shown; 0 without any."""
    newest = max((saved.id for saved in _scores(entry)), default=-1)
    return next((at for at, (saved, _) in enumerate(_in_order(entry)) if saved.id == newest), 0)


def list_score_of(entry: "Entry") -> ListScore | None:
    """The score that the list is sorted by, as it is found for all neurons when the notebook is read."""
    if not entry.scores or not entry.explanations:
        return None
    from vlmscope.core.scoring.judge_report import AnyReport, read_report
    from vlmscope.core.scoring.preferred import list_score

    reports = list[AnyReport]()
    for saved in entry.scores:  # newest first
        if saved.explanation_id == entry.explanations[0].id:
            with contextlib.suppress(NotebookError):
                reports.append(read_report(saved.body))
    first = list_score(reports)
    return None if first is None else ListScore(first.value, first.independent)


def score_view(
    entry: "Entry", outcomes: "Mapping[tuple[Neuron, str, str], Outcome]", place: int, example: int, store: ScanStore
) -> ScoreView | None:
    """One of an entry's scores; None if it has none.

    Args:
        outcomes: of this session, by neuron, backend and explanation: a score's pictures come with it if it is there.
        place: which score, from 0; the last one for a larger number.
        example: the one to show.
    """
    if not _scores(entry):
        return None
    every = _in_order(entry)
    place = min(place, len(every) - 1)
    saved, report = every[place]
    others = tuple(other for at, (_, other) in enumerate(every) if at != place and not isinstance(other, NotebookError))
    if isinstance(report, NotebookError):
        problem = report.message
        return ScoreView(entry.neuron, None, None, 0, b"", problem, place=place, count=len(every), others=others)
    outcome = outcomes.get((entry.neuron, report.backend, report.explanation))
    examples = outcome.examples if outcome is not None else None
    at = min(example, max(len(examples or ()) - 1, 0))
    crop = b""
    if examples:
        try:
            crop = store.crop(examples[at].sample.sample)
        except VlmscopeError:  # the box shows that there is no picture
            crop = b""
    leads = saved.explanation_id is None or (
        bool(entry.explanations) and saved.explanation_id == entry.explanations[0].id
    )
    return ScoreView(
        entry.neuron, report, examples, at, crop, leads=leads, place=place, count=len(every), others=others
    )
