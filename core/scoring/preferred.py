"""Which of a neuron's scores are shown first, by the rule of ``core/notebook/score_order.py``."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from vlmscope.core.method.correlation import Pooled, TokenKind
from vlmscope.core.notebook.score_order import ScoreOrder, is_chosen, score_order
from vlmscope.core.scoring.judge_report import AnyReport, JudgeReport, Metric
from vlmscope.core.scoring.report import ScoreReport

R = TypeVar("R", bound=AnyReport)


@dataclass(frozen=True, eq=False)
class Headline:
    """The headline of one kind of tokens, and the report that it is from."""

    report: ScoreReport
    kind: TokenKind
    pooled: Pooled

    @property
    def order(self) -> ScoreOrder:
        """What ``score_order`` makes of it."""
        report, known = self.report, self.pooled.score is not None
        return score_order(report.backend, independent=report.independent, known=known)


def _headlines(report: ScoreReport) -> list[Headline]:
    found = ((kind, report.headline(kind)) for kind in report.pooled)
    return [Headline(report, kind, pooled) for kind, pooled in found if pooled is not None]


def ordered(reports: Iterable[R]) -> tuple[R, ...]:
    """Reports of one explanation in the order in which they are shown.

    Args:
        reports: the newest first; simulators' and judges' in one row.
    """

    def order(report: AnyReport) -> ScoreOrder:
        if isinstance(report, JudgeReport):
            known = report.headline is not None and report.headline.value is not None
        else:
            known = any(headline.pooled.score is not None for headline in _headlines(report))
        return score_order(report.backend, independent=report.independent, known=known)

    return tuple(sorted(reports, key=order))


def first_of_each_kind(reports: Iterable[ScoreReport]) -> tuple[Headline, ...]:
    """The score that is shown first for each kind of tokens, in the order of the rule, patches before words.

    Of one simulator's scores the newest one counts, even where it is n/a.

    Args:
        reports: of one explanation, the newest first.
    """
    newest: dict[str, ScoreReport] = {}
    for report in reports:
        newest.setdefault(report.backend, report)
    first: dict[TokenKind, Headline] = {}
    for headline in sorted(chain.from_iterable(map(_headlines, newest.values())), key=lambda one: one.order):
        first.setdefault(headline.kind, headline)
    kinds = list(TokenKind)
    return tuple(sorted(first.values(), key=lambda one: (one.order[:3], kinds.index(one.kind))))


@dataclass(frozen=True, eq=False)
class Leading:
    """The one score of a neuron that a list is sorted by.

    Attributes:
        value: 0 is chance, 1 is right: a correlation as it is, a judge's figure as its share of the way from its chance
            level to 1.
        kind: of tokens, or the judge's metric.
    """

    value: float
    report: AnyReport
    kind: TokenKind | Metric

    @property
    def independent(self) -> bool:
        """Whether it is of another than the inspected model."""
        return self.report.independent


def list_score(reports: Iterable[AnyReport]) -> Leading | None:
    """The one score that a list of neurons is sorted by; None if all are n/a.

    It is a judge's where that leads (``ordered``). Else it is the largest of those that ``first_of_each_kind`` finds:
    of the chosen simulator's if there are any, else of the independent ones if there are any.

    Args:
        reports: of one explanation, the newest first; simulators' and judges' in one row.
    """
    newest: dict[str, AnyReport] = {}
    for report in reports:
        newest.setdefault(report.backend, report)
    leads = next(iter(ordered(newest.values())), None)
    if isinstance(leads, JudgeReport) and leads.headline is not None and leads.headline.value is not None:
        value = (leads.headline.value - leads.headline.chance) / (1 - leads.headline.chance)
        return Leading(value, leads, next(iter(leads.figures)))
    simulated = [report for report in newest.values() if isinstance(report, ScoreReport)]
    known = [(one, one.pooled.score) for one in first_of_each_kind(simulated) if one.pooled.score is not None]

    def place(pair: tuple[Headline, float]) -> tuple[bool, bool, float]:
        report = pair[0].report
        return is_chosen(report.backend), report.independent, pair[1]

    best = max(known, key=place, default=None)
    return None if best is None else Leading(best[1], best[0].report, best[0].kind)
