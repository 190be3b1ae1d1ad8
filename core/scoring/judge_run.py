"""Judge the explanations of many neurons, each result kept as it comes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmscope.core.base.batch import BatchEnd, run_batch
from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import ApiError, StoreError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.llm.budget import Estimate, estimate_request, total
from vlmscope.core.method.labels import Labels
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.judge import Judge, detect
from vlmscope.core.scoring.judge_prompt import PROMPT_VERSION, estimate_detection, has_images, sight_request
from vlmscope.core.scoring.judge_report import JudgeMethod, JudgeReport, read_report
from vlmscope.core.scoring.judge_samples import detection_samples, too_few
from vlmscope.core.scoring.run import (
    NO_PATTERN,
    NOTHING_SAID,
    ScoreStatus,
    keep_score,
    known_scores,
    pick_explanation,
)
from vlmscope.core.store.reader import ScanStore


@dataclass(frozen=True)
class JudgeResult:
    """One neuron of a run; fields as in ``ScoreResult``."""

    neuron: Neuron
    status: ScoreStatus
    explanation: Explanation | None = None
    report: JudgeReport | None = None
    reason: str = ""


def known_judgement(
    notebook: Notebook, neuron: Neuron, explanation: Explanation, method: JudgeMethod, model: str
) -> JudgeReport | None:
    """The newest judgement of this explanation by this model that the notebook has, by the present prompt.

    Raises:
        NotebookError: if it cannot be read.
    """
    for saved in known_scores(notebook, neuron, explanation, f"{method.backend}{model}"):
        report = read_report(saved.body)
        if isinstance(report, JudgeReport) and report.prompt_version == PROMPT_VERSION:
            return report
    return None


def estimate_judging(
    neurons: Sequence[Neuron],
    store: ScanStore,
    labels: Labels,
    notebook: Notebook,
    settings: Api,
    *,
    wanted: Explanation | None,
    again: bool,
) -> Estimate:
    """What judging costs at most, if none of it is in the cache; with the request that shows whether it sees pictures.

    Raises:
        StoreError: if the scan has no panel, or is damaged.
        NotebookError: if the notebook cannot be read.
    """
    costs, sight = [], False
    for neuron in neurons:
        said = pick_explanation(store, notebook, neuron, wanted)
        if said is None or not said.pattern_found:
            continue
        if not again and known_judgement(notebook, neuron, said, JudgeMethod.DETECTION, settings.model):
            continue
        label = labels.of(neuron)
        samples = detection_samples(store, neuron, label, said.samples)
        if too_few(samples):
            continue
        sight = sight or has_images(label)
        costs += [estimate_detection(store, label, said, one.sample, settings) for one in samples]
    return total([*costs, *([estimate_request(sight_request(settings), settings)] if sight else [])])


async def run_judge(
    neurons: Sequence[Neuron],
    store: ScanStore,
    labels: Labels,
    judge: Judge,
    notebook: Notebook,
    *,
    wanted: Explanation | None = None,
    again: bool = False,
    on_result: Callable[[JudgeResult], None] = lambda _: None,
    on_sample: Callable[[int, int], None] = lambda _done, _of: None,
) -> BatchEnd[JudgeResult]:
    """Judge the explanation of each neuron, one after the other.

    If the run ends early (the budget, the quota, a judge that sees no pictures), the neuron in work has no score; its
    answers are in the cache, and the same run again continues there.

    Args:
        wanted: words to judge on every neuron, in place of its own explanation.
        again: judge explanations that have such a score in the notebook, too.
        on_sample: called with the number of finished samples of a neuron, and of all.

    Raises:
        NotebookError: if ``notebook`` cannot be read or written.
    """
    seen = False

    async def score(neuron: Neuron) -> JudgeResult:
        nonlocal seen
        explanation = pick_explanation(store, notebook, neuron, wanted)
        if explanation is None:
            return JudgeResult(neuron, ScoreStatus.SKIPPED, reason=NOTHING_SAID)
        if not explanation.pattern_found:
            return JudgeResult(neuron, ScoreStatus.SKIPPED, explanation, reason=NO_PATTERN)
        model = judge.chat.settings.model
        known = None if again else known_judgement(notebook, neuron, explanation, JudgeMethod.DETECTION, model)
        if known is not None:
            return JudgeResult(neuron, ScoreStatus.KNOWN, explanation, known)
        label = labels.of(neuron)
        samples = detection_samples(store, neuron, label, explanation.samples)
        if reason := too_few(samples):
            return JudgeResult(neuron, ScoreStatus.FAILED, explanation, reason=reason)
        if has_images(label) and not seen:
            await judge.check_sight()
            seen = True
        report = await detect(store, neuron, label, explanation, samples, judge, on_sample=on_sample)
        if not report.samples:
            reasons = list(dict.fromkeys(failure.reason for failure in report.failures))
            return JudgeResult(neuron, ScoreStatus.FAILED, explanation, reason="; ".join(reasons[:3]))
        keep_score(notebook, neuron, explanation, report)
        return JudgeResult(neuron, ScoreStatus.SCORED, explanation, report)

    async def one(neuron: Neuron) -> JudgeResult:
        try:
            return await score(neuron)
        except StoreError as error:
            return missed(neuron, error)

    def missed(neuron: Neuron, error: VlmscopeError | None) -> JudgeResult:
        if error is None:
            return JudgeResult(neuron, ScoreStatus.SKIPPED, reason="the run was stopped")
        return JudgeResult(neuron, ScoreStatus.FAILED, reason=plain(error.message))

    return await run_batch(neurons, one, missed, ends=(ApiError,), on_result=on_result)
