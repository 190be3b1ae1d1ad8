"""Lists of neurons: related ones, those that fire where the user points, those that a word rests on.

Each list opens at once, and is filled when it is there. Leaving it stops what is still being asked for it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from vlmscope.core.base.errors import Cancelled, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import AskChoice, AskNeurons, NeuronsFound, Post, Repaint
from vlmscope.tui.views.neurons import NeuronTable


class _List:
    """One open list: the question that stands on the screen, and the work that fills it."""

    def __init__(
        self, control: "PointControl", title: str, waiting: str = "…", rules: Callable[[], AskChoice] | None = None
    ) -> None:
        self._post, self._tasks = control.post, control.tasks
        self._work: asyncio.Task[None] | None = None
        self.title = title
        self.question = AskNeurons(NeuronTable(title, (waiting,)), control.go, self.stop, rules)

    def fill(self, work: Coroutine[None, None, NeuronTable]) -> None:
        """Do ``work``, and show its table, or why there is none; what filled the list before is stopped."""
        self.stop()
        self._work = self._tasks.run_task(self._fill(work))

    async def _fill(self, work: Coroutine[None, None, NeuronTable]) -> None:
        try:
            self.show(await work)
        except Cancelled:
            self.show(NeuronTable(self.title, ("Stopped.",)))
        except VlmscopeError as error:
            self.show(NeuronTable(self.title, tuple(str(error).splitlines())))

    def show(self, table: NeuronTable) -> None:
        self._post(NeuronsFound(self.question, table))

    def stop(self) -> None:
        if self._work is not None:
            self._work.cancel()


@dataclass(eq=False)
class PointControl:
    """Opens lists of neurons and fills them."""

    session: Session
    link: ModelLink
    post: Post
    tasks: Tasks

    def go(self, neuron: Neuron) -> None:
        """Go to a neuron of a list; the sample that is shown is another then, the user's own picture stays."""
        self.post(Repaint(self.session.go(neuron)))

    def related(self) -> AskNeurons:
        """The neurons that share top samples with the page's."""
        from vlmscope.core.analysis.related import related
        from vlmscope.tui.views.pointed import related_table

        session, neuron, labels = self.session, self.session.state.neuron, self.session.scene.columns.labels
        opened = _List(self, f"related to {neuron}")

        async def find() -> NeuronTable:
            return related_table(await asyncio.to_thread(related, session.store, neuron, labels))

        opened.fill(find())
        return opened.question
