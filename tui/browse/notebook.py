"""The notebook's part: what it holds on all neurons for the list, and on the page's neuron for the page."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import AskChoice, Choice, Notice, Post, Repaint
from vlmscope.tui.views.columns import Noted
from vlmscope.tui.views.noted import read_noted

if TYPE_CHECKING:
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Entry

FEW = 50  #: neurons whose entries are read one by one


@dataclass(eq=False)
class NotebookControl:
    """Reads marks and entries; writes which explanation leads."""

    session: Session
    link: NotebookLink
    post: Post
    tasks: Tasks

    async def read_marks(self) -> None:
        """Read the marks of all neurons, for the list, and the entry of the page's neuron."""
        layers, neurons = self.session.store.layers, self.session.store.neurons
        none = Noted.empty(layers, neurons)
        noted = await self.link.read(lambda notebook: read_noted(notebook, layers, neurons), none)
        if not self.session.notebook_read and self.link.note_on_path:
            self.post(Notice(self.link.note_on_path, None))
        self.post(Repaint(incoming.take_noted(self.session, noted)))
        await self.read_entry()

    async def reported_once(self, work: Coroutine[None, None, None]) -> None:
        """Do ``work``, which reads; a notebook that cannot be used is reported once, not at every look."""
        try:
            await work
        except NotebookError as error:
            if error.message != self.session.scene.entry_problem:
                raise

    async def look(self) -> None:
        """Read what another vlmscope has written."""
        if await self.link.read(lambda notebook: notebook.changed(), False):
            await self.read_marks()

    async def read_entry(self) -> None:
        """Read what the notebook holds on the page's neuron."""
        from vlmscope.core.notebook.values import Entry

        session, neuron = self.session, self.session.state.neuron
        if session.notebook_read and not session.scene.noted.has_entry(neuron):
            entry = Entry(neuron)
        else:
            entry = await self.link.read(lambda notebook: notebook.entry(neuron), Entry(neuron))
        self.post(Repaint(incoming.show_entry(session, entry)))

    async def show_entries(self, neurons: Sequence[Neuron]) -> None:
        """Show what the notebook holds now on these neurons; of many all marks are read, which is faster."""
        if len(neurons) > FEW:
            await self.read_marks()
        elif neurons:
            none: list[Entry] = []
            entries = await self.link.read(lambda notebook: [notebook.entry(neuron) for neuron in neurons], none)
            for entry in entries:
                self.post(Repaint(incoming.take_entry(self.session, entry)))

    def choose_explanation(self) -> AskChoice | None:
        """Ask which explanation leads."""
        from vlmscope.core.notebook.explanation import Source
        from vlmscope.tui.dialogs.choice import LETTERS

        entry = self.session.scene.entry
        if entry is None or entry.neuron != self.session.state.neuron or len(entry.explanations) < 2:
            self.post(Notice("There are no two explanations to choose from."))
            return None
        names = {
            Source.USER: "you",
            Source.PAPER: "the paper",
            Source.CONCEPTS: "its concepts",
            Source.BORROWED: "borrowed",
        }
        saved = entry.explanations[: len(LETTERS)]
        choices = []
        for letter, one in zip(LETTERS, saved, strict=False):
            by = names.get(one.explanation.source) or one.explanation.model[:20]
            choices.append(Choice(letter, f"{one.explanation.text[:48]} ({by})", one.leads))

        def chosen(letter: str) -> asyncio.Task[None]:
            which = saved[LETTERS.index(letter)]
            return self.tasks.run_task(self._lead(which.neuron, which.id))

        return AskChoice("which explanation leads", choices, chosen)

    async def _lead(self, neuron: Neuron, which: int) -> None:
        def lead(notebook: "Notebook") -> "Entry":
            notebook.choose_explanation(neuron, which)
            return notebook.entry(neuron)

        # The explanation's score is now the neuron's in the list, too.
        self.post(Repaint(incoming.take_entry(self.session, await self.link.write(lead))))
