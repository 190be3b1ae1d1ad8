"""The tokens that a neuron promotes: asked of the model by a key, and without a key while it is loaded."""

import asyncio
from dataclasses import dataclass, field

from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.worker.client import Superseded
from vlmscope.core.worker.messages import Phase, PromotedRequest
from vlmscope.core.worker.promoted_cache import save_promoted
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.answers import PROMOTED
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import Post, Repaint


@dataclass(eq=False)
class PromotedControl:
    """Asks the model, once the cursor has rested for ``ask_after_s``; keeps what it answers in the user's cache."""

    session: Session
    link: ModelLink
    post: Post
    tasks: Tasks
    ask_after_s: float
    _asked: set[Neuron] = field(default_factory=set)
    _failed: set[Neuron] = field(default_factory=set)
    _phase: Phase = Phase.OFF

    def __post_init__(self) -> None:
        self.link.listeners.append(self._link_changed)

    def _link_changed(self) -> None:
        phase, before = self.link.status.phase, self._phase
        self._phase = phase
        if phase is before:
            return
        if phase in (Phase.READY, Phase.STARTING):
            for neuron in self._failed:
                self.post(Repaint(incoming.note_promoted(self.session, neuron, "")))
            self._failed.clear()
        if phase is Phase.READY and not self.session.scene.stale:
            self._ask(self.session.state.neuron)

    def ask(self) -> None:
        """Ask about the page's neuron, even if that has failed before."""
        self._failed.discard(self.session.state.neuron)
        self._ask(self.session.state.neuron)

    def ask_when_rested(self) -> None:
        """Ask about the page's neuron once the cursor has rested."""
        self.tasks.run_task(self._ask_when_rested(self.session.state.neuron))

    async def _ask_when_rested(self, neuron: Neuron) -> None:
        await asyncio.sleep(self.ask_after_s)
        self._ask(neuron)

    def _ask(self, neuron: Neuron) -> None:
        known = neuron in self.session.answers.promoted or neuron in self._asked or neuron in self._failed
        if neuron == self.session.state.neuron and not known:
            self._asked.add(neuron)
            self.post(Repaint(incoming.note_promoted(self.session, neuron, "asking the model")))
            self.tasks.run_task(self._asking(neuron))

    async def _asking(self, neuron: Neuron) -> None:
        try:
            answer = await self.link.ask(PromotedRequest(neuron, PROMOTED))
        except Superseded:
            self._asked.discard(neuron)
            self.post(Repaint(incoming.note_promoted(self.session, neuron, "")))
            await self._ask_when_rested(neuron)
        except VlmscopeError as error:
            self._asked.discard(neuron)
            self._failed.add(neuron)
            self.post(Repaint(incoming.note_promoted(self.session, neuron, " ".join(str(error).splitlines()))))
        else:
            self._asked.discard(neuron)
            self.post(Repaint(incoming.take_promoted(self.session, answer)))
            await asyncio.to_thread(save_promoted, self.session.store.manifest.model, answer, PROMOTED)
