"""The lines above a page's pictures: the neuron, its votes, the sample, and the sample's vote or the place there."""

from typing import TYPE_CHECKING

from rich.style import Style
from textual.strip import Strip

from vlmscope.core.method.labels import Label
from vlmscope.core.worker.messages import Phase
from vlmscope.tui.views.pointer import reading
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.widgets.lines import Span, row
from vlmscope.tui.widgets.numbers import activation, against, fraction, ordinal
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

_CHOSEN = Style(reverse=True, bold=True)
_NAME = 35  # cells of a picture's name that is left out whole, at most


def _at(view: Scene) -> tuple[int, int]:
    return view.state.neuron.layer, view.state.neuron.index


def maximum_of(view: Scene) -> float:
    """The maximum of the page's neuron."""
    return float(view.columns.store.maximum[_at(view)])


def neuron_line(view: Scene, palette: Palette, width: int) -> Strip:
    """Address, label, the four fractions, whether the label is high-confidence, a tie or fragile, the maximum."""
    labels, at = view.columns.labels, _at(view)
    own, votes = Label(int(labels.label[at])), labels.votes[at].tolist()
    parts: list[Span] = [(f"{view.state.neuron}  ", palette.strong)]
    if not view.listed:
        parts.append(("not in this filter  ", palette.warning))
    parts.append((f"{own.letter} {own.word}", palette.labels[own] + palette.strong))
    parts.append(("  ", palette.text))
    for label, count in zip(Label, votes, strict=True):
        look = palette.labels[label] if label is own else palette.muted
        parts.append((f"{label.letter} {fraction(count / max(labels.valid, 1))} ", look))
    tie = sorted(votes)[-2] == max(votes)
    rest: list[Span] = []
    if view.firmness is not None and view.firmness.fragile and (labels.high_confidence[at] or not tie):
        rest.append((" fragile", palette.warning))
    rest.append((f"  max {activation(maximum_of(view))}", palette.text))
    if labels.high_confidence[at]:
        used = sum(len(text) for text, _ in (*parts, *rest))
        parts.append((" high-confidence" if used + len(" high-confidence") <= width else " high", palette.text))
    elif tie:
        parts.append((" tie", palette.muted))
    return row([*parts, *rest], width)


def _votes_head(view: Scene) -> str:
    labels = view.columns.labels
    return f"votes {labels.votes[_at(view)].max()}/{labels.valid} "


