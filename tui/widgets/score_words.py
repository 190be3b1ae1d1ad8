"""A score in words, for lines of text."""

from typing import TYPE_CHECKING

from textual.strip import Strip

from core.score import Group, IntervalKind, Pooled, TokenKind
from tui.widgets.lines import Part, row
from tui.widgets.palette import Palette

if TYPE_CHECKING:
    from core.score_report import ScoreReport

KINDS = {TokenKind.VISUAL: "patches", TokenKind.TEXT: "words"}
GROUPS = {Group.TOP: "top samples", Group.TOP_AND_RANDOM: "top and random"}


def score_text(found: Pooled) -> str:
    """Such as ``.69 (95% .61 to .75; others .01)``, or ``n/a`` with its reason."""
    if found.score is None:
        return f"n/a: {found.reason}"
    more = []
    if found.interval is not None:
        name = "95%" if found.interval_kind is IntervalKind.BOOTSTRAP else "samples"
        more.append(f"{name} {found.interval[0]:.2f} to {found.interval[1]:.2f}")
    if found.baseline is not None:
        more.append(f"others {found.baseline:.2f}")
    if found.counted < found.planned:
        more.append(f"{found.planned - found.counted} samples left out")
    return f"{found.score:.2f} ({'; '.join(more)})" if more else f"{found.score:.2f}"


def score_line(report: "ScoreReport", palette: Palette, width: int, head: int) -> Strip:
    """The headline of each kind in one line."""
    parts: list[Part] = [(f"{'score':<{head}}", palette.muted)]
    for kind in report.pooled:
        found = report.headline(kind)
        if found is not None:
            parts.append((f"{KINDS[kind]} {score_text(found)}  ", palette.text))
    parts.append((f"by {report.backend}{'' if report.independent else ', not independent'}", palette.muted))
    return row(parts, width)
