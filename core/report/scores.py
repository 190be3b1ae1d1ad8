"""Scores in a report. Each backend has a body of its own: what has the key ``pooled`` in it is taken for a score."""

import math
from collections.abc import Mapping

from pydantic import JsonValue

from vlmscope.core.notebook.score_order import ScoreOrder, score_order
from vlmscope.core.notebook.values import SavedScore
from vlmscope.core.report.schema import FigurePart, ScorePart, whole


def score_part(score: SavedScore) -> ScorePart:
    """A score, with the numbers that a report shows read out of its body."""
    body = {str(key): _json(value) for key, value in score.body.items()}
    return ScorePart(backend=score.backend, created=score.created, figures=tuple(_figures(body, ())), body=body)


def leading_figures(scores: tuple[ScorePart, ...]) -> tuple[tuple[ScorePart, FigurePart], ...]:
    """The number that is shown first for each kind of tokens, with its score, by the rule of ``score_order``.

    Of one simulator the newest score counts, and of that the number that rests on most samples.

    Args:
        scores: of one explanation, the newest first.
    """
    found: dict[tuple[str, str], tuple[ScorePart, FigurePart]] = {}
    for backend, score in _newest(scores).items():
        for figure in score.figures:
            kind = figure.name.split(", ")[0]
            known = found.get((kind, backend))
            if known is None or (figure.planned or 0) > (known[1].planned or 0):
                found[kind, backend] = score, figure
    first: dict[str, tuple[ScorePart, FigurePart]] = {}
    for (kind, _), pair in sorted(found.items(), key=lambda item: _order(*item[1])):
        first.setdefault(kind, pair)
    return tuple(first.values())


def metric(score: ScorePart, figure: FigurePart) -> str:
    """What kind of number it is: a judge's figure is named by it, a simulator's is a correlation."""
    return figure.name.split(", ")[-1] if "method" in score.body else "Pearson"


def figure_of(score: ScorePart, figure: FigurePart) -> str:
    """What the number is of, with a colon: the kind and group of samples, or what a judge was asked; may be empty."""
    name = figure.name.split(", ")[0] if "method" in score.body else figure.name
    return f"{name}: " if name else ""


def score_text(score: ScorePart, figure: FigurePart) -> str:
    """A number with what it is of, its interval and its backend, as plain text."""
    value = "n/a" if figure.pooled is None else f"{figure.pooled:.2f}"
    if figure.interval is not None:
        value += f" [{figure.interval[0]:.2f}, {figure.interval[1]:.2f}]"
    own = " (not independent)" if score.body.get("independent") is False else ""
    return f"{figure_of(score, figure)}{metric(score, figure)} {value} by {score.backend}{own}"


def _newest(scores: tuple[ScorePart, ...]) -> dict[str, ScorePart]:
    """By simulator, the newest first."""
    found: dict[str, ScorePart] = {}
    for score in scores:
        found.setdefault(score.backend, score)
    return found


def _order(score: ScorePart, figure: FigurePart) -> ScoreOrder:
    return score_order(
        score.backend, independent=score.body.get("independent") is True, known=figure.pooled is not None
    )


def _json(value: object) -> JsonValue:
    """``value`` as JSON has it: None for a number that does not exist, whole characters alone."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {_text(key): _json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_json(inner) for inner in value]
    return _text(value)


def _text(value: object) -> str:
    return str(whole(str(value)))


def _figures(value: object, path: tuple[str, ...]) -> list[FigurePart]:
    if not isinstance(value, Mapping):
        return []
    if "pooled" in value:
        return [_figure(value, path)]
    found: list[FigurePart] = []
    for key, inner in value.items():
        found += _figures(inner, path if key == "scores" else (*path, str(key)))
    return found


def _figure(value: Mapping[str, object], path: tuple[str, ...]) -> FigurePart:
    found = {name: value[name] for name in FigurePart.model_fields if name in value}
    return FigurePart.model_validate(found | {"name": ", ".join(path)})
