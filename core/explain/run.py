"""Explain many neurons: several requests at once, each result kept as it comes, so that stopping loses nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vlmscope.core.base.batch import BatchEnd, run_batch
from vlmscope.core.base.errors import ApiError, BudgetReached, Cancelled, StopRun, StoreError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.explain.evidence import Evidence, complete
from vlmscope.core.explain.explain import Answered, explain
from vlmscope.core.explain.prompt import prompt_version
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.prices import undated
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation, Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks

ENDS = (StopRun, BudgetReached, Cancelled)  #: what ends a run: no further request would succeed


class ExplainStatus(StrEnum):
    """The outcome for one neuron."""

    EXPLAINED = "explained"
    CACHED = "cached"  #: answered by an earlier request; nothing was paid
    REFUSED = "refused"
    FAILED = "failed"
    SKIPPED = "skipped"  #: explained already, or not reached


@dataclass(frozen=True)
class ExplainResult:
    """One neuron of a run.

    Attributes:
        explanation: the new one; of a skipped neuron the one that the notebook has.
        reason: why there is no explanation, or why it was skipped; else empty.
        input_tokens, output_tokens, cost_usd: of this run; None where the price is not known.
        note: what the evidence lacked; else empty.
    """

    neuron: Neuron
    label: Label
    status: ExplainStatus
    explanation: Explanation | None = None
    reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    note: str = ""


def known_explanation(notebook: Notebook, evidence: Evidence, model: str) -> Explanation | None:
    """The explanation that the notebook has of this model (or a snapshot of it) and the present prompt, if any."""
    found = (saved.explanation for saved in notebook.explanations(evidence.neuron))
    return next((explanation for explanation in found if is_by(explanation, model, evidence)), None)


def is_by(explanation: Explanation, model: str, evidence: Evidence) -> bool:
    """Whether this model, or a snapshot of it, wrote an explanation with the present prompt and silent samples."""
    silent = tuple(one.sample.index for one in evidence.silent)
    return (
        explanation.source is Source.API
        and explanation.prompt_version == prompt_version(evidence)
        and (not silent or explanation.samples[-len(silent) :] == silent)
        and model in (explanation.model, undated(explanation.model))
    )


async def run(
    evidence: Sequence[Evidence],
    store: ScanStore,
    chat: Chat,
    ledger: Ledger,
    notebook: Notebook | None,
    *,
    model: Asks | None,
    at_once: int,
    again: bool = False,
    on_result: Callable[[ExplainResult], None] = lambda _: None,
) -> BatchEnd[ExplainResult]:
    """Explain each neuron of ``evidence`` (``gather``ed, not yet complete).

    An error that ends the run (the key, the quota, the budget, the model stopped by its user) lets pending requests
    finish; their results are kept. If the task is cancelled, they are dropped, and all finished ones are kept.

    Args:
        model: computes exact maps; None leaves the scan's own.
        notebook: takes each result as it comes; None keeps none.
        at_once: requests that are pending at the same time.
        again: ask, and pay, for neurons that were explained already, too.

    Raises:
        NotebookError: if ``notebook`` cannot be written.
    """

    async def one(item: Evidence) -> ExplainResult:
        known = None if again or notebook is None else known_explanation(notebook, item, chat.settings.model)
        if known is not None:
            return ExplainResult(item.neuron, item.label, ExplainStatus.SKIPPED, known, "explained already")
        try:
            whole = await complete(item, store, model)
            answered = await explain(whole, chat, ledger, again=again)
        except ENDS:
            raise
        except (ApiError, StoreError) as error:  # nothing was sent
            return ExplainResult(item.neuron, item.label, ExplainStatus.FAILED, reason=str(error))
        if notebook is not None:
            if isinstance(answered.outcome, Explanation):
                notebook.add_explanation(item.neuron, answered.outcome)
            else:
                notebook.add_failure(item.neuron, answered.outcome)
        return _result(whole, answered)

    def missed(item: Evidence, _: VlmscopeError | None) -> ExplainResult:
        return ExplainResult(item.neuron, item.label, ExplainStatus.SKIPPED, reason="the run was stopped")

    return await run_batch(evidence, one, missed, ends=ENDS, at_once=at_once, on_result=on_result)


def _result(item: Evidence, answered: Answered) -> ExplainResult:
    outcome = answered.outcome
    rest = (outcome.input_tokens, outcome.output_tokens, outcome.cost_usd, item.note)
    if isinstance(outcome, FailedExplanation):
        status = ExplainStatus.REFUSED if outcome.refused else ExplainStatus.FAILED
        return ExplainResult(item.neuron, item.label, status, None, outcome.reason, *rest)
    status = ExplainStatus.CACHED if answered.cached else ExplainStatus.EXPLAINED
    return ExplainResult(item.neuron, item.label, status, outcome, "", *rest)
