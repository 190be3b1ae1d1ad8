"""A score in words, for lines of text."""

import textwrap
from typing import TYPE_CHECKING

from textual.strip import Strip

from vlmscope.core.method.correlation import ScoredGroup, TokenKind
from vlmscope.core.scoring.report import score_words
from vlmscope.tui.widgets.lines import row
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.core.scoring.report import ScoreReport

KINDS = {TokenKind.VISUAL: "patches", TokenKind.TEXT: "words"}
GROUPS = {ScoredGroup.TOP: "top samples", ScoredGroup.TOP_AND_RANDOM: "top and random"}


def score_parts(report: "ScoreReport") -> list[str]:
    """The backend, then the headline of each kind, in the order in which they matter."""
    name = f"by {report.backend}{'' if report.independent else ' (not independent)'}:"
    found = ((kind, report.headline(kind)) for kind in report.pooled)
    return [name, *(f"{KINDS[kind]} {score_words(pooled)}" for kind, pooled in found if pooled is not None)]


def score_line(report: "ScoreReport", palette: Palette, width: int, head: int) -> Strip:
    """The headline of each kind in one line."""
    return row([(f"{'score':<{head}}", palette.muted), ("  ".join(score_parts(report)), palette.text)], width)


def score_lines_wrapped(report: "ScoreReport", palette: Palette, width: int, head: int) -> list[Strip]:
    """The same in full, over as many lines as it takes."""
    lines = textwrap.wrap("  ".join(score_parts(report)), max(width - head, 8))
    return [
        row([(f"{'score' if at == 0 else '':<{head}}", palette.muted), (line, palette.text)], width)
        for at, line in enumerate(lines)
    ]
