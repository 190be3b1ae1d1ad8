"""Scores: simulate the neuron from its explanation, correlate with its true activations, keep the report."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlmscope.core.base.clock import now
from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import ApiError, SamplesError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.scoring.judge_report import JudgeMethod
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.api_link import ApiLink
from vlmscope.tui.browse.judge import MEANS, JudgeControl
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.running import STOP_KEY, Running
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import AskChoice, AskConfirm, Choice, Notice, PageReady, Post, Repaint
from vlmscope.tui.views.score import place_of_newest
from vlmscope.tui.views.state import Mode, PlaceAskedAt, place_asked_at

if TYPE_CHECKING:
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Entry


@dataclass(eq=False)
class ScoreControl:
    """Simulations and their scores, one at a time."""

    running: Running
    session: Session
    post: Post
    notebook: NotebookLink
    model: ModelLink
    api: ApiLink
    config: Config

    def choose_backend(self) -> AskChoice | None:
        """Ask which simulator predicts, or which question a judge is asked; then score."""
        if self.running.at:
            self.post(Notice(f"Something is being scored already; {STOP_KEY} stops it."))
            return None
        from vlmscope.core.scoring.simulators.registry import BACKENDS

        neuron, judges = self.session.state.neuron, self.judges
        names, choices = self.choices([neuron])

        def chosen(letter: str) -> None:
            name = names[letter]
            if name in BACKENDS:
                self._score_after_a_yes(neuron, name)
            else:
                judges.score(neuron, JudgeMethod(name))

        return AskChoice(f"score {neuron} by", choices, chosen)

    @property
    def judges(self) -> JudgeControl:
        """What scores by a judge in place of a simulator."""
        return JudgeControl(self.running, self.session, self.post, self.notebook, self.model, self.api)

    def choices(self, neurons: Sequence[Neuron]) -> tuple[dict[str, str], list[Choice]]:
        """What can score some of these neurons: the names of simulators and judges by their letters, and as choices."""
        from vlmscope.core.scoring.simulators.registry import BACKENDS, DEFAULT, usable
        from vlmscope.tui.dialogs.choice import by_letter

        names = by_letter([*usable(self.session.store), *self.judges.methods(neurons)])
        means = {name: one.means for name, one in BACKENDS.items()}
        means |= {method.value: text for method, text in MEANS.items()}
        return names, [Choice(one, f"{name}: {means[name]}", name == DEFAULT) for one, name in names.items()]

    def score_own_words(self, text: str) -> None:
        """Score the user's own words by the default backend.

        Raises:
            UsageError: if ``text`` has no words.
        """
        from vlmscope.core.scoring.candidates import own_explanation
        from vlmscope.core.scoring.simulators.registry import DEFAULT

        if self.running.at:
            raise UsageError("Something is being scored already.", f"{STOP_KEY} stops it.")
        self._begin(self.session.state.neuron, DEFAULT, own_explanation(text, self.session.store, now()))

    def _score_after_a_yes(self, neuron: Neuron, backend: str) -> None:
        """Score, after a yes where that costs money."""
        from vlmscope.core.scoring.simulators.api_text import ApiText

        if backend != ApiText.name or self.running.agreed:
            self._begin(neuron, backend)
        else:
            self.running.tasks.run_task(self._offer(neuron, backend))

    async def _offer(self, neuron: Neuron, backend: str) -> None:
        """Ask for agreement, with what scoring by an API costs at most."""
        from vlmscope.core.llm.access import key_problem
        from vlmscope.core.llm.budget import CostOffer
        from vlmscope.core.scoring.held_out import held_out
        from vlmscope.core.scoring.run import NOTHING_SAID, pick_explanation
        from vlmscope.core.scoring.simulators.api_text import estimate_samples

        store, api = self.session.store, self.api.settings
        problem = key_problem(api)
        if problem:
            raise ApiError(problem, "The backend lens needs no server.")
        said = await self.notebook.write(lambda notebook: pick_explanation(store, notebook, neuron))
        if said is None:
            raise UsageError(f"{neuron} cannot be scored: {NOTHING_SAID}.", "Explain it first, or write :words ...")
        samples = held_out(store, neuron, said.samples, paid=True)
        cost = estimate_samples(said, samples, api)

        def agreed() -> None:
            self.running.agreed = True
            self._begin(neuron, backend)

        what = f"Send the explanation and the words of {len(samples)} samples, one request each,"
        self.post(AskConfirm(f"score {neuron}", [what, *CostOffer(cost, api).lines()], agreed))

    def _begin(self, neuron: Neuron, backend: str, wanted: Explanation | None = None) -> None:
        """Score a neuron by ``backend``: its leading explanation, or its concept words, or ``wanted``."""
        asked_at = place_asked_at(replace(self.session.state, neuron=neuron))
        self.running.begin(neuron, f"scoring by {backend}", self.score_one(neuron, backend, wanted, asked_at))

    async def cost_lines(self, neurons: Sequence[Neuron]) -> list[str]:
        """What scoring these neurons by an API costs at most, for a question.

        Raises:
            VlmscopeError: if none can be scored.
        """
        from vlmscope.core.llm.access import key_problem
        from vlmscope.core.llm.budget import CostOffer, total
        from vlmscope.core.scoring.held_out import held_out
        from vlmscope.core.scoring.run import NOTHING_SAID, pick_explanation
        from vlmscope.core.scoring.simulators.api_text import estimate_samples

        store, api = self.session.store, self.api.settings
        problem = key_problem(api)
        if problem:
            raise ApiError(problem, "The backend lens needs no server.")

        def pick(notebook: "Notebook") -> list[tuple[Neuron, Explanation]]:
            found = ((neuron, pick_explanation(store, notebook, neuron)) for neuron in neurons)
            return [(neuron, said) for neuron, said in found if said is not None]

        said = await self.notebook.write(pick)
        if not said:
            raise UsageError(f"None of these neurons can be scored: {NOTHING_SAID}.", "Explain them first.")
        costs = await asyncio.to_thread(
            lambda: [
                estimate_samples(words, held_out(store, neuron, words.samples, paid=True), api)
                for neuron, words in said
            ]
        )
        cost = total(costs)
        return [f"Send {len(said):,} explanations in {cost.requests:,} requests,", *CostOffer(cost, api).lines()]

    async def score_one(
        self, neuron: Neuron, backend: str, wanted: Explanation | None, asked_at: PlaceAskedAt | None
    ) -> None:
        """Score a neuron from beginning to end. ``asked_at``: None of a run over many, which posts no message."""
        from vlmscope.core.scoring.held_out import NOT_CHECKED
        from vlmscope.core.scoring.run import NOTHING_SAID, keep_score, pick_explanation
        from vlmscope.core.scoring.simulation import baseline_explanations, score_explanation
        from vlmscope.core.scoring.simulators.api_text import ApiText
        from vlmscope.core.scoring.simulators.registry import Tools, make_simulator

        store = self.session.store

        def pick(notebook: "Notebook") -> Explanation | None:
            return pick_explanation(store, notebook, neuron, wanted)

        maybe = await self.notebook.write(pick)  # the score will be written: a notebook is made now
        if maybe is None or not maybe.pattern_found:
            raise UsageError(
                f"{neuron} cannot be scored: {NOTHING_SAID if maybe is None else 'no pattern was found'}.",
                "Explain it first, or write your own words: :words red trains.",
            )
        found = maybe
        chat = await self.api.connect() if backend == ApiText.name else None
        tools = Tools(store, self.model, self.config, chat, self.api.ledger)
        simulator = await asyncio.to_thread(make_simulator, backend, tools)
        if not simulator.search_phrases(found):
            raise UsageError(
                f"{backend} can search for nothing in {found.text[:60]!r}: it has none of these words.",
                "Use words of the scan's concepts.",
            )
        others = await asyncio.to_thread(baseline_explanations, store, neuron, found, simulator)

        def progress(done: int, of: int) -> None:
            if asked_at is not None:
                self.running.show(neuron, f"scoring by {backend}: {done} of {of} samples")

        outcome = await score_explanation(
            store, neuron, found, simulator, self.model, baselines=others, on_sample=progress
        )
        if not outcome.report.samples:
            reasons = list(dict.fromkeys(failure.reason for failure in outcome.report.failures))
            how = f"{self.model.allow_key} allows it." if NOT_CHECKED in reasons else "Nothing was scored."
            raise SamplesError("; ".join(reasons[:3]) or "There are no samples.", how)

        def keep(notebook: "Notebook") -> "Entry":
            keep_score(notebook, neuron, found, outcome.report)
            return notebook.entry(neuron)

        entry = await self.notebook.write(keep)
        self.post(Repaint(incoming.take_entry(self.session, entry, outcome)))
        if asked_at is not None:
            self.post(PageReady(f"{neuron} is scored by {backend}.", asked_at, Mode.SCORE, place_of_newest(entry)))
