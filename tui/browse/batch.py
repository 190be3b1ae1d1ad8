"""The same work on all picked neurons: its cost before, how far it is, the time that is left, and one stop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from vlmscope.core.base.batch import run_batch
from vlmscope.core.base.errors import ApiError, BudgetReached, Cancelled, NotebookError, StopRun, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.scoring.judge_report import JudgeMethod
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.check import CheckControl
from vlmscope.tui.browse.explain import ExplainControl
from vlmscope.tui.browse.running import STOP_KEY
from vlmscope.tui.browse.score import ScoreControl
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import AskChoice, AskConfirm, Notice, Post, Repaint

ENDS = (StopRun, BudgetReached, Cancelled, NotebookError)  #: after these no further neuron would succeed
_NAMED = 3  # failures whose reasons are in the message


@dataclass(eq=False)
class BatchControl:
    """One run at a time."""

    session: Session
    post: Post
    tasks: Tasks
    explain_control: ExplainControl
    score_control: ScoreControl
    check_control: CheckControl
    _task: asyncio.Task[None] | None = None
    _doing: str = ""
    _done: int = 0
    _of: int = 0

    # -- what is done --------------------------------------------------------------------------------------------

    def explain(self, neurons: Sequence[Neuron]) -> None:
        """Explain those that the model of the settings has not explained yet; first its cost is shown.

        Raises:
            VlmscopeError: if no request is possible.
        """
        self._check_free()
        self.explain_control.check_key()
        self.tasks.run_task(self._offer_explaining(neurons))

    async def _offer_explaining(self, neurons: Sequence[Neuron]) -> None:
        from vlmscope.core.explain.prompt import estimate
        from vlmscope.core.llm.budget import CostOffer, total

        control = self.explain_control
        settings = control.api.settings
        evidence, known = await control.evidence_of(neurons)
        if not evidence:
            raise ApiError(f"{settings.model[:40]} has explained all of these neurons already.", "e shows them.")
        offer = CostOffer(total(estimate(item, settings) for item in evidence.values()), settings)

        async def one(neuron: Neuron) -> None:
            await control.explain_one(evidence[neuron], again=False, quiet=True)

        lines = [
            f"Send the top samples of {_neurons(len(evidence))}, one request each,",
            *offer.lines(),
            *([f"Explained already: {known:,} of these {len(neurons):,}."] if known else []),
            *(["The run may end before all are explained."] if offer.exceeds_budget else []),
        ]

        def agreed() -> None:
            control.running.agreed = True
            self._begin("explaining", list(evidence), one, settings.requests_at_once)

        self.post(AskConfirm(f"explain {_neurons(len(evidence))}", lines, agreed))

    def score(self, neurons: Sequence[Neuron]) -> AskChoice:
        """Score each one's leading explanation, or its concept words; first the simulator or the judge is asked for.

        Raises:
            ApiError: if another run is not finished.
        """
        from vlmscope.core.scoring.simulators.registry import BACKENDS

        self._check_free()
        names, choices = self.score_control.choices(neurons)

        def chosen(letter: str) -> None:
            name = names[letter]
            run = self._simulate(neurons, name) if name in BACKENDS else self._judge(neurons, JudgeMethod(name))
            self.tasks.run_task(run)

        return AskChoice(f"score {_neurons(len(neurons))} by", choices, chosen)

    async def _simulate(self, neurons: Sequence[Neuron], backend: str) -> None:
        """Score by a simulator, after a yes where that costs money."""
        from vlmscope.core.scoring.simulators.api_text import ApiText

        control = self.score_control

        async def one(neuron: Neuron) -> None:
            await control.score_one(neuron, backend, None, None)

        lines = await control.cost_lines(neurons) if backend == ApiText.name else []
        self._begin_scoring(neurons, lines, lambda: self._begin(f"scoring by {backend}", neurons, one))

    async def _judge(self, neurons: Sequence[Neuron], method: JudgeMethod) -> None:
        """Score by a judge, after a yes to what it costs; where it would answer nothing, the reasons come at once."""
        judges = self.score_control.judges

        async def one(neuron: Neuron) -> None:
            await judges.judge_one(neuron, method, None)

        # A judge that does not see pictures, and a server without an answer, would cost again for each neuron.
        ends = (*ENDS, ApiError)
        lines = await judges.cost_lines(neurons, method)
        self._begin_scoring(neurons, lines, lambda: self._begin(f"judging by {method}", neurons, one, ends=ends))

    def _begin_scoring(self, neurons: Sequence[Neuron], lines: Sequence[str], begin: Callable[[], None]) -> None:
        """Begin, after a yes to ``lines`` if there are any."""
        if not lines:
            begin()
            return

        def agreed() -> None:
            self.score_control.running.agreed = True
            begin()

        self.post(AskConfirm(f"score {_neurons(len(neurons))}", lines, agreed))

    def check(self, neurons: Sequence[Neuron]) -> AskConfirm:
        """Check each neuron's effect on its leading concept.

        Raises:
            VlmscopeError: if no check is possible, or another run is not finished.
        """
        from vlmscope.core.causal.trained import check_trained
        from vlmscope.core.notebook.check import CheckSettings

        self._check_free()
        check_trained(self.session.store)
        settings = CheckSettings()
        lines = [
            f"Check {_neurons(len(neurons))}, each on its leading concept, against {settings.controls} matched neurons",
            f"on up to {settings.pictures} pictures. It costs no money; the model is loaded, and works for a while.",
        ]

        def agreed() -> None:
            self._begin("checking", neurons, self.check_control.check_one)

        return AskConfirm(f"check {_neurons(len(neurons))}", lines, agreed)

    # -- the run -------------------------------------------------------------------------------------------------

    def stop(self) -> list[str]:
        """Stop it; returns what that was."""
        if self._task is None:
            return []
        self._task.cancel()
        return [f"{self._doing} {_neurons(self._of)}, {self._done:,} done"]

    def _check_free(self) -> None:
        if self._task is not None:
            raise ApiError(f"{self._doing} {_neurons(self._of)} is not finished.", f"{STOP_KEY} stops it.")

    def _begin(
        self,
        doing: str,
        neurons: Sequence[Neuron],
        one: Callable[[Neuron], Awaitable[None]],
        at_once: int = 1,
        ends: tuple[type[VlmscopeError], ...] = ENDS,
    ) -> None:
        self._doing, self._done, self._of = doing, 0, len(neurons)
        self._task = self.tasks.run_task(self._run(neurons, one, at_once, ends))
        self._task.add_done_callback(lambda _: self._end())

    def _end(self) -> None:
        self._task = None
        self._show("")

    def _show(self, text: str) -> None:
        self.post(Repaint(incoming.set_batch(self.session, text, self.explain_control.api.spent)))

    async def _run(
        self,
        neurons: Sequence[Neuron],
        one: Callable[[Neuron], Awaitable[None]],
        at_once: int,
        ends: tuple[type[VlmscopeError], ...],
    ) -> None:
        began, failures = time.monotonic(), []
        self._show(progress_text(self._doing, 0, len(neurons), 0, 0.0))

        async def work(neuron: Neuron) -> str:
            try:
                await one(neuron)
            except ends:
                raise
            except VlmscopeError as error:
                return f"{neuron}: {error.message}"
            return ""

        def on_result(failure: str) -> None:
            self._done += 1
            failures.extend([failure] if failure else [])
            spent = time.monotonic() - began
            self._show(progress_text(self._doing, self._done, len(neurons), len(failures), spent))

        end = await run_batch(
            neurons, work, lambda neuron, _: f"{neuron}: not reached", ends=ends, at_once=at_once, on_result=on_result
        )
        if end.stopped is not None:
            raise end.stopped
        failed = f", {len(failures):,} failed: {'; '.join(failures[:_NAMED])}" if failures else ""
        more = " ..." if len(failures) > _NAMED else ""
        self.post(
            Notice(
                f"{self._doing}: {len(neurons) - len(failures):,} of {_neurons(len(neurons))} done{failed}{more}", None
            )
        )


def _neurons(count: int) -> str:
    return "1 neuron" if count == 1 else f"{count:,} neurons"


def progress_text(doing: str, done: int, of: int, failed: int, spent_s: float) -> str:
    """``explaining 3 of 12 · 1 failed · 2 min left``; the time is left out until one is done."""
    parts = [f"{doing} {done:,} of {of:,}"]
    if failed:
        parts.append(f"{failed:,} failed")
    if done and done < of:
        left = spent_s / done * (of - done)
        parts.append(f"{left:.0f} s left" if left < 90 else f"{left / 60:.0f} min left")
    return " · ".join(parts)
