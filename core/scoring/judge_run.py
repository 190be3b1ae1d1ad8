"""Judge the explanations of many neurons, each result kept as it comes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmscope.core.base.batch import BatchEnd, run_batch
from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import ApiError, StoreError, VlmscopeError, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.llm.budget import Estimate, estimate_request, total
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.fuzzing import fuzzing_samples
from vlmscope.core.scoring.intruder import intruder_rounds, too_few_rounds
from vlmscope.core.scoring.intruder_prompt import estimate_intruder
from vlmscope.core.scoring.judge import Judge
from vlmscope.core.scoring.judge_one import judge_one, keep_judgement
from vlmscope.core.scoring.judge_prompt import (
    PROMPT_VERSION,
    estimate_detection,
    estimate_fuzzing,
    has_images,
    sight_request,
)
from vlmscope.core.scoring.judge_report import JudgeMethod, JudgeReport, read_report
from vlmscope.core.scoring.judge_samples import detection_samples, too_few
from vlmscope.core.scoring.run import (
    NO_PATTERN,
    NOTHING_SAID,
    ScoreStatus,
    known_scores,
    pick_explanation,
)
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks


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


def known_intruder(notebook: Notebook, neuron: Neuron, model: str) -> JudgeReport | None:
    """The newest score by intruder of this model that the notebook has, by the present prompt.

    Raises:
        NotebookError: if it cannot be read.
    """
    for saved in notebook.own_scores(neuron):
        report = read_report(saved.body) if saved.backend == f"{JudgeMethod.INTRUDER.backend}{model}" else None
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
    method: JudgeMethod = JudgeMethod.DETECTION,
    wanted: Explanation | None,
    again: bool,
) -> Estimate:
    """What judging costs at most, if none of it is in the cache; with the request that shows whether it sees pictures.

    Raises:
        StoreError: if detection finds no panel, or the scan is damaged.
        NotebookError: if the notebook cannot be read.
    """
    costs, sight = [], False
    for neuron in neurons:
        if method is JudgeMethod.INTRUDER:
            rounds = intruder_rounds(store, neuron, labels.of(neuron))
            if (again or not known_intruder(notebook, neuron, settings.model)) and not too_few_rounds(rounds):
                sight = sight or has_images(labels.of(neuron))
                costs += [estimate_intruder(store, labels.of(neuron), one.samples, settings) for one in rounds]
            continue
        said = pick_explanation(store, notebook, neuron, wanted)
        if said is None or not said.pattern_found:
            continue
        if not again and known_judgement(notebook, neuron, said, method, settings.model):
            continue
        label = labels.of(neuron)
        if method is JudgeMethod.FUZZING:
            if label is not Label.TEXT:
                sight = True
                costs += [estimate_fuzzing(said, settings)] * (2 * len(fuzzing_samples(store, neuron, said.samples)))
            continue
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
    method: JudgeMethod = JudgeMethod.DETECTION,
    model: Asks | None = None,
    wanted: Explanation | None = None,
    again: bool = False,
    on_result: Callable[[JudgeResult], None] = lambda _: None,
    on_sample: Callable[[int, int], None] = lambda _done, _of: None,
) -> BatchEnd[JudgeResult]:
    """Judge the explanation of each neuron, one after the other.

    If the run ends early (the budget, the quota, a judge that sees no pictures), the neuron in work has no score; its
    answers are in the cache, and the same run again continues there.

    Args:
        model: computes the maps whose patches fuzzing marks.
        wanted: words to judge on every neuron, in place of its own explanation.
        again: judge explanations that have such a score in the notebook, too.
        on_sample: called with the number of finished samples of a neuron, and of all.

    Raises:
        NotebookError: if ``notebook`` cannot be read or written.
    """
    name = judge.chat.settings.model

    async def score(neuron: Neuron) -> JudgeResult:
        explanation: Explanation | None = None
        if method is JudgeMethod.INTRUDER:
            known = None if again else known_intruder(notebook, neuron, name)
        else:
            explanation = pick_explanation(store, notebook, neuron, wanted)
            if explanation is None or not explanation.pattern_found:
                reason = NOTHING_SAID if explanation is None else NO_PATTERN
                return JudgeResult(neuron, ScoreStatus.SKIPPED, explanation, reason=reason)
            known = None if again else known_judgement(notebook, neuron, explanation, method, name)
        if known is not None:
            return JudgeResult(neuron, ScoreStatus.KNOWN, explanation, known)
        label = labels.of(neuron)
        found = await judge_one(store, neuron, label, explanation, method, judge, model=model, on_sample=on_sample)
        if isinstance(found, str):
            return JudgeResult(neuron, ScoreStatus.FAILED, explanation, reason=found)
        keep_judgement(notebook, neuron, explanation, found)
        return JudgeResult(neuron, ScoreStatus.SCORED, explanation, found)

    async def one(neuron: Neuron) -> JudgeResult:
        try:
            return await score(neuron)
        except StoreError as error:
            return missed(neuron, error)

    def missed(neuron: Neuron, error: VlmscopeError | None) -> JudgeResult:
        if error is None:
            return JudgeResult(neuron, ScoreStatus.SKIPPED, reason="the run was stopped")
        return JudgeResult(neuron, ScoreStatus.FAILED, reason=plain(error.message))

    return await run_batch(neurons, one, missed, ends=(ApiError, WorkerError), on_result=on_result)
