"""Causal checks: a neuron against matched neurons, one at a time; each is kept in the notebook."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.running import STOP_KEY, Running
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import PageReady, Post, Repaint
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import Mode, Pane, place_asked_at

if TYPE_CHECKING:
    from vlmscope.core.notebook.check import CheckSettings
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Entry


@dataclass(eq=False)
class CheckControl:
    """Checks, and the page that shows them."""

    running: Running
    session: Session
    post: Post
    notebook: NotebookLink
    model: ModelLink

    def show(self) -> Changed:
        """Show the neuron's checks; where they are shown already, leave them, unless there is one to make."""
        session = self.session
        if session.state.mode is Mode.CHECK and not self._may_begin:
            return session.change_state(mode=Mode.PICTURES)
        return session.change_state(mode=Mode.CHECK, pane=Pane.PAGE, check=0)

    def begin_first(self) -> None:
        """Check a neuron whose checks are shown and that has none.

        Raises:
            UsageError: if it has no leading concept.
        """
        if self.session.state.mode is Mode.CHECK and self._may_begin:
            self.begin("")

    @property
    def _may_begin(self) -> bool:
        entry = self.session.scene.entry
        known = entry is not None and entry.neuron == self.session.state.neuron
        return known and entry is not None and not entry.checks and not self.running.at

    def begin(self, word: str) -> None:
        """Check the page's neuron on ``word``; empty: on its leading concept.

        On the page of ablation the check does what that page does; elsewhere it sets the neuron to zero.

        Raises:
            UsageError: if something is being checked already, or ``word`` is not a word.
        """
        from vlmscope.core.causal.trained import check_trained
        from vlmscope.core.causal.words import default_word, one_word
        from vlmscope.core.notebook.check import CheckSettings

        if self.running.at:
            raise UsageError("Something is being checked already.", f"{STOP_KEY} stops it.")
        check_trained(self.session.store)
        state, concepts = self.session.state, self.session.scene.columns.concepts
        neuron = state.neuron
        wanted = one_word(word, concepts) if word else default_word(concepts, (neuron,))
        if not wanted:
            raise UsageError(f"{neuron} has no leading concept.", "Name a word of its descriptions: :check WORD.")
        settings = CheckSettings()
        if state.mode is Mode.ABLATION:
            settings = replace(settings, intervention=str(state.ablating.to), at=state.ablating.at)
        self.running.begin(neuron, f"checking “{wanted}”", self._check(neuron, wanted, settings))

    async def _check(self, neuron: Neuron, word: str, settings: "CheckSettings") -> None:
        from vlmscope.core.causal.check import check
        from vlmscope.core.notebook.check_words import verdict

        asked_at = place_asked_at(replace(self.session.state, neuron=neuron))

        def progress(done: int, of: int) -> None:
            self.running.show(neuron, f"checking “{word}”: {done} of {of} steps")

        found = await check(self.session.store, self.model, (neuron,), word, settings, on_step=progress)

        def keep(notebook: "Notebook") -> "Entry":
            notebook.add_check(found)
            return notebook.entry(neuron)

        entry = await self.notebook.write(keep)
        self.post(Repaint(incoming.take_entry(self.session, entry)))
        self.post(PageReady(f"{neuron} “{word}”: {verdict(found)}", asked_at, Mode.CHECK))