def votes_shown(view: Scene, width: int) -> tuple[int, int, int]:
    """The cell of the first vote that is shown, its rank, and how many have room."""
    state, valid = view.state, view.columns.labels.valid
    head = len(_votes_head(view))
    room = max(width - head - 2, 1)
    rank = state.rank if state.own is None else 0
    first = min(max(0, rank - room // 2), max(0, valid - room))
    return head + 1, first, min(room, valid - first)


def votes_line(view: Scene, palette: Palette, width: int) -> Strip:
    """Every top sample's vote, best first, the chosen one marked."""
    state = view.state
    votes = [Label(vote) for vote in view.columns.store.votes(state.neuron, state.thresholds).tolist()]
    if not votes:
        return row([("no top samples", palette.muted)], width)
    rank = state.rank if state.own is None else 0
    _, first, room = votes_shown(view, width)
    parts: list[Span] = [(_votes_head(view), palette.muted), ("‹" if first else " ", palette.muted)]
    for at, vote in enumerate(votes[first : first + room], start=first):
        look = palette.labels[vote]
        parts.append((vote.letter, look + _CHOSEN if at == rank and state.own is None else look))
    parts.append(("›" if first + room < len(votes) else "", palette.muted))
    return row(parts, width)


def picture_line(view: Scene, palette: Palette, width: int) -> Strip:
    """``sample_line`` of the page's picture, if that is there."""
    if view.picture is None or view.stale:
        return row([("…", palette.muted)], width)
    return sample_line(view.picture, view.columns.labels.valid, palette, width, view.map_key)


def sample_line(evidence: "PictureView", valid: int, palette: Palette, width: int, map_key: str = "X") -> Strip:
    """Which picture it is, and which key asks for its exact map."""
    parts: list[Span] = []
    if evidence.across is not None:
        one = evidence.across
        near = "random" if one.quantile is None else f"near {one.quantile:.0%}"
        parts.append((f"panel, {one.place:.0%} are weaker", palette.strong))
        parts.append((f" · {near} · #{evidence.sample}", palette.muted))
    elif evidence.rank is None:
        parts.append(("your picture", palette.strong))
    else:
        parts.append((f"sample {evidence.rank + 1} of {valid}", palette.strong))
        parts.append((f" · #{evidence.sample}", palette.muted))
    if evidence.activation is not None:
        parts.append((f" · activation {activation(evidence.activation)}", palette.text))
    room = width - sum(len(text) for text, _ in parts)
    if evidence.small:
        hints = (f" · ≈ small map, {map_key} exact", " · ≈ small map", " · ≈")
        hint = next((hint for hint in hints if len(hint) <= room), "")
        parts.append((hint, palette.muted))
        room -= len(hint)
    # A name is left out whole, without an ellipsis, which would look like part of a hint; one of a sentence's length is
    # cut.
    name = f" · {evidence.name}"
    if len(name) <= room or (len(name) > _NAME and room > _NAME):
        parts.append((name, palette.muted))
        if evidence.question and len(name) < room:
            parts.append((f" · asked “{evidence.question}”", palette.text))
    return row(parts, width)


def waiting(view: Scene, picture: "PictureView | None" = None) -> str:
    """What the model is doing about a map that is not there, or which key asks it.

    Args:
        picture: whose map; None for the page's own.
    """
    picture = picture or view.picture
    if picture is not None and picture.visual is not None:
        return ""
    if not view.asking:
        return "" if view.state.own is not None else f"the scan keeps no map here; {view.map_key} asks the model for it"
    loading = view.status.phase in (Phase.STARTING, Phase.LOADING)
    return f"asking the model: {view.status.phase}" if loading else "asking the model"


def _kind(value: float | None, threshold: float, number: int, word: str, *, above: bool) -> str:
    if value is None:
        return f"no {ordinal(number)} {word}"
    return f"{ordinal(number)} {word} {against(value, threshold, above=above)}"


def pointer_line(view: Scene, picture: "PictureView", palette: Palette, width: int) -> Strip:
    """The place that is pointed at, and the neuron's value there; ``≈`` is read from 8 bits."""
    found = reading(picture, view.state.pointer, maximum_of(view))
    parts: list[Span] = [(found.place, palette.accent)]
    if found.norm is None or found.activation is None:
        parts.append((f"  value: {picture.map_problem or waiting(view) or 'no map yet'}", palette.muted))
        return row(parts, width)
    mark = "" if found.exact else "≈"
    value = "0 or less" if found.norm == 0 and not found.exact else f"{mark}{activation(found.activation)}"
    parts.append((f"  activation {value} · norm {mark}{found.norm:.1f}", palette.text))
    return row(parts, width)


def vote_line(evidence: "PictureView", waiting: str, palette: Palette, width: int) -> Strip:
    """The sample's own vote and the numbers behind it, as norms against the thresholds."""
    if evidence.vote is None:
        return row([(f"no vote yet: {evidence.map_problem or waiting or 'no map'}", palette.muted)], width)
    vote, thresholds = evidence.vote, evidence.thresholds
    text = _kind(
        evidence.text_norm, thresholds.T_t, thresholds.n_t, "word", above=vote in (Label.TEXT, Label.MULTIMODAL)
    )
    said = f"{vote.letter} {vote.word}"

    def numbers(patch: str) -> str:
        above = vote in (Label.VISUAL, Label.MULTIMODAL)
        visual = _kind(evidence.visual_norm, thresholds.T_v, thresholds.n_v, patch, above=above)
        return f"  ({visual} · {text})"

    # n_v is the same number whether a picture has 256 or 3,000 patches: so this is beside it, where there is room.
    shown = numbers(f"of {evidence.visual_tokens} patches")
    if evidence.visual_tokens is None or len("vote ") + len(said) + len(shown) > width:
        shown = numbers("patch")
    return row([("vote ", palette.muted), (said, palette.labels[vote]), (shown, palette.text)], width)
