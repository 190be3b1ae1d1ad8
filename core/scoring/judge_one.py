"""Judge one neuron by any method, from its samples to its report."""

from collections.abc import Callable

from vlmscope.core.base.clock import now
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.scoring.fuzzing import TEXT_NEURON, Marked, fuzzing_samples, marked
from vlmscope.core.scoring.intruder import intruder_rounds, judge_rounds, too_few_rounds
from vlmscope.core.scoring.judge import Judge, judge_questions
from vlmscope.core.scoring.judge_prompt import has_images
from vlmscope.core.scoring.judge_report import JudgeMethod, JudgeReport
from vlmscope.core.scoring.judge_samples import Question, detection_samples, too_few
from vlmscope.core.scoring.run import keep_score
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks

REASONS = 3  #: why samples failed, that are named


async def judge_one(
    store: ScanStore,
    neuron: Neuron,
    label: Label,
    explanation: Explanation | None,
    method: JudgeMethod,
    judge: Judge,
    *,
    model: Asks | None = None,
    on_sample: Callable[[int, int], None] = lambda _done, _of: None,
) -> JudgeReport | str:
    """Judge a neuron; before the first picture the judge is asked whether it sees pictures, once for all neurons.

    Args:
        explanation: what is judged; intruder judges the neuron itself, without one.
        model: computes the maps whose patches fuzzing marks.
        on_sample: called with the number of finished samples, and of all.

    Returns:
        The report, or why there is none.

    Raises:
        ApiError, BudgetReached: if the judge sees no pictures, or no further request would be answered.
        StoreError: if the scan has no panel where one is needed, or is damaged.
        WorkerError: if the model process has gone.
    """
    if method is JudgeMethod.INTRUDER:
        rounds = intruder_rounds(store, neuron, label)
        if problem := too_few_rounds(rounds):
            return problem
        if has_images(label):
            await judge.check_sight()
        report = await judge_rounds(store, neuron, label, rounds, judge, on_sample=on_sample)
    else:
        assert explanation is not None
        made = await _questions(store, neuron, label, explanation, method, model)
        if isinstance(made, str):
            return made
        if has_images(label):
            await judge.check_sight()
        report = await judge_questions(
            store,
            neuron,
            label,
            explanation,
            method,
            made.questions,
            judge,
            failures=made.failures,
            planned=_planned(made),
            on_sample=on_sample,
        )
    if report.samples or report.rounds:
        return report
    return "; ".join(list(dict.fromkeys(failure.reason for failure in report.failures))[:REASONS])


def keep_judgement(notebook: Notebook, neuron: Neuron, explanation: Explanation | None, report: JudgeReport) -> None:
    """Write a judge's report into the notebook: of an explanation, or of the neuron itself.

    Raises:
        NotebookError: if it cannot be written.
    """
    if explanation is None:
        notebook.add_own_score(neuron, report.backend, report.to_json(), now())
    else:
        keep_score(notebook, neuron, explanation, report)


async def _questions(
    store: ScanStore,
    neuron: Neuron,
    label: Label,
    explanation: Explanation,
    method: JudgeMethod,
    model: Asks | None,
) -> Marked | str:
    if method is JudgeMethod.DETECTION:
        shown = detection_samples(store, neuron, label, explanation.samples)
        return too_few(shown) or Marked(tuple(map(Question, shown)), ())
    if label is Label.TEXT:
        return TEXT_NEURON
    assert model is not None
    return await marked(store, neuron, fuzzing_samples(store, neuron, explanation.samples), model)


def _planned(made: Marked) -> tuple[int, int]:
    """How many questions have yes and no for an answer; of what could not be made, half each."""
    yes, lost = sum(one.shown.activates for one in made.questions), len(made.failures) // 2
    return yes + lost, len(made.questions) - yes + lost
