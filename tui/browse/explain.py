"""Explanations: asked for by a key, paid for only after a yes, never waited for."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import ApiError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
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
        from vlmscope.core.explain.prompt import estimate
        from vlmscope.core.explain.silent import contrast_problem

        session, neuron, settings = self.session, self.session.state.neuron, self.api.settings
        if neuron in self.running.at:
            self.post(Notice(f"{neuron} is being explained already; {STOP_KEY} stops it."))
            return None
        self.check_key()
        lacking = contrast_problem(session.store) if settings.contrast else None
        evidence = self._evidence(neuron)
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

    def check_key(self) -> None:
        """Raise ApiError if no request can be sent."""
        from vlmscope.core.llm.access import key_problem

        problem = key_problem(self.api.settings)
        if problem:
            raise ApiError(problem, "Concepts need neither: the page shows them, and / searches them.")

    def _evidence(self, neuron: Neuron) -> "Evidence":
        from vlmscope.core.explain.evidence import gather
        from vlmscope.core.explain.silent import contrast_problem

        store, settings, labels = self.session.store, self.api.settings, self.session.scene.columns.labels
        silent = settings.contrast_samples if settings.contrast and contrast_problem(store) is None else 0
        label = Label(int(labels.label[neuron.layer, neuron.index]))
        return gather(store, neuron, label, silent, labels.thresholds)

    async def evidence_of(self, neurons: Sequence[Neuron]) -> "tuple[dict[Neuron, Evidence], int]":
        """What is sent of each neuron that is not explained yet and has top samples; how many are explained already.

        Raises:
            VlmscopeError: if the scan or the notebook cannot be read.
        """
        from vlmscope.core.explain.run import known_explanation

        found = await asyncio.to_thread(lambda: [self._evidence(neuron) for neuron in neurons])
        model = self.api.settings.model

        def unknown(notebook: "Notebook") -> "list[Evidence]":
            return [item for item in found if known_explanation(notebook, item, model) is None]

        pending = await self.notebook.read(unknown, found)
        return {item.neuron: item for item in pending if item.samples}, len(found) - len(pending)

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
        self.running.begin(evidence.neuron, words, self.explain_one(evidence, again=again))

    async def explain_one(self, evidence: "Evidence", *, again: bool, quiet: bool = False) -> None:
        """One explanation from beginning to end; it is in the notebook before it is on the screen.

        Args:
            quiet: of a run over many: what cannot be explained is raised, and no message is posted.
        """
        from vlmscope.core.explain.evidence import complete
        from vlmscope.core.explain.explain import explain

        neuron, session = evidence.neuron, self.session
        whole = await complete(evidence, session.store, self.model if evidence.wants_model else None)
        if not quiet:
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
        if quiet:
            self.post(Repaint(incoming.take_entry(session, entry)))
            if not isinstance(outcome, Explanation):
                raise ApiError(outcome.reason)
            return
        if whole.note:
            waits = UNCHECKED in whole.note or (evidence.wants_model and self.model.needs_consent)
            how = f" ({self.model.allow_key} allows it)" if waits else ""
            self.post(Notice(f"{whole.note}{how}", None, severity="warning"))
        self.post(Repaint(incoming.take_entry(session, entry)))
        what = "is explained" if isinstance(outcome, Explanation) else "could not be explained"
        self.post(Notice(f"{neuron} {what}."))
