"""Explain many neurons: several requests at once, each result kept as it comes, so that stopping loses nothing."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vlmscope.core.base.errors import ApiError, BudgetReached, Cancelled, StopRun, StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.explain.cache import ExplainCache
from vlmscope.core.explain.evidence import Evidence, complete
from vlmscope.core.explain.explain import explain
from vlmscope.core.explain.prompt import PROMPT_VERSION
from vlmscope.core.llm.budget import Ledger
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.prices import undated
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation, Source
from vlmscope.core.notebook.values import SavedExplanation
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks


class Records(Protocol):
    """Where results are kept: ``vlmscope.core.notebook.notebook.Notebook``."""

    def explanations(self, neuron: Neuron) -> tuple[SavedExplanation, ...]: ...
    def add_explanation(self, neuron: Neuron, explanation: Explanation) -> int: ...
    def add_failure(self, neuron: Neuron, failure: FailedExplanation) -> None: ...


class Status(StrEnum):
    """What came of one neuron."""

    EXPLAINED = "explained"
    CACHED = "cached"  #: answered by an earlier request; nothing was paid
    REFUSED = "refused"
    FAILED = "failed"
    SKIPPED = "skipped"  #: explained already, or not reached


@dataclass(frozen=True)
class Result:
    """One neuron of a run.

    Attributes:
        explanation: the new one; of a skipped neuron the one that the notebook has.
        reason: why there is no explanation, or why it was skipped; else empty.
        input_tokens, output_tokens, cost_usd: of this run; None where the price is not known.
        warning: about the model, once in a run; else empty.
        note: what the evidence lacked; else empty.
    """

    neuron: Neuron
    label: Label
    status: Status
    explanation: Explanation | None = None
    reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    warning: str = ""
    note: str = ""


@dataclass(frozen=True)
class RunEnd:
    """A run's results, in the order that was asked for, and why it ended early, if it did."""

    results: tuple[Result, ...]
    stopped: ApiError | Cancelled | None = None


def known_explanation(records: Records, neuron: Neuron, model: str) -> Explanation | None:
    """The explanation that the notebook has of this model (or a snapshot of it) and the present prompt, if any."""
    return next((saved.explanation for saved in records.explanations(neuron) if is_by(saved.explanation, model)), None)


def is_by(explanation: Explanation, model: str) -> bool:
    """Whether this model, or a snapshot of it, wrote an explanation with the present prompt."""
    return (
        explanation.source is Source.API
        and explanation.prompt_version == PROMPT_VERSION
        and model in (explanation.model, undated(explanation.model))
    )


async def run(
    evidence: Sequence[Evidence],
    store: ScanStore,
    chat: Chat,
    cache: ExplainCache,
    ledger: Ledger,
    records: Records | None,
    *,
    model: Asks | None,
    at_once: int,
    again: bool = False,
    on_result: Callable[[Result], None] = lambda _: None,
) -> RunEnd:
    """Explain each neuron of ``evidence`` (``gather``ed, not yet complete).

    What ends the run (the key, the quota, the budget, the model stopped by its user) lets requests in the air finish;
    their results are kept. If the task is cancelled, they are dropped, and all finished ones are kept.

    Args:
        model: computes exact maps; None leaves the scan's own.
        records: where results go as they come; None keeps none.
        at_once: requests in the air at the same time.
        again: ask, and pay, for neurons that were explained already, too.
        on_result: called for each result as it comes.

    Raises:
        NotebookError: if ``records`` cannot be written.
    """
    results: dict[int, Result] = {}
    waiting = iter(enumerate(evidence))
    stopped: list[ApiError | Cancelled] = []

    async def one(item: Evidence) -> Result:
        known = None if again or records is None else known_explanation(records, item.neuron, chat.settings.model)
        if known is not None:
            return Result(item.neuron, item.label, Status.SKIPPED, known, "explained already")
        try:
            whole = await complete(item, store, model)
            answered = await explain(whole, chat, cache, ledger, again=again)
        except (StopRun, BudgetReached):
            raise
        except (ApiError, StoreError) as error:  # nothing was sent
            return Result(item.neuron, item.label, Status.FAILED, reason=str(error))
        if records is not None:
            if isinstance(answered.outcome, Explanation):
                records.add_explanation(item.neuron, answered.outcome)
            else:
                records.add_failure(item.neuron, answered.outcome)
        return _result(whole, answered.outcome, answered.cached, answered.warning)

    async def work() -> None:
        for at, item in waiting:
            if stopped:
                return
            try:
                results[at] = await one(item)
            except (StopRun, BudgetReached, Cancelled) as error:
                stopped.append(error)
                return
            on_result(results[at])

    tasks = [asyncio.create_task(work()) for _ in range(min(at_once, len(evidence)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    missed = [
        results.get(at) or Result(item.neuron, item.label, Status.SKIPPED, reason="the run was stopped")
        for at, item in enumerate(evidence)
    ]
    return RunEnd(tuple(missed), stopped[0] if stopped else None)


def _result(item: Evidence, outcome: Explanation | FailedExplanation, cached: bool, warning: str) -> Result:
    if isinstance(outcome, Explanation):
        status, explanation, reason = Status.CACHED if cached else Status.EXPLAINED, outcome, ""
    else:
        status, explanation, reason = Status.REFUSED if outcome.refused else Status.FAILED, None, outcome.reason
    return Result(
        neuron=item.neuron,
        label=item.label,
        status=status,
        explanation=explanation,
        reason=reason,
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        cost_usd=outcome.cost_usd,
        warning=warning,
        note=item.note,
    )
