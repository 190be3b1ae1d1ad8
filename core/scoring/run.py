"""Score many neurons, each result kept as it comes, so that stopping loses nothing and the next run continues."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vlmscope.core.base.batch import BatchEnd, run_batch
from vlmscope.core.base.clock import now
from vlmscope.core.base.errors import ApiError, StoreError, VlmscopeError, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import SavedScore
from vlmscope.core.scoring.candidates import concept_explanation
from vlmscope.core.scoring.judge_report import AnyReport
from vlmscope.core.scoring.protocol import Simulator
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.scoring.simulation import baseline_explanations, score_explanation
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks

NOTHING_SAID = "it has no explanation in the notebook, and no concept words"
NO_PATTERN = "its explanation says that there is no pattern"


class ScoreStatus(StrEnum):
    """The outcome for one neuron."""

    SCORED = "scored"
    KNOWN = "known"  #: the notebook had the score already
    FAILED = "failed"
    SKIPPED = "skipped"  #: nothing to score, or not reached


@dataclass(frozen=True)
class ScoreResult:
    """One neuron of a run."""

    neuron: Neuron
    status: ScoreStatus
    explanation: Explanation | None = None  #: what was scored, where there was anything
    report: ScoreReport | None = None  #: None where nothing was scored
    reason: str = ""  #: why; else empty


def pick_explanation(
    store: ScanStore, notebook: Notebook, neuron: Neuron, wanted: Explanation | None = None
) -> Explanation | None:
    """What to score of a neuron: ``wanted``, else what leads in the notebook, else its concept words.

    Words that the notebook has already are the notebook's own, with the samples that they were written from.

    Raises:
        StoreError: if the scan's concepts are damaged.
    """
    saved = notebook.explanations(neuron)
    if wanted is None:
        if saved:
            return saved[0].explanation
        wanted = concept_explanation(store, neuron, now())
    if wanted is None:
        return None
    same = (one.explanation for one in saved if _identity(one.explanation) == _identity(wanted))
    # A user who types a model's words means that explanation: the samples that the model saw are not scored on.
    typed = (one.explanation for one in saved if wanted.source is Source.USER and one.explanation.text == wanted.text)
    return next(same, None) or next(typed, wanted)


def _identity(one: Explanation) -> tuple[object, ...]:
    """The fields that make two explanations the same: not the time, nor the bill."""
    return one.text, one.source, one.model, one.visual_phrases, one.text_cue


def known_scores(notebook: Notebook, neuron: Neuron, explanation: Explanation, backend: str) -> list[SavedScore]:
    """The scores of this explanation by this backend that the notebook has, the newest first.

    Raises:
        NotebookError: if the notebook cannot be read.
    """
    wanted = _identity(explanation)
    same = {saved.id for saved in notebook.explanations(neuron) if _identity(saved.explanation) == wanted}
    return [saved for saved in notebook.scores(neuron) if saved.backend == backend and saved.explanation_id in same]


def known_score(notebook: Notebook, neuron: Neuron, explanation: Explanation, backend: str) -> ScoreReport | None:
    """The newest of ``known_scores``. Raises NotebookError if it cannot be read."""
    found = known_scores(notebook, neuron, explanation, backend)
    return ScoreReport.from_json(found[0].body) if found else None


def keep_score(notebook: Notebook, neuron: Neuron, explanation: Explanation, report: AnyReport) -> None:
    """Write a score into the notebook, and first the explanation, if it is not there.

    The explanation that leads still does, unless it is concept words and these are a person's.

    Raises:
        NotebookError: if it cannot be written.
    """
    saved = notebook.explanations(neuron)
    known = next((one.id for one in saved if _identity(one.explanation) == _identity(explanation)), None)
    if known is None:
        known = notebook.add_explanation(neuron, explanation)
        if saved and (saved[0].explanation.source.of_the_neuron or not explanation.source.of_the_neuron):
            notebook.choose_explanation(neuron, saved[0].id)
    notebook.add_score(known, report.backend, report.to_json(), now())


async def run(
    neurons: Sequence[Neuron],
    store: ScanStore,
    simulator: Simulator,
    model: Asks,
    notebook: Notebook,
    *,
    wanted: Explanation | None = None,
    again: bool = False,
    baseline: bool = True,
    on_result: Callable[[ScoreResult], None] = lambda _: None,
    on_sample: Callable[[int, int], None] = lambda _done, _of: None,
) -> BatchEnd[ScoreResult]:
    """Score the explanation of each neuron, one after the other.

    If the run ends early (the model process has gone or was stopped, a quota is used up, the task is cancelled), the
    neuron in work is lost; all finished ones are in the notebook.

    Args:
        wanted: words to score on every neuron, in place of its own explanation.
        again: score explanations that have a score in the notebook, too.
        on_sample: called with the number of finished samples of a neuron, and of all.

    Raises:
        NotebookError: if ``notebook`` cannot be read or written.
    """

    def leading(other: Neuron) -> Explanation | None:
        saved = notebook.explanations(other)
        return saved[0].explanation if saved and saved[0].explanation.pattern_found else None

    async def score(neuron: Neuron) -> ScoreResult:
        explanation = pick_explanation(store, notebook, neuron, wanted)
        if explanation is None:
            return ScoreResult(neuron, ScoreStatus.SKIPPED, reason=NOTHING_SAID)
        if not explanation.pattern_found:
            return ScoreResult(neuron, ScoreStatus.SKIPPED, explanation, reason=NO_PATTERN)
        report = None if again else known_score(notebook, neuron, explanation, simulator.name)
        if report is not None:
            return ScoreResult(neuron, ScoreStatus.KNOWN, explanation, report)
        others = baseline_explanations(store, neuron, explanation, simulator, leading) if baseline else []
        outcome = await score_explanation(
            store, neuron, explanation, simulator, model, baselines=others, on_sample=on_sample
        )
        report = outcome.report
        if not report.samples:
            reasons = list(dict.fromkeys(failure.reason for failure in report.failures))
            reason = "; ".join(reasons[:3]) or "there are no samples"
            return ScoreResult(neuron, ScoreStatus.FAILED, explanation, reason=reason)
        keep_score(notebook, neuron, explanation, report)
        return ScoreResult(neuron, ScoreStatus.SCORED, explanation, report)

    async def one(neuron: Neuron) -> ScoreResult:
        try:
            return await score(neuron)
        except StoreError as error:
            return missed(neuron, error)

    def missed(neuron: Neuron, error: VlmscopeError | None) -> ScoreResult:
        if error is None:
            return ScoreResult(neuron, ScoreStatus.SKIPPED, reason="the run was stopped")
        return ScoreResult(neuron, ScoreStatus.FAILED, reason=plain(error.message))

    return await run_batch(neurons, one, missed, ends=(WorkerError, ApiError), on_result=on_result)
