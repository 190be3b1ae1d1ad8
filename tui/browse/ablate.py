"""The page of ablation: what the model makes of the picture on the page without its neuron, or without a set."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import Cancelled, VlmscopeError
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.answers import AblationKey, needed_ablation
from vlmscope.tui.browse.asked_picture import asked_picture
from vlmscope.tui.browse.chosen import chosen_neurons
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import Post, Repaint
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import Ablating, Mode, Pane

if TYPE_CHECKING:
    from vlmscope.core.causal.ablation import Ablation


@dataclass(eq=False)
class AblateControl:
    """Asks for the ablation that the page lacks, once the cursor has rested; one at a time."""

    session: Session
    link: ModelLink
    notebook: NotebookLink
    post: Post
    tasks: Tasks
    ask_after_s: float
    _asked: AblationKey | None = None
    _work: asyncio.Task[None] | None = None

    def set(self, ablating: Ablating | None) -> Changed:
        """Show the page with these choices; None leaves it, and the next time it begins with the usual ones."""
        if ablating is None:
            left = self.session.state.mode is Mode.ABLATION
            mode = Mode.PICTURES if left else self.session.state.mode
            return self.session.change_state(ablating=Ablating(), mode=mode)
        self.session.answers.ablation_problems.clear()  # what was stopped or refused is asked again
        return self.session.change_state(ablating=ablating, mode=Mode.ABLATION, pane=Pane.PAGE)

    def want(self) -> None:
        """Ask for the page's ablation, unless it is there or asked for; what was asked for another page is stopped."""
        key = needed_ablation(self.session.scene)
        if key == self._asked:
            return
        self.stop()
        answers = self.session.answers
        if key is not None and key not in answers.ablations and key not in answers.ablation_problems:
            self._asked = key
            self._work = self.tasks.run_task(self._ask_when_rested(key))

    def stop(self) -> None:
        """Stop what is asked for."""
        self._asked = None
        if self._work is not None:
            self._work.cancel()

    async def _ask_when_rested(self, key: AblationKey) -> None:
        await asyncio.sleep(self.ask_after_s)
        try:
            found: Ablation | str = await self._ablate(key)
        except Cancelled:
            found = "Stopped."
        except VlmscopeError as error:
            found = str(error)
        if self._asked == key:
            self._asked = None
        self.post(Repaint(incoming.take_ablation(self.session, key, found)))

    async def _ablate(self, key: AblationKey) -> "Ablation":
        from vlmscope.core.causal.ablation import ablate
        from vlmscope.core.causal.trained import check_trained
        from vlmscope.core.causal.words import default_word, one_word

        store, choice = self.session.store, key.ablating
        check_trained(store)
        picture = asked_picture(self.session, key.sample, self.link.allow_key)
        concepts = await asyncio.to_thread(lambda: store.concepts)
        chosen = await chosen_neurons(store, self.notebook, choice, key.neuron)
        word = one_word(choice.word, concepts) if choice.word else chosen.word or default_word(concepts, chosen.neurons)
        return await ablate(
            store,
            self.link,
            chosen.neurons,
            [picture],
            intervention=choice.to,
            at=choice.at,
            word=word,
            name=chosen.name,
            caption=choice.caption,
            on_step=lambda done, of: self.post(Repaint(incoming.take_ablation_step(self.session, key, done, of))),
        )
