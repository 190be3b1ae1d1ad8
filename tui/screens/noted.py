"""The browse screen's side of the notebook, and of what a neuron writes: gathered for the page's words."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from textual import on

from core.config import Config
from core.errors import NotebookError, StoreError, VlmscopeError
from core.model_messages import Phase, PromotedAnswer
from core.neuron import Neuron
from core.promoted_cache import load_promoted, save_promoted
from core.published import published
from core.scan_store import ScanStore
from tui.keys import keys_of
from tui.messages import PromotedArrived, PromotedFailed, StatusChanged
from tui.screens.meaning import Meaning
from tui.screens.model_link import ClientFactory
from tui.screens.model_talk import ASK_AFTER_S, ModelTalkScreen, plain_lines
from tui.screens.notebook_link import NotebookLink

if TYPE_CHECKING:
    from core.notebook_values import Entry, Mark

PROMOTED = 24  #: tokens asked for on either side: many are one word in several spellings
LOOK_S = 3.0  #: how often others' changes to the notebook are looked for


class NotedScreen(ModelTalkScreen):
    """Marks, entries and promoted tokens."""

    def __init__(
        self, store: ScanStore, config: Config, start: Neuron | None, name: str, factory: ClientFactory
    ) -> None:
        super().__init__(store, config, start, name, factory)
        self.notebook = NotebookLink(store.manifest.scan_id, store.folder, config.notebooks)
        self.published = published(store.manifest)
        self._noted: dict[Neuron, Mark] | None = None
        self._entry: Entry | None = None
        self._entry_problem = ""
        self._writes: dict[Neuron, PromotedAnswer] = {}
        self._writes_asked: set[Neuron] = set()
        self._writes_problems: dict[Neuron, str] = {}
        self._chores: set[asyncio.Task[None]] = set()

    def on_mount(self) -> None:
        try:
            self.concepts = self.store.concepts
        except StoreError as error:
            self.tell(error)
        self.marks = self._signs({})
        # Textual calls the base classes' on_mount as well, after this one.
        self.call_after_refresh(self._begin_notebook)

    def _begin_notebook(self) -> None:
        self.chore(self.read_marks())
        self.set_interval(LOOK_S, lambda: self.chore(self._look()))

    def chore(self, work: Coroutine[None, None, None]) -> None:
        """Do ``work`` beside everything else; what goes wrong in it is told."""
        task = asyncio.create_task(self._guarded(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except VlmscopeError as error:
            if isinstance(error, NotebookError):
                if self._entry_problem == error.message:
                    return  # told already: every look would tell it again
                self._entry_problem = error.message
                self.show_meaning()
            self.tell(error)

    async def close(self) -> None:
        """Stop the model and save what is on its way."""
        await self.link.close()
        await self.notebook.close()

    # -- the notebook --------------------------------------------------------------------------------------------

    async def read_marks(self) -> None:
        """Read who was worked on, for the list, and the entry of the neuron of now."""
        none: dict[Neuron, Mark] = {}
        noted = await self.notebook.read(lambda notebook: notebook.marks(), none)
        self._noted = noted
        self.marks = self._signs(noted)
        self._paint_list()
        await self.read_entry()

    async def _look(self) -> None:
        """Take over what another vlmscope has written."""
        if await self.notebook.read(lambda notebook: notebook.changed(), False):
            await self.read_marks()

    def _signs(self, noted: "dict[Neuron, Mark]") -> dict[Neuron, str]:
        signs = dict.fromkeys(self.published, "*")
        signs.update({neuron: "e" for neuron, mark in noted.items() if mark.explained})
        return signs

    async def read_entry(self) -> None:
        """Read what the notebook holds on the neuron of now, and show it."""
        from core.notebook_values import Entry

        neuron = self.state.neuron
        if self._noted is not None and neuron not in self._noted:
            entry = Entry(neuron)
        else:
            entry = await self.notebook.read(lambda notebook: notebook.entry(neuron), Entry(neuron))
        if neuron == self.state.neuron:
            self._entry_problem = ""
            self._entry = entry
            self.show_meaning()

    # -- words about the neuron ----------------------------------------------------------------------------------

    def settle(self) -> None:
        neuron = self.state.neuron
        moved = self.meaning is None or self.meaning.neuron != neuron
        if moved:
            self._entry = None
            if neuron not in self._writes:
                kept = load_promoted(self.store.manifest.model, neuron, PROMOTED)
                if kept is not None:
                    self._writes[neuron] = kept
            self.meaning = self.make_meaning()
        super().settle()
        if moved:
            self.chore(self.read_entry())
            if neuron not in self._writes and self.link.status.phase in (Phase.READY, Phase.BUSY):
                self.set_timer(ASK_AFTER_S, lambda: self._ask_writes(neuron))

    def make_meaning(self) -> Meaning:
        """All that is known in words about the neuron of now."""
        neuron = self.state.neuron
        entry = self._entry if self._entry is not None and self._entry.neuron == neuron else None
        note = "asking the model" if neuron in self._writes_asked else self._writes_problems.get(neuron, "")
        explain, writes, choose = (keys_of(name, self.config.keys)[0] for name in ("explain", "writes", "choose"))
        return Meaning(
            neuron=neuron,
            concepts=None if self.concepts is None else self.concepts.of(neuron),
            published=self.published.get(neuron),
            entry=entry,
            entry_problem=self._entry_problem,
            writes=self._writes.get(neuron),
            writes_note=note,
            asking=self.asking(neuron),
            explain_key=explain,
            writes_key=writes,
            choose_key=choose,
        )

    def asking(self, neuron: Neuron) -> str:  # noqa: ARG002 (for the screen that asks)
        """What is being done to explain ``neuron``; the screen that asks says it."""
        return ""

    def show_meaning(self) -> None:
        """Paint the page's words anew."""
        if not self._stale:
            self.meaning = self.make_meaning()
            self._paint_page()

    # -- what it writes ------------------------------------------------------------------------------------------

    def action_writes(self) -> None:
        """Ask the model which tokens the neuron promotes; loads it."""
        neuron = self.state.neuron
        self._writes_problems.pop(neuron, None)
        if neuron not in self._writes:
            self._ask_writes(neuron)

    def _ask_writes(self, neuron: Neuron) -> None:
        known = neuron in self._writes or neuron in self._writes_asked or neuron in self._writes_problems
        if neuron == self.state.neuron and not known:
            self._writes_asked.add(neuron)
            self.link.promoted(neuron, PROMOTED)
            self.show_meaning()
            self._paint_all()

    @on(PromotedArrived)
    def _promoted_arrived(self, message: PromotedArrived) -> None:
        answer = message.answer
        self._writes_asked.discard(answer.neuron)
        self._writes[answer.neuron] = answer
        self.chore(asyncio.to_thread(save_promoted, self.store.manifest.model, answer, PROMOTED))
        self.show_meaning()
        self._paint_all()

    @on(PromotedFailed)
    def _promoted_failed(self, message: PromotedFailed) -> None:
        from core.model_process import Superseded

        neuron = message.neuron
        self._writes_asked.discard(neuron)
        if isinstance(message.error, Superseded):
            self.set_timer(ASK_AFTER_S, lambda: self._ask_writes(neuron))
        else:
            self._writes_problems[neuron] = plain_lines(message.error).replace("\n", " ")
        self.show_meaning()
        self._paint_all()

    @on(StatusChanged)
    def _model_ready(self, message: StatusChanged) -> None:
        if message.status.phase in (Phase.READY, Phase.STARTING):
            self._writes_problems.clear()
        if message.status.phase is Phase.READY and not self._stale:
            self._ask_writes(self.state.neuron)
