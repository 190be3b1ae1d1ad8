"""A score in words, for lines of text."""

from collections.abc import Iterable

from vlmscope.core.method.correlation import ScoredGroup, TokenKind
from vlmscope.core.scoring.judge_report import AnyReport, JudgeReport, judged_words
from vlmscope.core.scoring.preferred import Headline, first_of_each_kind
from vlmscope.core.scoring.report import ScoreReport, score_words

KINDS = {TokenKind.VISUAL: "patches", TokenKind.TEXT: "words"}
GROUPS = {
    ScoredGroup.TOP: "top samples",
    ScoredGroup.TOP_AND_RANDOM: "top and random",
    ScoredGroup.CONCEPT: "with the concept",
}


def name_of(report: AnyReport) -> str:
    """The simulator or the judge, and whether it asks the inspected model about itself."""
    return f"by {report.backend}{'' if report.independent else ' (not independent)'}"


def score_text(report: AnyReport) -> str:
    """The backend, then the headline of each kind, in the order in which they matter; of a judge its metrics."""
    if isinstance(report, JudgeReport):
        return f"{name_of(report)}: {judged_words(report)}"
    found = ((kind, report.headline(kind)) for kind in report.pooled)
    return _text([Headline(report, kind, pooled) for kind, pooled in found if pooled is not None], samples=True)


def first_scores(reports: Iterable[ScoreReport], room: int) -> tuple[str, int]:
    """The score that comes first for each kind of tokens, each with its simulator; and of how many reports they are.

    Args:
        reports: of one explanation, the newest first.
        room: characters; where the numbers of samples do not fit, all scores are without, and then without intervals.
    """
    by_report: dict[int, list[Headline]] = {}
    for headline in first_of_each_kind(reports):
        by_report.setdefault(id(headline.report), []).append(headline)
    tries = ["  ".join(_text(found, samples=samples) for found in by_report.values()) for samples in (True, False)]
    if all(one.pooled.score is not None for found in by_report.values() for one in found):
        tries.append("  ".join(_brief(found) for found in by_report.values()))
    return next((text for text in tries if len(text) <= room), tries[-1]), len(by_report)


def first_judged(report: JudgeReport, room: int) -> str:
    """A judge's score; where ``room`` characters are too few, its first metric alone."""
    text = score_text(report)
    first = next(iter(report.figures.items()), None)
    if len(text) <= room or first is None or first[1].value is None:
        return text
    return f"{name_of(report)}: {first[0]} {first[1].value:.2f}"


def _brief(headlines: list[Headline]) -> str:
    values = (f"{KINDS[one.kind]} {one.pooled.score:.2f}" for one in headlines)
    return "  ".join([f"{name_of(headlines[0].report)}:", *values])


def _text(headlines: list[Headline], *, samples: bool) -> str:
    values = (f"{KINDS[one.kind]} {score_words(one.pooled, samples=samples)}" for one in headlines)
    return "  ".join([f"{name_of(headlines[0].report)}:", *values])
