"""The scores of one explanation by a judge, and their JSON in the notebook.

Its ``format`` is another than a simulator's, so that an earlier vlmscope refuses it in place of misreading it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, WrapSerializer
from pydantic.functional_validators import BeforeValidator

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.validation import first_problem
from vlmscope.core.method.judged import Judged
from vlmscope.core.scoring.report import Failure, ScoreReport

FORMAT = 2  #: of the JSON; 1 is a simulator's


class JudgeMethod(StrEnum):
    """What a judge is asked."""

    DETECTION = "detection"  #: which samples activate the neuron
    FUZZING = "fuzzing"  #: which marked patches are the neuron's
    INTRUDER = "intruder"  #: which of five samples does not activate it; without an explanation

    @property
    def backend(self) -> str:
        """How names of backends begin."""
        return f"{self.value}/"


class Metric(StrEnum):
    """The headline first."""

    BALANCED_ACCURACY = "balanced accuracy"
    AUC = "AUC"
    ACCURACY = "accuracy"  #: intruder's


@dataclass(frozen=True)
class JudgedSample:
    """A sample and the judge's answer; fields as in ``ShownSample``.

    Attributes:
        rating: from 0 to 10, above 5 is a yes.
        other: in fuzzing, the other neuron whose patches were marked.
    """

    sample: int
    rank: int | None
    place: float | None
    norm: float
    activates: bool
    rating: int
    other: str | None = None


@dataclass(frozen=True)
class IntruderRound:
    """A round of intruder: the samples as they were shown, which of them does not activate, and which was picked."""

    samples: tuple[int, ...]
    intruder: int
    answer: int


def _figure_from(body: Any) -> dict[str, Any]:
    return {"value" if key == "pooled" else key: value for key, value in dict(body).items() if key != "interval_kind"}


def _figure_json(body: dict[str, Any]) -> dict[str, Any]:
    found = {"pooled" if key == "value" else key: value for key, value in body.items()}
    return found | {"interval_kind": None if body["interval"] is None else "95%"}


#: A figure's ``value`` is ``pooled`` in JSON, as in a simulator's: a report takes what has it for a score.
_Judged = Annotated[Judged, BeforeValidator(_figure_from), WrapSerializer(lambda one, dump: _figure_json(dump(one)))]


@dataclass(frozen=True)
class JudgeReport:
    """The scores of one explanation by one judge.

    Attributes:
        method: what was asked. model: who was asked.
        independent: false if it is the inspected model.
        explanation: the text that was judged; empty for intruder. prompt_version: of the question.
        figures: by metric, under the method's name in ``scores`` in JSON.
        samples: those that have an answer. failures: what was left out.
        note: what a reader should know; may be empty.
        rounds: of intruder, those that have an answer.
    """

    method: JudgeMethod
    model: str
    independent: bool
    explanation: str
    prompt_version: str
    figures: Annotated[Mapping[Metric, _Judged], Field(alias="scores")]
    samples: tuple[JudgedSample, ...]
    failures: tuple[Failure, ...]
    note: str
    rounds: tuple[IntruderRound, ...] = ()

    @property
    def backend(self) -> str:
        """The method and the judge: what the notebook has the score under."""
        return f"{self.method.backend}{self.model}"

    @property
    def headline(self) -> Judged | None:
        """The figure that is shown first; None without any."""
        return next(iter(self.figures.values()), None)

    def to_json(self) -> dict[str, object]:
        """The report as JSON values, for ``Notebook.add_score``."""
        body: dict[str, Any] = _REPORT.dump_python(self, mode="json", by_alias=True)
        scores, note = {self.method.value: body.pop("scores")}, body.pop("note")
        samples, failures, rounds = body.pop("samples"), body.pop("failures"), body.pop("rounds")
        scored = len(self.samples) or len(self.rounds)
        counts = {"scored": scored, "failed": len({one.sample for one in self.failures})}
        rest = {"scores": scores, "samples": samples, "failures": failures, "counts": counts, "note": note}
        if self.method is JudgeMethod.INTRUDER:
            rest["rounds"] = rounds
        return {"format": FORMAT, "backend": self.backend, **body, **rest}

    @staticmethod
    def from_json(body: Mapping[str, object]) -> "JudgeReport":
        """The report that ``to_json`` gave. Raises NotebookError if this vlmscope could not have written it."""
        try:
            if body["format"] != FORMAT:
                raise ValueError(f"format {body['format']!r:.80}")
            scores = body["scores"]
            if not isinstance(scores, Mapping):
                raise TypeError("its scores are not an object")
            return _REPORT.validate_python({**body, "scores": scores[body["method"]]})
        except (KeyError, TypeError, ValueError) as error:
            reason = first_problem(error) if isinstance(error, ValidationError) else error
            raise NotebookError(
                f"A score in the notebook cannot be read: {reason}.", "Score it again: vlmscope score --again."
            ) from error


_REPORT = TypeAdapter(JudgeReport)
AnyReport = ScoreReport | JudgeReport


def read_report(body: Mapping[str, object]) -> AnyReport:
    """A simulator's or a judge's report, by its format. Raises NotebookError as ``from_json``."""
    return JudgeReport.from_json(body) if body.get("format") == FORMAT else ScoreReport.from_json(body)


def judged_words(report: JudgeReport) -> str:
    """All figures for a person: ``balanced accuracy 0.95 (95% 0.72 to 0.99; chance 0.50; 2% of fakes pass)``."""
    return "  ".join(f"{metric} {figure_words(found)}" for metric, found in report.figures.items())


def figure_words(found: Judged) -> str:
    """One figure for a person, without its name."""
    if found.value is None or found.interval is None:
        return f"n/a: {found.reason}"
    more = [f"95% {found.interval[0]:.2f} to {found.interval[1]:.2f}", f"chance {found.chance:.2f}"]
    if found.fakes is not None:
        more.append(f"{found.fakes:.0%} of fakes pass")
    if found.counted < found.planned:
        more.append(f"{found.planned - found.counted} left out")
    return f"{found.value:.2f} ({'; '.join(more)})"
