"""The browse screen's side of explanations: asked for by a key, paid for only after a yes, never waited for."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import on

from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import ApiError, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.controlled import ControlledScreen
from vlmscope.tui.browse.model_link import ClientFactory
from vlmscope.tui.keys import keys_of
from vlmscope.tui.messages import Explained, ExplainFailed

if TYPE_CHECKING:
    from vlmscope.core.explain.evidence import Evidence
    from vlmscope.core.explain.explain import Answered
    from vlmscope.core.llm.budget import Estimate, Ledger
    from vlmscope.core.llm.client import Chat


WRITERS = {Source.USER: "you", Source.PAPER: "the paper", Source.CONCEPTS: "its concepts", Source.BORROWED: "borrowed"}


class ExplainScreen(ControlledScreen):
    """Requests to the API and its answers."""

    def __init__(
        self, store: ScanStore, config: Config, start: Neuron | None, name: str, factory: ClientFactory
    ) -> None:
        super().__init__(store, config, start, name, factory)
        self._doing: dict[Neuron, str] = {}
        self._explaining: dict[Neuron, asyncio.Task[None]] = {}
        self._chat: Chat | None = None
        self._ledger: Ledger | None = None
        self._agreed = False

    @property
    def working(self) -> bool:
        """Whether anything is on its way that esc stops."""
        return self.link.working or bool(self._explaining)

    def asking(self, neuron: Neuron) -> str:
        return self._doing.get(neuron, "")

    @property
    def spent(self) -> str:
        """What this session has cost, for the title; empty before the first request."""
        ledger = self._ledger
        if ledger is None or not (ledger.spent_usd or ledger.unpriced):
            return ""
        from vlmscope.core.llm.budget import dollars

        unpriced = f" + {ledger.unpriced} of unknown price" if ledger.unpriced else ""
        return f"{dollars(ledger.spent_usd)}{unpriced}" if ledger.spent_usd else unpriced.removeprefix(" + ")

    def action_explain(self) -> None:
        """Ask what the neuron of now responds to; before the first request that may cost, say what and ask."""
        from vlmscope.core.explain.evidence import gather
        from vlmscope.core.explain.prompt import estimate
        from vlmscope.core.llm.access import key_problem

        neuron, settings = self.state.neuron, self.config.api
        if neuron in self._explaining:
            self.say(f"{neuron} is being explained already; {keys_of('back', self.config.keys)[0]} stops it.")
            return
        try:
            problem = key_problem(settings)
            if problem:
                raise ApiError(problem, "Concepts need neither: they stand on the page, and / searches them.")
            evidence = gather(self.store, neuron, Label(int(self.labels.label[neuron.layer, neuron.index])))
            if not evidence.samples:
                raise ApiError(f"{neuron} has no top samples: there is nothing to explain it from.")
            wanted = estimate(evidence, settings)
            self.ledger.check(wanted)
        except VlmscopeError as error:
            self.tell(error)
            return
        again = self._has_explained(settings.model)
        if self._agreed and not again:
            self._begin(evidence, again)
        else:
            self._ask_first(evidence, wanted, again)

    def _has_explained(self, model: str) -> bool:
        """Whether ``model`` has explained the neuron of now already, with our prompt of today."""
        from vlmscope.core.explain.run import is_by

        entry = self.meaning.entry if self.meaning is not None else None
        return entry is not None and any(is_by(saved.explanation, model) for saved in entry.explanations)

    def _ask_first(self, evidence: "Evidence", wanted: "Estimate", again: bool) -> None:
        from vlmscope.tui.dialogs.confirm import ConfirmScreen

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._agreed = True
                self._begin(evidence, again)

        lines = self._offer(evidence, wanted)
        if again:
            lines[:0] = [
                f"{plain(self.config.api.model, 40)} has explained it already: this asks, and pays, again.",
                "",
            ]
        self.app.push_screen(ConfirmScreen(f"explain {evidence.neuron}", lines), answered)

    def _offer(self, evidence: "Evidence", wanted: "Estimate") -> list[str]:
        from vlmscope.core.llm.budget import CostOffer

        pictures = f"{wanted.images} pictures and their descriptions" if wanted.images else "descriptions alone"
        return [
            f"Send {len(evidence.samples)} of its top samples ({pictures})",
            *CostOffer(wanted, self.config.api).lines(),
            *(["The model is loaded first, for exact activations."] if evidence.wants_model else []),
        ]

    def _begin(self, evidence: "Evidence", again: bool) -> None:
        neuron = evidence.neuron
        task = asyncio.create_task(self._explain(evidence, again))
        self._explaining[neuron] = task
        task.add_done_callback(lambda _: self._explained_or_not(neuron))
        self._say_doing(neuron, "gathering exact activations" if evidence.wants_model else "getting ready")

    def _say_doing(self, neuron: Neuron, what: str) -> None:
        self._doing[neuron] = f"{what} ({keys_of('back', self.config.keys)[0]} stops)"
        self.show_meaning()
        self._paint_all()

    def _explained_or_not(self, neuron: Neuron) -> None:
        self._explaining.pop(neuron, None)
        self._doing.pop(neuron, None)
        if self.is_running:
            self.show_meaning()
            self._paint_all()

    async def _explain(self, evidence: "Evidence", again: bool) -> None:
        """One explanation from beginning to end; what comes of it is in the notebook before it is on the screen."""
        from vlmscope.core.explain.evidence import complete
        from vlmscope.core.explain.explain import explain

        neuron, settings = evidence.neuron, self.config.api
        try:
            whole = await complete(evidence, self.store, self.link if evidence.wants_model else None)
            self._say_doing(neuron, f"asking {plain(settings.model, 40)}")
            answered = await explain(whole, await self._connect(), self.ledger, again=again)
            outcome = answered.outcome
            if isinstance(outcome, Explanation):
                found = outcome
                await self.notebook.write(lambda notebook: notebook.add_explanation(neuron, found))
            else:
                failure = outcome
                await self.notebook.write(lambda notebook: notebook.add_failure(neuron, failure))
        except VlmscopeError as error:
            self.post_message(ExplainFailed(neuron, error))
        else:
            self.post_message(Explained(neuron, answered, whole.note))

    @property
    def ledger(self) -> "Ledger":
        """What this session has cost."""
        from vlmscope.core.llm.budget import Ledger

        if self._ledger is None:
            self._ledger = Ledger(self.config.api.budget_usd)
        return self._ledger

    async def _connect(self) -> "Chat":
        if self._chat is None:
            # The modules alone take a moment to import; a key must not feel it.
            make: Callable[..., Chat] = await asyncio.to_thread(_chat_class)
            self._chat = make(self.config.api)
        return self._chat

    @on(Explained)
    async def _explained(self, message: Explained) -> None:
        answered: Answered = message.answered
        if message.note:
            self.app.notify(plain(message.note), severity="warning", markup=False)
        self.chore(self.read_marks())
        self._paint_all()
        if message.neuron != self.state.neuron:
            what = "is explained" if isinstance(answered.outcome, Explanation) else "could not be explained"
            self.say(f"{message.neuron} {what}.")

    @on(ExplainFailed)
    def _explain_failed(self, message: ExplainFailed) -> None:
        self.tell(message.error)
        self._paint_all()

    def stop_explaining(self) -> None:
        """Stop every request that is on its way; what was paid for stays in the cache."""
        for task in self._explaining.values():
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._explaining.values())
        self.stop_explaining()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._chat is not None:
            await self._chat.close()
        await super().close()

    # -- choosing ------------------------------------------------------------------------------------------------

    async def action_choose(self) -> None:
        """Choose which explanation leads."""
        entry = self.meaning.entry if self.meaning is not None else None
        if entry is None or len(entry.explanations) < 2:
            self.say("There are no two explanations to choose from.")
            return
        from vlmscope.tui.dialogs.choice import LETTERS, Choice, ChoiceScreen

        saved = entry.explanations[: len(LETTERS)]
        choices = []
        for letter, one in zip(LETTERS, saved, strict=False):
            who = WRITERS.get(one.explanation.source) or plain(one.explanation.model, 20)
            choices.append(Choice(letter, f"{plain(one.explanation.text, 48)} ({who})", one.leads))

        def chosen(letter: str | None) -> None:
            if letter is not None:
                which = saved[LETTERS.index(letter)]
                self.chore(self._lead(which.neuron, which.id))

        await self.app.push_screen(ChoiceScreen("which explanation leads", choices), chosen)

    async def _lead(self, neuron: Neuron, which: int) -> None:
        await self.notebook.write(lambda notebook: notebook.choose_explanation(neuron, which))
        await self.read_entry()

    def choose_published(self) -> None:
        """Go to one of the paper's neurons.

        Raises:
            UsageError: if this is no scan of the paper's model.
        """
        if not self.published:
            raise UsageError(
                "The paper's neurons are LLaVA-1.5-7B's, at the hook point gate: this scan is of another model.",
                "Scan llava-hf/llava-1.5-7b-hf to compare with them.",
            )
        from vlmscope.tui.dialogs.choice import LETTERS, Choice, ChoiceScreen

        known = list(self.published.values())
        choices = [
            Choice(letter, f"{one.neuron} {one.label.letter} {plain(one.text, 44)}", one.neuron == self.state.neuron)
            for letter, one in zip(LETTERS, known, strict=False)
        ]

        def chosen(letter: str | None) -> None:
            if letter is not None:
                self.go(known[LETTERS.index(letter)].neuron)

        self.app.push_screen(ChoiceScreen("the paper's neurons", choices), chosen)


def _chat_class() -> "type[Chat]":
    from vlmscope.core.llm.client import Chat

    return Chat
