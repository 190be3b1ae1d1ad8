"""A score in words, for lines of text."""

from vlmscope.core.method.correlation import ScoredGroup, TokenKind
from vlmscope.core.scoring.report import ScoreReport, score_words

KINDS = {TokenKind.VISUAL: "patches", TokenKind.TEXT: "words"}
GROUPS = {ScoredGroup.TOP: "top samples", ScoredGroup.TOP_AND_RANDOM: "top and random"}


def score_text(report: ScoreReport) -> str:
    """The backend, then the headline of each kind, in the order in which they matter."""
    name = f"by {report.backend}{'' if report.independent else ' (not independent)'}:"
    found = ((kind, report.headline(kind)) for kind in report.pooled)
    return "  ".join([name, *(f"{KINDS[kind]} {score_words(pooled)}" for kind, pooled in found if pooled is not None)])
