"""All that is known of one explanation's worth by one backend, and how the notebook keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.method.correlation import Correlation, IntervalKind, Pooled, ScoredGroup, TokenKind


@dataclass(frozen=True)
class Failure:
    """A sample that is left out, and why; ``kind`` is None where it has no score of any kind."""

    sample: int
    rank: int | None
    kind: TokenKind | None
    reason: str


@dataclass(frozen=True)
class SampleScore:
    """One sample's own values, of the kinds that were predicted."""

    sample: int
    rank: int | None
    values: Mapping[TokenKind, Correlation]


@dataclass(frozen=True)
class ScoreReport:
    """All that is known of one explanation's worth by one backend, as the notebook keeps it.

    Attributes:
        backend: the simulator's name. independent: false if it asks the inspected model about itself.
        explanation: the text that was scored. phrases: what the simulator looked for.
        pooled: of each kind that the backend predicts, by group.
        samples: top ones by rank, then random ones by index; those that have any value.
        failures: what was left out.
        note: what a reader should know; may be empty.
    """

    backend: str
    independent: bool
    explanation: str
    phrases: tuple[str, ...]
    pooled: Mapping[TokenKind, Mapping[ScoredGroup, Pooled]]
    samples: tuple[SampleScore, ...] = ()
    failures: tuple[Failure, ...] = ()
    note: str = ""

    def headline(self, kind: TokenKind) -> Pooled | None:
        """The score to show first: top and random samples together, if random ones were planned; None if ``kind`` is
        not predicted."""
        found = self.pooled.get(kind)
        if found is None:
            return None
        top, both = found[ScoredGroup.TOP], found[ScoredGroup.TOP_AND_RANDOM]
        return both if both.planned > top.planned else top

    def to_body(self) -> dict[str, object]:
        """As JSON can hold it, for ``Notebook.add_score``."""
        return {
            "format": 1,
            "backend": self.backend,
            "independent": self.independent,
            "explanation": self.explanation,
            "phrases": list(self.phrases),
            "scores": {
                kind.value: {group.value: _pooled_body(one) for group, one in groups.items()}
                for kind, groups in self.pooled.items()
            },
            "samples": [
                {"sample": one.sample, "rank": one.rank}
                | {kind.value: {"score": value.value, "reason": value.reason} for kind, value in one.values.items()}
                for one in self.samples
            ],
            "failures": [
                {
                    "sample": one.sample,
                    "rank": one.rank,
                    "kind": None if one.kind is None else one.kind.value,
                    "reason": one.reason,
                }
                for one in self.failures
            ],
            "counts": {"scored": len(self.samples), "failed": len({one.sample for one in self.failures})},
            "note": self.note,
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        """What ``to_body`` gave.

        Raises:
            NotebookError: if this vlmscope could not have written it.
        """
        try:
            if body["format"] != 1:
                raise ValueError(f"format {body['format']!r}")
            return cls(
                backend=str(body["backend"]),
                independent=bool(body["independent"]),
                explanation=str(body["explanation"]),
                phrases=tuple(str(phrase) for phrase in body["phrases"]),
                pooled={
                    TokenKind(kind): {ScoredGroup(group): _pooled_from(one) for group, one in groups.items()}
                    for kind, groups in body["scores"].items()
                },
                samples=tuple(_sample_from(one) for one in body["samples"]),
                failures=tuple(_failure_from(one) for one in body["failures"]),
                note=str(body["note"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise NotebookError(
                f"A score in the notebook cannot be read: {error}.", "Score it again: vlmscope simulate --again."
            ) from error


def _pooled_body(one: Pooled) -> dict[str, object]:
    return {
        "pooled": one.score,
        "reason": one.reason,
        "interval": None if one.interval is None else list(one.interval),
        "interval_kind": None if one.interval_kind is None else one.interval_kind.value,
        "planned": one.planned,
        "counted": one.counted,
        "tokens": one.tokens,
        "baseline": one.baseline,
        "baselines": one.baselines,
    }


def _pooled_from(body: Mapping[str, Any]) -> Pooled:
    low_high, kind = body["interval"], body["interval_kind"]
    return Pooled(
        score=_number(body["pooled"]),
        reason=str(body["reason"]),
        interval=None if low_high is None else (float(low_high[0]), float(low_high[1])),
        interval_kind=None if kind is None else IntervalKind(kind),
        planned=int(body["planned"]),
        counted=int(body["counted"]),
        tokens=int(body["tokens"]),
        baseline=_number(body["baseline"]),
        baselines=int(body["baselines"]),
    )


def _sample_from(body: Mapping[str, Any]) -> SampleScore:
    values = {
        kind: Correlation(_number(body[kind]["score"]), str(body[kind]["reason"])) for kind in TokenKind if kind in body
    }
    return SampleScore(int(body["sample"]), _rank(body["rank"]), values)


def _failure_from(body: Mapping[str, Any]) -> Failure:
    kind = body["kind"]
    return Failure(
        int(body["sample"]), _rank(body["rank"]), None if kind is None else TokenKind(kind), str(body["reason"])
    )


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]  # TypeError is for the caller


def _rank(value: object) -> int | None:
    return None if value is None else int(value)  # type: ignore[call-overload]


def score_words(found: Pooled) -> str:
    """A score for a person: ``0.69 (95% 0.61 to 0.75; others 0.01)``, or ``n/a`` with its reason."""
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
