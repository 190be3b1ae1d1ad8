"""The browse screen's side of scores: simulate the neuron from its explanation, correlate, show and keep it."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on

from vlmscope.core.base.clock import now
from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import ApiError, NotebookError, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.explain import ExplainScreen
from vlmscope.tui.browse.model_link import ClientFactory
from vlmscope.tui.keys import keys_of
from vlmscope.tui.messages import Scored, ScoreFailed
from vlmscope.tui.views.score import ScoreView
from vlmscope.tui.views.state import Mode, Pane

if TYPE_CHECKING:
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Entry
    from vlmscope.core.scoring.simulation import Outcome


class ScoreScreen(ExplainScreen):
    """Simulations and their scores."""

    def __init__(
        self, store: ScanStore, config: Config, start: Neuron | None, name: str, factory: ClientFactory
    ) -> None:
        super().__init__(store, config, start, name, factory)
        self._agreed_to_score = False
        self._scoring: asyncio.Task[None] | None = None
        self._outcomes: dict[tuple[Neuron, str, str], Outcome] = {}

    @property
    def working(self) -> bool:
        return super().working or self._scoring is not None

    async def action_simulate(self) -> None:
        """Choose who predicts, then score."""
        if self._scoring is not None:
            self.say(f"Something is being scored already; {keys_of('back', self.config.keys)[0]} stops it.")
            return
        from vlmscope.core.scoring.simulators.registry import BACKENDS, usable
        from vlmscope.tui.dialogs.choice import Choice, ChoiceScreen

        names = usable(self.store)
        choices = [Choice(name[0], f"{name}: {BACKENDS[name].means}", at == 0) for at, name in enumerate(names)]

        def chosen(letter: str | None) -> None:
            if letter is not None:
                self._choose_backend(next(name for name in names if name[0] == letter))

        await self.app.push_screen(ChoiceScreen(f"score {self.state.neuron} by", choices), chosen)

    def _choose_backend(self, backend: str) -> None:
        """Score, after a yes where that costs money."""
        from vlmscope.core.scoring.simulators.api_text import ApiText

        if backend != ApiText.name or self._agreed_to_score:
            self.simulate(backend)
            return
        self.chore(self._ask_to_score(backend))

    async def _ask_to_score(self, backend: str) -> None:
        """What scoring by an API costs at most, and whether to go on."""
        from vlmscope.core.llm.access import key_problem
        from vlmscope.core.llm.budget import CostOffer
        from vlmscope.core.scoring.held_out import held_out
        from vlmscope.core.scoring.run import NOTHING_SAID, pick_explanation
        from vlmscope.core.scoring.simulators.api_text import estimate_samples
        from vlmscope.tui.dialogs.confirm import ConfirmScreen

        api, neuron = self.config.api, self.state.neuron
        problem = key_problem(api)
        if problem:
            raise ApiError(problem, "The backend lens needs no server.")
        said = await self.notebook.write(lambda notebook: pick_explanation(self.store, notebook, neuron))
        if said is None:
            raise UsageError(f"{neuron} cannot be scored: {NOTHING_SAID}.", "Explain it first, or write :words ...")
        samples = held_out(self.store, neuron, said.samples, paid=True)
        cost = estimate_samples(said, samples, api)

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._agreed_to_score = True
                self.simulate(backend)

        what = f"Send the explanation and the words of {len(samples)} samples, one request each,"
        lines = [what, *CostOffer(cost, api).lines()]
        await self.app.push_screen(ConfirmScreen(f"score {neuron}", lines), answered)

    def simulate(self, backend: str, wanted: Explanation | None = None) -> None:
        """Score the neuron of now by ``backend``: its leading explanation, or its concept words, or ``wanted``."""
        neuron = self.state.neuron
        self._scoring = asyncio.create_task(self._score(neuron, backend, wanted))
        self._scoring.add_done_callback(lambda _: self._scored_or_not(neuron))
        self._say_doing(neuron, f"scoring by {backend}")

    def own_words(self, text: str) -> None:
        """Score the user's own words by the default backend.

        Raises:
            UsageError: if there are none.
        """
        from vlmscope.core.scoring.candidates import own_explanation
        from vlmscope.core.scoring.simulators.registry import DEFAULT

        if self._scoring is not None:
            raise UsageError("Something is being scored already.", "esc stops it.")
        self.simulate(DEFAULT, own_explanation(text, self.store, now()))

    async def _score(self, neuron: Neuron, backend: str, wanted: Explanation | None) -> None:
        from vlmscope.core.scoring.run import NOTHING_SAID, keep_score, pick_explanation
        from vlmscope.core.scoring.simulation import baseline_explanations, score_explanation
        from vlmscope.core.scoring.simulators.api_text import ApiText
        from vlmscope.core.scoring.simulators.registry import Tools, make_simulator

        def pick(notebook: "Notebook") -> Explanation | None:
            return pick_explanation(self.store, notebook, neuron, wanted)

        def keep(notebook: "Notebook") -> "Entry":
            keep_score(notebook, neuron, found, outcome.report)
            return notebook.entry(neuron)

        try:
            maybe = await self.notebook.write(pick)  # the score will be written: a notebook is made now
            if maybe is None or not maybe.pattern_found:
                raise UsageError(
                    f"{neuron} cannot be scored: {NOTHING_SAID if maybe is None else 'no pattern was found'}.",
                    "Explain it first, or write your own words: :words red trains.",
                )
            found = maybe
            chat = await self._connect() if backend == ApiText.name else None
            tools = Tools(self.store, self.link, self.config, chat, self.ledger)
            simulator = await asyncio.to_thread(make_simulator, backend, tools)
            if not simulator.search_phrases(found):
                raise UsageError(
                    f"{backend} can look for nothing in {plain(found.text, 60)!r}: it knows none of these words.",
                    "Use words of the scan's concepts.",
                )
            others = await asyncio.to_thread(baseline_explanations, self.store, neuron, found, simulator)

            def progress(done: int, of: int) -> None:
                self._say_doing(neuron, f"scoring by {backend}: {done} of {of} samples")

            outcome = await score_explanation(
                self.store, neuron, found, simulator, self.link, baselines=others, on_sample=progress
            )
            if not outcome.report.samples:
                reasons = list(dict.fromkeys(failure.reason for failure in outcome.report.failures))
                raise NotebookError("; ".join(reasons[:3]) or "There are no samples.", "Nothing was scored.")
            entry = await self.notebook.write(keep)
        except VlmscopeError as error:
            self.post_message(ScoreFailed(neuron, error))
        else:
            self.post_message(Scored(neuron, outcome, entry))

    def _scored_or_not(self, neuron: Neuron) -> None:
        self._scoring = None
        self._explained_or_not(neuron)

    @on(Scored)
    def _scored(self, message: Scored) -> None:
        report = message.outcome.report
        self._outcomes[message.neuron, report.backend, report.explanation] = message.outcome
        self.take_entry(message.entry)
        self.chore(self.read_marks())  # with the score, which the list may be sorted by
        if message.neuron == self.state.neuron:
            self.become(replace(self.state, mode=Mode.SCORE, example=0, pane=Pane.PAGE))
        else:
            self.say(f"{message.neuron} is scored.")

    @on(ScoreFailed)
    def _score_failed(self, message: ScoreFailed) -> None:
        self.tell(message.error)
        self._paint_all()

    def stop_explaining(self) -> None:
        super().stop_explaining()
        if self._scoring is not None:
            self._scoring.cancel()

    def action_score_page(self) -> None:
        """Show how the explanation's prediction compares with the truth."""
        here = self.state.mode is Mode.SCORE
        self.become(replace(self.state, mode=Mode.PICTURES if here else Mode.SCORE, example=0, pane=Pane.PAGE))

    def score_view(self) -> ScoreView | None:
        """The newest score of the leading explanation, or of another one if that has none.

        Its pictures come with it if they were computed in this session.
        """
        entry = self.meaning.entry if self.meaning is not None else None
        if entry is None or not entry.scores:
            return None
        from vlmscope.core.scoring.report import ScoreReport

        first = entry.explanations[0].id if entry.explanations else -1
        saved = next((one for one in entry.scores if one.explanation_id == first), entry.scores[0])
        try:
            report = ScoreReport.from_json(saved.body)
        except NotebookError as error:
            return ScoreView(entry.neuron, None, None, 0, problem=error.message)
        outcome = self._outcomes.get((entry.neuron, report.backend, report.explanation))
        examples = outcome.examples if outcome is not None else None
        count = len(examples) if examples is not None else 0
        at = min(self.state.example, max(count - 1, 0))
        crop = b""
        if examples:
            try:
                crop = self.store.crop(examples[at].sample.sample)
            except VlmscopeError:  # the box says that there is no picture
                crop = b""
        return ScoreView(entry.neuron, report, examples, at, crop, leads=saved.explanation_id == first)

    @property
    def examples(self) -> int:
        """How many examples the score page steps through."""
        view = self.score_view() if self.state.mode is Mode.SCORE else None
        return len(view.examples) if view is not None and view.examples is not None else 0
