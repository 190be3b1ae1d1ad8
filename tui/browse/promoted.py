"""The tokens that a neuron promotes: asked of the model by a key, and by themselves while it is loaded."""

import asyncio

from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.worker.client import Superseded
from vlmscope.core.worker.messages import Phase, PromotedRequest
from vlmscope.core.worker.promoted_cache import save_promoted
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.session import PROMOTED, Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import Post, Repaint


class PromotedControl:
    """Asks the model, and keeps what it answers in the user's cache."""

    def __init__(self, session: Session, link: ModelLink, post: Post, tasks: Tasks, ask_after_s: float) -> None:
        """``ask_after_s``: how long the cursor rests before the model is asked."""
        self._session = session
        self._link = link
        self._post = post
        self._tasks = tasks
        self._ask_after_s = ask_after_s
        self._asked: set[Neuron] = set()
        self._failed: set[Neuron] = set()
        self._phase = link.status.phase
        link.listeners.append(self._link_changed)

    def _link_changed(self) -> None:
        phase, before = self._link.status.phase, self._phase
        self._phase = phase
        if phase is before:
            return
        if phase in (Phase.READY, Phase.STARTING):
            for neuron in self._failed:
                self._post(Repaint(incoming.note_promoted(self._session, neuron, "")))
            self._failed.clear()
        if phase is Phase.READY and not self._session.scene.stale:
            self._ask(self._session.state.neuron)

    def ask(self) -> None:
        """Ask about the page's neuron, also if that has failed before."""
        self._failed.discard(self._session.state.neuron)
        self._ask(self._session.state.neuron)

    def ask_when_rested(self) -> None:
        """Ask about the page's neuron once the cursor has rested."""
        self._tasks.run_task(self._ask_when_rested(self._session.state.neuron))

    async def _ask_when_rested(self, neuron: Neuron) -> None:
        await asyncio.sleep(self._ask_after_s)
        self._ask(neuron)

    def _ask(self, neuron: Neuron) -> None:
        known = neuron in self._session.promoted or neuron in self._asked or neuron in self._failed
        if neuron == self._session.state.neuron and not known:
            self._asked.add(neuron)
            self._post(Repaint(incoming.note_promoted(self._session, neuron, "asking the model")))
            self._tasks.run_task(self._asking(neuron))

    async def _asking(self, neuron: Neuron) -> None:
        try:
            answer = await self._link.ask(PromotedRequest(neuron, PROMOTED))
        except Superseded:
            self._asked.discard(neuron)
            self._post(Repaint(incoming.note_promoted(self._session, neuron, "")))
            await self._ask_when_rested(neuron)
        except VlmscopeError as error:
            self._asked.discard(neuron)
            self._failed.add(neuron)
            self._post(Repaint(incoming.note_promoted(self._session, neuron, " ".join(str(error).splitlines()))))
        else:
            self._asked.discard(neuron)
            self._post(Repaint(incoming.take_promoted(self._session, answer)))
            await asyncio.to_thread(save_promoted, self._session.store.manifest.model, answer, PROMOTED)
