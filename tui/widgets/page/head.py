"""The lines above the pictures: the neuron, its samples' votes, the chosen sample, its vote with the numbers."""

from typing import TYPE_CHECKING

from rich.style import Style
from textual.strip import Strip

from vlmscope.core.analysis.firmness import NeuronFirmness
from vlmscope.core.method.labels import Label
from vlmscope.tui.views.page import PageView
from vlmscope.tui.widgets.lines import Part, row
from vlmscope.tui.widgets.numbers import activation, against, fraction, ordinal
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

    pass

_CHOSEN = Style(reverse=True, bold=True)


def neuron_line(view: PageView, palette: Palette, width: int) -> Strip:
    """Address, label, the four fractions, how firm, the maximum."""
    parts: list[Part] = [(f"{view.neuron}  ", palette.strong)]
    if not view.listed:
        parts.append(("not in this filter  ", palette.warning))
    parts.append((f"{view.label.letter} {view.label.word}", palette.labels[view.label] + palette.strong))
    parts.append(("  ", palette.text))
    for label, count in zip(Label, view.counts, strict=True):
        look = palette.labels[label] if label is view.label else palette.muted
        parts.append((f"{label.letter} {fraction(count / max(view.valid, 1))} ", look))
    best = max(view.counts)
    firm = "firm" if view.firm else "tie" if sorted(view.counts)[-2] == best else "weak"
    parts.append((f" {firm}", palette.text if view.firm else palette.muted))
    if view.firmness is not None and view.firmness.fragile and firm != "tie":
        parts.append((" fragile", palette.warning))
    parts.append((f"  max {activation(view.maximum)}", palette.text))
    return row(parts, width)


def firmness_line(firmness: NeuronFirmness | None, palette: Palette, width: int) -> Strip:
    """How firm the vote is: of the label, no significance (``core/analysis/firmness.py``)."""
    if firmness is None or firmness.share is None:
        return row([("no votes" if firmness is not None else "…", palette.muted)], width)
    fragile = "fragile: a threshold moved by a tenth changes it" if firmness.fragile else "not fragile"
    text = (
        f"margin {fraction(firmness.margin)} · share {fraction(firmness.share)}"
        f" (95% {fraction(firmness.low)} to {fraction(firmness.high)}) · sign test p {firmness.sign_p:.2g} · {fragile}"
    )
    return row([("label ", palette.muted), (text, palette.text)], width)


def votes_line(view: PageView, palette: Palette, width: int) -> Strip:
    """Every top sample's vote, best first, the chosen one marked."""
    if not view.votes:
        return row([("no top samples", palette.muted)], width)
    head = f"votes {max(view.counts)}/{view.valid} "
    room = max(width - len(head) - 2, 1)
    rank = view.rank if view.rank is not None else 0
    first = min(max(0, rank - room // 2), max(0, len(view.votes) - room))
    parts: list[Part] = [(head, palette.muted), ("‹" if first else " ", palette.muted)]
    for at, vote in enumerate(view.votes[first : first + room], start=first):
        look = palette.labels[vote]
        parts.append((vote.letter, look + _CHOSEN if at == view.rank else look))
    parts.append(("›" if first + room < len(view.votes) else "", palette.muted))
    return row(parts, width)


def sample_line(evidence: "PictureView", valid: int, palette: Palette, width: int) -> Strip:
    """Which picture it is."""
    parts: list[Part] = []
    if evidence.rank is None:
        parts.append(("your picture", palette.strong))
    else:
        parts.append((f"sample {evidence.rank + 1} of {valid}", palette.strong))
        parts.append((f" · #{evidence.sample}", palette.muted))
    if evidence.score is not None:
        parts.append((f" · score {activation(evidence.score)}", palette.text))
    parts.append((f" · {evidence.name}", palette.muted))
    return row(parts, width)


def _kind(value: float | None, threshold: float, number: int, word: str, *, above: bool) -> str:
    if value is None:
        return f"no {ordinal(number)} {word}"
    return f"{ordinal(number)} {word} {against(value, threshold, above=above)}"


def vote_line(evidence: "PictureView", waiting: str, palette: Palette, width: int) -> Strip:
    """The sample's own vote and the numbers behind it, as norms against the thresholds."""
    if evidence.vote is None:
        return row([(f"no vote yet: {evidence.map_problem or waiting or 'no map'}", palette.muted)], width)
    vote, thresholds = evidence.vote, evidence.thresholds
    visual = _kind(
        evidence.visual_norm, thresholds.T_v, thresholds.n_v, "patch", above=vote in (Label.VISUAL, Label.MULTIMODAL)
    )
    text = _kind(
        evidence.text_norm, thresholds.T_t, thresholds.n_t, "word", above=vote in (Label.TEXT, Label.MULTIMODAL)
    )
    return row(
        [
            ("vote ", palette.muted),
            (f"{vote.letter} {vote.word}", palette.labels[vote]),
            (f"  ({visual} · {text})", palette.text),
        ],
        width,
    )
