"""Scores in a report. A body is its backend's affair: whatever in it has the key ``pooled`` is taken for a score."""

from collections.abc import Mapping

from pydantic import JsonValue

from vlmscope.core.notebook.values import SavedScore
from vlmscope.core.report.schema import FigurePart, ScorePart, known


def score_part(score: SavedScore) -> ScorePart:
    """A score, with the numbers that a report shows read out of its body."""
    body = {str(key): _json(value) for key, value in score.body.items()}
    return ScorePart(backend=score.backend, created=score.created, figures=_all_figures(body), body=body)


def _json(value: object) -> JsonValue:
    """``value`` as JSON has it: None for what is no number, whole characters alone."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return known(value)
        case Mapping():
            return {_characters(str(key)): _json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_json(inner) for inner in value]
    return _characters(str(value))


def _characters(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _all_figures(body: Mapping[str, object]) -> tuple[FigurePart, ...]:
    return tuple(_figures(body, ()))


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
    ends = value.get("interval")
    low, high = (_number(end) for end in ends) if isinstance(ends, list) and len(ends) == 2 else (None, None)
    return FigurePart(
        name=", ".join(path),
        pooled=_number(value["pooled"]),
        interval=None if low is None or high is None else (low, high),
        interval_kind=str(value.get("interval_kind") or ""),
        baseline=_number(value.get("baseline")),
        planned=_count(value.get("planned")),
        counted=_count(value.get("counted")),
        reason=str(value.get("reason") or ""),
    )


def _number(value: object) -> float | None:
    return known(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
