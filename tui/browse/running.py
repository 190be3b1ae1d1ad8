"""What is being computed about neurons in the background: shown on their pages, and stopped by a key."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.api_link import ApiLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import Post, Repaint

STOP_KEY = "ctrl+c"  #: wherever the user is; esc leaves views first


@dataclass(eq=False)
class Running:
    """Work of one kind, by neuron.

    Attributes:
        what: names the kind.
        doing: the same for the user.
        agreed: whether the user has agreed, in this session, that it costs.
    """

    what: str
    doing: str
    session: Session
    post: Post
    tasks: Tasks
    api: ApiLink
    agreed: bool = False
    at: dict[Neuron, asyncio.Task[None]] = field(default_factory=dict)

    def begin(self, neuron: Neuron, words: str, work: Coroutine[None, None, None]) -> None:
        """Do ``work`` on ``neuron``, whose page shows ``words`` during it."""
        self.show(neuron, words)
        self.at[neuron] = self.tasks.run_task(work)
        self.at[neuron].add_done_callback(lambda _: self._end(neuron))

    def show(self, neuron: Neuron, words: str) -> None:
        """Show other words during the work."""
        self._set(neuron, f"{words} ({STOP_KEY} stops)")

    def stop(self) -> list[str]:
        """Stop all of it; returns what that was."""
        for task in self.at.values():
            task.cancel()
        return [f"{self.doing} {neuron}" for neuron in self.at]

    def _end(self, neuron: Neuron) -> None:
        self.at.pop(neuron, None)
        self.post(Repaint(self.session.change(spent=self.api.spent)))
        self._set(neuron, "")

    def _set(self, neuron: Neuron, words: str) -> None:
        self.post(Repaint(incoming.set_doing(self.session, self.what, neuron, words)))
