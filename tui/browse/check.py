"""Causal checks: a neuron, or a set, against matched ones, one at a time; each is kept in the notebook."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.chosen import chosen_neurons
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.running import STOP_KEY, Running
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import PageReady, Post, Repaint
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import Mode, Pane, PlaceAskedAt, SetKind, place_asked_at

if TYPE_CHECKING:
    from vlmscope.core.causal.sets import NeuronSet
    from vlmscope.core.notebook.check import CheckSettings
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Entry, SavedCheck


@dataclass(eq=False)
class CheckControl:
    """Checks, and the page that shows them."""

    running: Running
    session: Session
    post: Post
    notebook: NotebookLink
    model: ModelLink

    def show(self) -> Changed:
        """Show the neuron's checks; where they are shown already, leave them, unless there is one to make.

        On the page of ablation of a set the checks of sets are shown.
        """
        state = self.session.state
        if state.mode is Mode.CHECK and not self._may_begin:
            return self.session.change_state(mode=Mode.PICTURES)
        return self.session.change_state(mode=Mode.CHECK, pane=Pane.PAGE, check=0, set_check=self._ablates_set)

    def begin_first(self) -> None:
        """Check a neuron whose checks are shown and that has none; a set, unless it was checked just so.

        Raises:
            UsageError: if there is no word to check.
        """
        state = self.session.state
        if state.mode is Mode.CHECK and state.set_check and not self.running.at:
            self._begin("", of_set=True, again=False)
        elif state.mode is Mode.CHECK and self._may_begin:
            self._begin("", of_set=False)

    def begin(self, word: str) -> Changed:
        """Check the page's neuron on ``word``, on the page of checks; empty: on its leading concept.

        On the page of ablation the check does what that page does, to the same neurons; elsewhere it sets the page's
        neuron to zero.

        Raises:
            UsageError: if something is being checked already, or ``word`` is not a word.
        """
        state = self.session.state
        of_set = self._ablates_set or (state.mode is Mode.CHECK and state.set_check)
        self._begin(word, of_set=of_set)
        return self.session.change_state(mode=Mode.CHECK, pane=Pane.PAGE, check=0, set_check=of_set)

    @property
    def _ablates_set(self) -> bool:
        state = self.session.state
        return state.mode is Mode.ABLATION and state.ablating.kind is not SetKind.NEURON

    @property
    def _may_begin(self) -> bool:
        """Whether the page's neuron is known to have no check."""
        entry, state = self.session.scene.entry, self.session.state
        known = entry is not None and entry.neuron == state.neuron
        return known and entry is not None and not entry.checks and not self.running.at and not state.set_check

    def _begin(self, word: str, *, of_set: bool, again: bool = True) -> None:
        from vlmscope.core.causal.trained import check_trained
        from vlmscope.core.causal.words import default_word, one_word
        from vlmscope.core.notebook.check import CheckSettings

        if self.running.at:
            raise UsageError("Something is being checked already.", f"{STOP_KEY} stops it.")
        check_trained(self.session.store)
        state, concepts = self.session.state, self.session.scene.columns.concepts
        neuron = state.neuron
        wanted = one_word(word, concepts) if word else "" if of_set else default_word(concepts, (neuron,))
        if not wanted and not of_set:
            raise UsageError(f"{neuron} has no leading concept.", "Name a word of its descriptions: :check WORD.")
        settings = CheckSettings()
        if of_set or state.mode is Mode.ABLATION:
            settings = replace(settings, intervention=str(state.ablating.to), at=state.ablating.at)
        work = self._check_set(neuron, wanted, settings, again) if of_set else self._check(neuron, wanted, settings)
        self.running.begin(neuron, f"checking “{wanted}”" if wanted else "checking", work)

    async def _check(self, neuron: Neuron, word: str, settings: "CheckSettings") -> None:
        from vlmscope.core.causal.sets import of_addresses

        await self._measure(neuron, of_addresses([neuron]), word, settings, self._asked_at(neuron))

    async def check_one(self, neuron: Neuron) -> None:
        """One check of a run over many: on the leading concept, with the usual settings; no message is posted.

        Raises:
            VlmscopeError: if it cannot be made.
        """
        from vlmscope.core.causal.sets import of_addresses
        from vlmscope.core.causal.words import default_word
        from vlmscope.core.notebook.check import CheckSettings

        word = default_word(self.session.scene.columns.concepts, (neuron,))
        if not word:
            raise UsageError(f"{neuron} has no leading concept.")
        await self._measure(neuron, of_addresses([neuron]), word, CheckSettings(), None)

    async def _check_set(self, neuron: Neuron, word: str, settings: "CheckSettings", again: bool) -> None:
        from vlmscope.core.causal.words import default_word

        asked_at, session = self._asked_at(neuron), self.session
        chosen = await chosen_neurons(session.store, self.notebook, session.state.ablating, None)
        word = word or chosen.word or default_word(session.scene.columns.concepts, chosen.neurons)
        if not word:
            raise UsageError("No concept leads these neurons.", "Name a word of the descriptions: :check WORD.")
        saved: tuple[SavedCheck, ...] = await self.notebook.read(lambda notebook: notebook.set_checks(), ())
        self.post(Repaint(incoming.take_set_checks(session, saved)))
        same = (chosen.neurons, word, settings)
        known = [at for at, one in enumerate(saved) if (one.check.neurons, one.check.word, one.check.settings) == same]
        if known and not again:
            self.post(Repaint(session.change_state(check=known[0])))
            return
        await self._measure(neuron, chosen, word, settings, asked_at)

    def _asked_at(self, neuron: Neuron) -> PlaceAskedAt:
        return place_asked_at(replace(self.session.state, neuron=neuron))

    async def _measure(
        self, neuron: Neuron, chosen: "NeuronSet", word: str, settings: "CheckSettings", asked_at: PlaceAskedAt | None
    ) -> None:
        """Check, keep the result, and show it.

        Args:
            neuron: the page's.
            asked_at: None of a run over many, which posts no message.
        """
        from vlmscope.core.causal.check import check
        from vlmscope.core.notebook.check_words import title, verdict

        def progress(done: int, of: int) -> None:
            if asked_at is not None:
                self.running.show(neuron, f"checking “{word}”: {done} of {of} steps")

        store, neurons = self.session.store, chosen.neurons
        found = await check(store, self.model, neurons, word, settings, name=chosen.name, on_step=progress)

        def keep(notebook: "Notebook") -> "tuple[Entry, tuple[SavedCheck, ...]]":
            notebook.add_check(found)
            return notebook.entry(neurons[0]), notebook.set_checks()

        entry, sets = await self.notebook.write(keep)
        changed = incoming.take_entry(self.session, entry) | incoming.take_set_checks(self.session, sets)
        self.post(Repaint(changed))
        if asked_at is not None:
            self.post(PageReady(f"{title(found)}: {verdict(found)}", asked_at, Mode.CHECK, set_check=bool(chosen.name)))
