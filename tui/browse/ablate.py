"""The page of ablation: what the model makes of the picture on the page without its neuron, or without a set."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlmscope.core.base.errors import Cancelled, UsageError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.values import VERDICTS, Verdict
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.asked_picture import asked_picture
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.session import AblationKey, Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import Post, Repaint
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import Ablating, Mode, Pane, SetKind

if TYPE_CHECKING:
    from vlmscope.core.causal.ablation import Ablation
    from vlmscope.core.notebook.notebook import Notebook


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
        return self.session.change_state(ablating=ablating, mode=Mode.ABLATION, pane=Pane.PAGE)

    def want(self) -> None:
        """Ask for the page's ablation, unless it is there or asked for; what was asked for another page is stopped."""
        key = self.session.ablation_key
        if key == self._asked:
            return
        self.stop()
        if key is not None and key not in self.session.ablations and key not in self.session.ablation_problems:
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
        from vlmscope.core.causal.words import default_word, one_word

        store, choice = self.session.store, key.ablating
        picture = asked_picture(self.session, key.sample, self.link.allow_key)
        neurons = await self._neurons(key)
        concepts = await asyncio.to_thread(lambda: store.concepts)
        word = one_word(choice.word, concepts) if choice.word else default_word(concepts, neurons)
        return await ablate(
            store,
            self.link,
            neurons,
            [picture],
            intervention=choice.to,
            at=choice.at,
            word=word,
            name="" if choice.kind is SetKind.NEURON else str(choice),
            caption=choice.caption,
        )

    async def _neurons(self, key: AblationKey) -> tuple[Neuron, ...]:
        """The neuron, or the set.

        Raises:
            UsageError: if the set has no neurons.
        """
        if key.neuron is not None:
            return (key.neuron,)
        store, choice = self.session.store, key.ablating
        if choice.kind is SetKind.CONCEPT:
            neurons = await asyncio.to_thread(self._led_by, choice.name)
        elif choice.kind is SetKind.TAG:
            neurons = await self.notebook.read(lambda notebook: _tagged(notebook, choice.name), ())
        else:
            kept = np.flatnonzero(self.session.scene.noted.verdict == VERDICTS.index(Verdict.KEEP))
            neurons = tuple(Neuron(*divmod(int(at), store.neurons)) for at in kept)
        if not neurons:
            hint = {
                SetKind.CONCEPT: "/ searches the concepts.",
                SetKind.TAG: "Tags are case-sensitive.",
                SetKind.KEPT: "A verdict keeps a neuron.",
            }
            raise UsageError(f"No neuron belongs to the set: {choice}.", hint[choice.kind])
        return neurons

    def _led_by(self, word: str) -> tuple[Neuron, ...]:
        """The neurons whose leading concept is ``word``."""
        from vlmscope.core.causal.words import one_word

        concepts, neurons = self.session.store.concepts, self.session.store.neurons
        known = one_word(word, concepts)
        if concepts is None or known not in concepts.words:
            return ()
        flat = np.flatnonzero(np.asarray(concepts.word[..., 0]) == concepts.words.index(known))
        return tuple(Neuron(*divmod(int(at), neurons)) for at in flat)


def _tagged(notebook: "Notebook", tag: str) -> tuple[Neuron, ...]:
    """The neurons with this tag."""
    found = (neuron for neuron, mark in notebook.marks().items() if mark.has_tags)
    return tuple(neuron for neuron in found if tag in notebook.entry(neuron).tags)
