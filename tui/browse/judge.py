"""Judges: a model behind an API judges neurons, after a yes to what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import ApiError, SamplesError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.scoring.judge_report import JudgeMethod
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.api_link import ApiLink
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.running import Running
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import AskConfirm, PageReady, Post, Repaint
from vlmscope.tui.views.score import place_of_newest
from vlmscope.tui.views.state import Mode, PlaceAskedAt, place_asked_at

if TYPE_CHECKING:
    from vlmscope.core.llm.budget import Estimate
    from vlmscope.core.notebook.explanation import Explanation
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Entry

MEANS = {
    JudgeMethod.DETECTION: "a judge: which samples activate it? (costs money)",
    JudgeMethod.FUZZING: "a judge: which patches are its own? (costs money)",
    JudgeMethod.INTRUDER: "a judge: which sample does not belong? (costs money)",
}


@dataclass(eq=False)
class JudgeControl:
    """Judges' scores: of one neuron at a time, or of each of a run over many."""

    running: Running
    session: Session
    post: Post
    notebook: NotebookLink
    model: ModelLink
    api: ApiLink

    def methods(self, neurons: Sequence[Neuron]) -> list[JudgeMethod]:
        """Those that can judge some of these neurons: two need a panel, fuzzing needs patches."""
        patches = any(self._label(neuron) is not Label.TEXT for neuron in neurons)
        panel = bool(self.session.store.manifest.panel_drawn)
        return [one for one in JudgeMethod if (patches if one is JudgeMethod.FUZZING else panel)]

    def score(self, neuron: Neuron, method: JudgeMethod) -> None:
        """Judge, after a yes."""
        if self.running.agreed:
            self._begin(neuron, method)
        else:
            self.running.tasks.run_task(self._offer(neuron, method))

    def _label(self, neuron: Neuron) -> Label:
        return self.session.scene.columns.labels.of(neuron)

    async def _offer(self, neuron: Neuron, method: JudgeMethod) -> None:
        """Ask for agreement, with what judging costs at most."""
        lines = await self.cost_lines([neuron], method)
        if not lines:
            self._begin(neuron, method)  # it ends with the reason why there is nothing to judge
            return

        def agreed() -> None:
            self.running.agreed = True
            self._begin(neuron, method)

        self.post(AskConfirm(f"score {neuron} by {method}", lines, agreed))

    async def cost_lines(self, neurons: Sequence[Neuron], method: JudgeMethod) -> list[str]:
        """What judging these neurons costs at most, for a question; nothing where no request would be sent.

        Raises:
            ApiError: if there is no key for the server.
            StoreError, NotebookError: if the scan or the notebook cannot be read.
        """
        from vlmscope.core.base.text import counted
        from vlmscope.core.llm.access import key_problem
        from vlmscope.core.llm.budget import CostOffer
        from vlmscope.core.scoring.judge_run import estimate_judging

        store, api, labels = self.session.store, self.api.settings, self.session.scene.columns.labels
        problem = key_problem(api)
        if problem:
            raise ApiError(problem, "The backend lens needs no server.")

        def estimate(notebook: "Notebook") -> "Estimate":
            return estimate_judging(neurons, store, labels, notebook, api, method=method, wanted=None, again=True)

        cost = await self.notebook.write(estimate)
        if not cost.requests:
            return []
        what = f"Send {counted(cost.requests, 'request')} with {counted(cost.images, 'picture')},"
        return [what, *CostOffer(cost, api).lines()]

    def _begin(self, neuron: Neuron, method: JudgeMethod) -> None:
        asked_at = place_asked_at(replace(self.session.state, neuron=neuron))
        self.running.begin(neuron, f"judging by {method}", self.judge_one(neuron, method, asked_at))

    async def judge_one(self, neuron: Neuron, method: JudgeMethod, asked_at: PlaceAskedAt | None) -> None:
        """Judge a neuron from beginning to end. ``asked_at``: None of a run over many, which posts no message."""
        from vlmscope.core.scoring.judge import Judge
        from vlmscope.core.scoring.judge_one import judge_one, keep_judgement
        from vlmscope.core.scoring.run import NOTHING_SAID, pick_explanation

        store = self.session.store

        def pick(notebook: "Notebook") -> "Explanation | None":
            return None if method is JudgeMethod.INTRUDER else pick_explanation(store, notebook, neuron)

        said = await self.notebook.write(pick)
        if method is not JudgeMethod.INTRUDER and (said is None or not said.pattern_found):
            raise UsageError(
                f"{neuron} cannot be scored: {NOTHING_SAID if said is None else 'no pattern was found'}.",
                "Explain it first, or write your own words: :words red trains.",
            )

        def progress(done: int, of: int) -> None:
            if asked_at is not None:
                self.running.show(neuron, f"judging by {method}: {done} of {of}")

        judge = Judge(await self.api.connect(), self.api.ledger)
        report = await judge_one(
            store, neuron, self._label(neuron), said, method, judge, model=self.model, on_sample=progress
        )
        if isinstance(report, str):
            raise SamplesError(f"{neuron} cannot be scored by {method}: {report}.", "Nothing was scored.")

        def keep(notebook: "Notebook") -> "Entry":
            keep_judgement(notebook, neuron, said, report)
            return notebook.entry(neuron)

        entry = await self.notebook.write(keep)
        self.post(Repaint(incoming.take_entry(self.session, entry)))
        if asked_at is not None:
            self.post(PageReady(f"{neuron} is scored by {method}.", asked_at, Mode.SCORE, place_of_newest(entry)))
