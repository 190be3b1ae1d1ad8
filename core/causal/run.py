"""Check many neurons, each result kept as it comes, so that stopping loses nothing and the next run continues."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from vlmscope.core.base.batch import BatchEnd, run_batch
from vlmscope.core.base.errors import StoreError, UsageError, VlmscopeError, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.causal.check import DEFAULTS, check, check_settings, ends_run
from vlmscope.core.causal.words import default_word
from vlmscope.core.causal.written import WrittenSizes
from vlmscope.core.method.rank_test import q_values
from vlmscope.core.notebook.check import CausalCheck, CheckSettings
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane

NO_WORD = "it has no concept word to check"


class CheckStatus(StrEnum):
    """The outcome for one neuron."""

    CHECKED = "checked"
    KNOWN = "known"  #: the notebook had the check already
    FAILED = "failed"
    SKIPPED = "skipped"  #: no word, no picture with it, or not reached


@dataclass(frozen=True)
class CheckResult:
    """One neuron of a run.

    Attributes:
        check: None where nothing was checked.
        reason: why; else empty.
        q: the false discovery rate over the run's neurons that have a p; None for one without.
    """

    neuron: Neuron
    status: CheckStatus
    word: str = ""
    check: CausalCheck | None = None
    reason: str = ""
    q: float | None = None


def known_check(notebook: Notebook, neuron: Neuron, word: str, settings: CheckSettings) -> CausalCheck | None:
    """The newest check of this word on top samples, with the same settings, that the notebook has.

    Raises:
        NotebookError: if it cannot be read.
    """
    for saved in notebook.checks(neuron):
        found = saved.check
        own = any(picture.sample is None for picture in found.pictures)
        if (found.word, found.settings) == (word, settings) and not own:
            return found
    return None


async def run(
    neurons: Sequence[Neuron],
    store: ScanStore,
    model: Asks,
    notebook: Notebook,
    settings: CheckSettings = DEFAULTS,
    *,
    word: str = "",
    again: bool = False,
    on_result: Callable[[CheckResult], None] = lambda _: None,
    on_step: Callable[[int, int], None] = lambda _done, _of: None,
) -> BatchEnd[CheckResult]:
    """Check each neuron, one after the other, on its own top samples.

    If the run ends early (the model process has gone or was stopped, the task is cancelled), the neuron in work is
    lost; all finished ones are in the notebook.

    Args:
        word: for all neurons; empty for each one's leading concept.
        again: check what has such a check in the notebook, too.
        on_result: called for each result as it comes, which has no ``q`` yet.
        on_step: called with the number of finished steps of a neuron, and of all.

    Raises:
        UsageError: if the settings contradict each other.
        NotebookError: if ``notebook`` cannot be read or written.
    """
    check_settings(store, settings)
    sizes = WrittenSizes(model, Lane.BACKGROUND)

    async def one(neuron: Neuron) -> CheckResult:
        asked = word or default_word(store.concepts, [neuron])
        if not asked:
            return CheckResult(neuron, CheckStatus.SKIPPED, reason=NO_WORD)
        known = None if again else known_check(notebook, neuron, asked, settings)
        if known is not None:
            return CheckResult(neuron, CheckStatus.KNOWN, asked, known)
        try:
            found = await check(store, model, [neuron], asked, settings, sizes=sizes, on_step=on_step)
        except UsageError as error:
            return CheckResult(neuron, CheckStatus.SKIPPED, asked, reason=plain(error.message))
        except StoreError as error:
            return CheckResult(neuron, CheckStatus.FAILED, asked, reason=plain(error.message))
        except WorkerError as error:
            if ends_run(model, error):
                raise
            return CheckResult(neuron, CheckStatus.FAILED, asked, reason=plain(error.message))
        notebook.add_check(found)
        return CheckResult(neuron, CheckStatus.CHECKED, asked, found)

    def missed(neuron: Neuron, error: VlmscopeError | None) -> CheckResult:
        if error is None:
            return CheckResult(neuron, CheckStatus.SKIPPED, word, reason="the run was stopped")
        return CheckResult(neuron, CheckStatus.FAILED, word, reason=plain(error.message))

    end = await run_batch(neurons, one, missed, ends=(WorkerError,), on_result=on_result)
    found = q_values([None if result.check is None else result.check.p for result in end.results])
    return replace(end, results=tuple(replace(one, q=q) for one, q in zip(end.results, found, strict=True)))
