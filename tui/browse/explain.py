"""Explanations: asked for by a key, paid for only after a yes, never waited for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import ApiError, VlmscopeError
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.store.original import UNCHECKED
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.api_link import ApiLink
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.running import STOP_KEY, Running
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import AskConfirm, Notice, Post, Repaint

if TYPE_CHECKING:
    from vlmscope.core.explain.evidence import Evidence
    from vlmscope.core.llm.budget import Estimate
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Entry


@dataclass(eq=False)
class ExplainControl:
    """Requests to the API and its answers."""

    running: Running
    session: Session
    post: Post
    notebook: NotebookLink
    model: ModelLink
    api: ApiLink

    def explain(self) -> AskConfirm | None:
        """Ask what the page's neuron responds to; returns a question before the first request that may cost.

        Raises:
            VlmscopeError: if no request is possible.
        """
        from vlmscope.core.explain.evidence import gather
        from vlmscope.core.explain.prompt import estimate
        from vlmscope.core.explain.silent import contrast_problem
        from vlmscope.core.llm.access import key_problem

        session, neuron, settings = self.session, self.session.state.neuron, self.api.settings
        if neuron in self.running.at:
            self.post(Notice(f"{neuron} is being explained already; {STOP_KEY} stops it."))
            return None
        problem = key_problem(settings)
        if problem:
            raise ApiError(problem, "Concepts need neither: the page shows them, and / searches them.")
        labels = session.scene.columns.labels
        lacking = contrast_problem(session.store) if settings.contrast else None
        silent = settings.contrast_samples if settings.contrast and lacking is None else 0
        label = Label(int(labels.label[neuron.layer, neuron.index]))
        evidence = gather(session.store, neuron, label, silent, labels.thresholds)
        if not evidence.samples:
            raise ApiError(f"{neuron} has no top samples: there is nothing to explain it from.")
        cost = estimate(evidence, settings)
        self.api.ledger.check(cost)
        again = self._has_explained(evidence)
        if self.running.agreed and not again:
            self._begin(evidence, again=False)
            return None

        def agreed() -> None:
            self.running.agreed = True
            self._begin(evidence, again=again)

        return AskConfirm(f"explain {neuron}", self._offer(evidence, cost, lacking, again=again), agreed)

    def _has_explained(self, evidence: "Evidence") -> bool:
        """Whether the model of the settings has explained it already, with the present prompt and silent samples."""
        from vlmscope.core.explain.run import is_by

        entry = self.session.scene.entry
        if entry is None or entry.neuron != evidence.neuron:
            return False
        return any(is_by(saved.explanation, self.api.settings.model, evidence) for saved in entry.explanations)

    def _offer(
        self, evidence: "Evidence", cost: "Estimate", lacking: VlmscopeError | None, *, again: bool
    ) -> list[str]:
        from vlmscope.core.llm.budget import CostOffer

        settings = self.api.settings
        loads = evidence.wants_model and not self.model.needs_consent
        silent = f" and {len(evidence.silent)} on which it is silent" if evidence.silent else ""
        pictures = f"{cost.images} pictures and their descriptions" if cost.images else "descriptions alone"
        return [
            *([f"{settings.model[:40]} has explained it already: this asks, and pays, again.", ""] if again else []),
            f"Send {len(evidence.samples)} of its top samples{silent} ({pictures})",
            *([f"No contrast: {plain(lacking.message, 200)}"] if lacking else []),
            *([f"{evidence.note[:1].upper()}{evidence.note[1:]}."] if evidence.note else []),
            *CostOffer(cost, settings).lines(),
            *(["The model is loaded first, for exact activations."] if loads else []),
        ]

    def _begin(self, evidence: "Evidence", *, again: bool) -> None:
        words = "gathering exact activations" if evidence.wants_model else "getting ready"
        self.running.begin(evidence.neuron, words, self._explain(evidence, again=again))

    async def _explain(self, evidence: "Evidence", *, again: bool) -> None:
        """One explanation from beginning to end; it is in the notebook before it is on the screen."""
        from vlmscope.core.explain.evidence import complete
        from vlmscope.core.explain.explain import explain

        neuron, session = evidence.neuron, self.session
        whole = await complete(evidence, session.store, self.model if evidence.wants_model else None)
        self.running.show(neuron, f"asking {self.api.settings.model[:40]}")
        answered = await explain(whole, await self.api.connect(), self.api.ledger, again=again)
        outcome = answered.outcome

        def keep(notebook: "Notebook") -> "Entry":
            if isinstance(outcome, Explanation):
                notebook.add_explanation(neuron, outcome)
            else:
                notebook.add_failure(neuron, outcome)
            return notebook.entry(neuron)

        entry = await self.notebook.write(keep)
        if whole.note:
            waits = UNCHECKED in whole.note or (evidence.wants_model and self.model.needs_consent)
            how = f" ({self.model.allow_key} allows it)" if waits else ""
            self.post(Notice(f"{whole.note}{how}", None, severity="warning"))
        self.post(Repaint(incoming.take_entry(session, entry)))
        what = "is explained" if isinstance(outcome, Explanation) else "could not be explained"
        self.post(Notice(f"{neuron} {what}."))
