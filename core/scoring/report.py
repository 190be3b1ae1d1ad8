"""The scores of one explanation by one backend, and their JSON in the notebook."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    WrapSerializer,
)

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.validation import first_problem
from vlmscope.core.method.correlation import Correlation, IntervalKind, Pooled, ScoredGroup, TokenKind

FORMAT = 1  #: of the JSON


def _renamed(name: str, other: str) -> Callable[[Any], dict[str, Any]]:
    """Renames a key of a JSON object; TypeError or ValueError if it is not an object."""
    return lambda body: {other if key == name else key: value for key, value in dict(body).items()}


def _pooled_json(body: dict[str, Any]) -> dict[str, Any]:
    """A pooled score in JSON: without a ceiling where it is not known, as it was before there were ceilings."""
    found = _renamed("score", "pooled")(body)
    return {key: value for key, value in found.items() if key != "ceiling" or value is not None}


#: A correlation's ``value`` is ``score`` in JSON, a pooled ``score`` is ``pooled``.
_Correlation = Annotated[
    Correlation,
    BeforeValidator(_renamed("score", "value")),
    WrapSerializer(lambda one, dump: _renamed("value", "score")(dump(one))),
]
_Pooled = Annotated[
    Pooled,
    BeforeValidator(_renamed("pooled", "score")),
    WrapSerializer(lambda one, dump: _pooled_json(dump(one))),
]


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
    values: Mapping[TokenKind, _Correlation]


def _nested(body: Any) -> Any:
    return body | {"values": {kind: body[kind] for kind in TokenKind if kind in body}}


def _flat(one: SampleScore, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
    body: dict[str, Any] = dump(one)
    values = body.pop("values")
    return {**body, **values}


#: In JSON the values stand beside ``sample`` and ``rank``, each under its kind.
_FlatSample = Annotated[SampleScore, BeforeValidator(_nested), WrapSerializer(_flat)]


@dataclass(frozen=True)
class ScoreReport:
    """The scores of one explanation by one backend.

    Attributes:
        backend: the simulator's name. independent: false if it asks the inspected model about itself.
        explanation: the text that was scored. phrases: what the simulator looked for.
        pooled: of each kind that the backend predicts, by group; ``scores`` in JSON. Reports that were stored before
            have no score on samples that hold the concept.
        samples: top ones by rank, then random ones by index; those that have any value.
        failures: what was left out.
        note: what a reader should know; may be empty.
    """

    backend: str
    independent: bool
    explanation: str
    phrases: tuple[str, ...]
    pooled: Annotated[Mapping[TokenKind, Mapping[ScoredGroup, _Pooled]], Field(alias="scores")]
    samples: tuple[_FlatSample, ...]
    failures: tuple[Failure, ...]
    note: str

    def headline(self, kind: TokenKind) -> Pooled | None:
        """The score to show first: top and random samples together, if random ones were planned; None if ``kind`` is
        not predicted."""
        found = self.pooled.get(kind)
        if found is None:
            return None
        top, both = found[ScoredGroup.TOP], found[ScoredGroup.TOP_AND_RANDOM]
        return both if both.planned > top.planned else top

    def with_concept(self, kind: TokenKind) -> Pooled | None:
        """The second score, on samples that hold the concept; None if there is none, as in one stored before."""
        found = self.pooled.get(kind, {}).get(ScoredGroup.CONCEPT)
        return None if found is None or found.score is None else found

    def to_json(self) -> dict[str, object]:
        """The report as JSON values, for ``Notebook.add_score``."""
        body: dict[str, object] = _REPORT.dump_python(self, mode="json", by_alias=True)
        note = body.pop("note")
        counts = {"scored": len(self.samples), "failed": len({one.sample for one in self.failures})}
        return {"format": FORMAT, **body, "counts": counts, "note": note}

    @staticmethod
    def from_json(body: Mapping[str, object]) -> "ScoreReport":
        """The report that ``to_json`` gave. Raises NotebookError if this vlmscope could not have written it."""
        try:
            if body["format"] != FORMAT:
                raise ValueError(f"format {body['format']!r:.80}")
            return _REPORT.validate_python(body)
        except (KeyError, TypeError, ValueError) as error:
            reason = first_problem(error) if isinstance(error, ValidationError) else error
            raise NotebookError(
                f"A score in the notebook cannot be read: {reason}.", "Score it again: vlmscope simulate --again."
            ) from error


_REPORT = TypeAdapter(ScoreReport)


#: What a score of a simulator is, for the reader of one.
WHAT = "Pearson's correlation of true and predicted activations"
OTHERS = "others: the mean score of other neurons' explanations on the same samples"


def score_words(found: Pooled, *, samples: bool = False) -> str:
    """A score for a person: ``0.69 (95% 0.61 to 0.75; others 0.01)``, or ``n/a`` with its reason.

    Args:
        samples: also over how many: ``0.69 over 20 samples (...)``.
    """
    if found.score is None:
        return f"n/a: {found.reason}"
    more = []
    if found.interval is not None:
        more.append(f"{_interval_words(found.interval_kind)} {found.interval[0]:.2f} to {found.interval[1]:.2f}")
    if found.baseline is not None:
        more.append(f"others {found.baseline:.2f}")
    if found.ceiling is not None:
        more.append(f"ceiling {found.ceiling:.2f}")
    if found.counted < found.planned:
        left = found.planned - found.counted
        more.append(f"{left} sample{'s' if left != 1 else ''} left out")
    value = f"{found.score:.2f}{f' over {found.counted} samples' if samples else ''}"
    return f"{value} ({'; '.join(more)})" if more else value


def _interval_words(kind: IntervalKind | None) -> str:
    """The kind of an interval; a bootstrap is of a score that was stored by an earlier vlmscope."""
    if kind is None:
        return "interval"
    return {IntervalKind.JACKKNIFE: "95%", IntervalKind.BOOTSTRAP: "95% bootstrap"}.get(kind, kind.words)
