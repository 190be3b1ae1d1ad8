"""Scores in a report. Each backend has a body of its own: what has the key ``pooled`` in it is taken for a score."""

import math
from collections.abc import Mapping

from pydantic import JsonValue

from vlmscope.core.notebook.values import SavedScore
from vlmscope.core.report.schema import FigurePart, ScorePart, whole


def score_part(score: SavedScore) -> ScorePart:
    """A score, with the numbers that a report shows read out of its body."""
    body = {str(key): _json(value) for key, value in score.body.items()}
    return ScorePart(backend=score.backend, created=score.created, figures=tuple(_figures(body, ())), body=body)


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
