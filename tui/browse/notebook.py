"""The browse screen's side of the notebook, and of what a neuron writes: gathered for the page's words."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from textual import on

from vlmscope.core.analysis.published import published
from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import NotebookError, StoreError, VlmscopeError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import Phase, PromotedAnswer
from vlmscope.core.worker.promoted_cache import kept_promoted, load_promoted, save_promoted
from vlmscope.tui.browse.model import ASK_AFTER_S, ModelTalkScreen, plain_lines
from vlmscope.tui.browse.model_link import ClientFactory
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.keys import keys_of
from vlmscope.tui.messages import PromotedArrived, PromotedFailed, StatusChanged
from vlmscope.tui.views.columns import Columns, Noted
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.views.state import Order

if TYPE_CHECKING:
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.values import Entry, Mark
    from vlmscope.core.scoring.report import ScoreReport

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
        self._notebook_read = False
        self._entry: Entry | None = None
        self._entry_problem = ""
        self._writes: dict[Neuron, PromotedAnswer] = {}
        self._kept_promoted = kept_promoted(store.manifest.model, PROMOTED)
        self._writes_asked: set[Neuron] = set()
        self._writes_problems: dict[Neuron, str] = {}
        self._texts_found: dict[str, frozenset[Neuron]] = {}  # of the last search, until the notebook changes
        self._chores: set[asyncio.Task[None]] = set()

    def on_mount(self) -> None:
        self.marks = dict.fromkeys(self.published, " *")
        # Textual calls the base classes' on_mount as well, after this one.
        self.call_after_refresh(self._begin_notes)

    def _begin_notes(self) -> None:
        """The first paint is done: read what it did not need."""
        try:
            self.concepts = self.store.concepts
        except StoreError as error:
            self.tell(error)
        self.columns = Columns(self.store, self.labels, self.concepts)
        if self.meaning is not None:
            self.meaning = self.make_meaning()
        self._paint_all()
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
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self.link.close()
        await self.notebook.close()

    # -- the notebook --------------------------------------------------------------------------------------------

    async def read_marks(self) -> None:
        """Read who was worked on, for the list, and the entry of the neuron of now."""
        layers, neurons = self.store.layers, self.store.neurons
        none = Noted.of({}, {}, layers, neurons)
        self.noted = await self.notebook.read(lambda notebook: read_noted(notebook, layers, neurons), none)
        self._notebook_read = True
        self.marks = self._signs()
        self.relist()
        await self.read_entry()

    async def _look(self) -> None:
        """Take over what another vlmscope has written, and keep where we are for the next session."""
        if await self.notebook.read(lambda notebook: notebook.changed(), False):
            await self.read_marks()
        await self.keep_place()

    async def keep_place(self) -> None:
        """Where the session is; the screen that resumes it has more to say."""

    def _signs(self) -> dict[Neuron, str]:
        """Four cells for the list: verdict, bookmark or the paper's, note or tags, explanation or score."""
        from vlmscope.core.notebook.values import Mark

        signs = dict.fromkeys(self.published, " *")
        nothing = Mark()
        for neuron, mark in self.noted.marks.items():
            if mark != nothing:
                signs[neuron] = sign_of(mark, neuron in self.published)
        return signs

    def take_entry(self, entry: "Entry") -> None:
        """Something new is in the notebook: show it in list and page."""
        mark = mark_of(entry)
        self.noted = self.noted.with_mark(entry.neuron, mark, self.store.neurons)
        self.marks = {**self.marks, entry.neuron: sign_of(mark, entry.neuron in self.published)}
        self.relist()
        if entry.neuron == self.state.neuron:
            self._entry = entry
            self.show_meaning()

    def relist(self) -> None:
        """The notebook has changed: find the rows anew if they depend on it, and paint."""
        self._texts_found = {}
        kept = self.state.filter
        if kept.verdict or kept.explained or kept.scored or kept.bookmarked or self.state.order is Order.SCORE:
            self._select()
        self._paint_all()

    async def read_entry(self) -> None:
        """Read what the notebook holds on the neuron of now, and show it."""
        from vlmscope.core.notebook.values import Entry

        neuron = self.state.neuron
        if self._notebook_read and neuron not in self.noted.marks:
            entry = Entry(neuron)
        else:
            entry = await self.notebook.read(lambda notebook: notebook.entry(neuron), Entry(neuron))
        if neuron == self.state.neuron:
            self._entry_problem = ""
            self._entry = entry
            self.show_meaning()

    async def with_text(self, words: str) -> frozenset[Neuron]:
        """Neurons with ``words`` in a note, a tag, an explanation, or in what the paper says of them."""
        wanted = words.casefold()
        layers, neurons = self.store.layers, self.store.neurons

        def search(notebook: "Notebook") -> frozenset[Neuron]:
            found = (text.neuron for text in notebook.texts() if wanted in text.text.casefold())
            return frozenset(neuron for neuron in found if neuron.layer < layers and neuron.index < neurons)

        if words not in self._texts_found:
            self._texts_found = {words: await self.notebook.read(search, frozenset())}
        paper = (neuron for neuron, known in self.published.items() if wanted in known.text.casefold())
        return self._texts_found[words] | frozenset(paper)

    # -- words about the neuron ----------------------------------------------------------------------------------

    def settle(self) -> None:
        neuron = self.state.neuron
        moved = self.meaning is None or self.meaning.neuron != neuron
        if moved:
            self._entry = None
            if neuron not in self._writes and neuron in self._kept_promoted:
                kept = load_promoted(self.store.manifest.model, neuron, PROMOTED)
                if kept is not None:
                    self._writes[neuron] = kept
            if self._notebook_read and neuron not in self.noted.marks:
                from vlmscope.core.notebook.values import Entry

                self._entry = Entry(neuron)  # most neurons have nothing: a step need not look
            self.meaning = self.make_meaning()
        super().settle()
        if moved and self._entry is None:
            self.chore(self.read_entry())
        if moved and neuron not in self._writes and self.link.status.phase in (Phase.READY, Phase.BUSY):
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
            whole=self.store.manifest.progress is None,
            published=self.published.get(neuron),
            entry=entry,
            scores={} if entry is None or not entry.scores else reports_of(entry),
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
        from vlmscope.core.worker.client import Superseded

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


def read_noted(notebook: "Notebook", layers: int, neurons: int) -> Noted:
    """The notebook's marks and scores as columns: for the notebook's own thread."""
    from vlmscope.core.scoring.statistics import headline, newest_scores

    scores = {neuron: headline(reports.values()) for neuron, reports in newest_scores(notebook).items()}
    known = {neuron: score for neuron, score in scores.items() if score is not None}
    return Noted.of(notebook.marks(), known, layers, neurons)


def reports_of(entry: "Entry") -> "dict[int, tuple[ScoreReport, ...]]":
    """The scores of an entry by their explanation, newest first; those of another version are left out."""
    from vlmscope.core.scoring.report import ScoreReport

    found: dict[int, tuple[ScoreReport, ...]] = {}
    for saved in entry.scores:
        with contextlib.suppress(NotebookError):
            found[saved.explanation_id] = (*found.get(saved.explanation_id, ()), ScoreReport.from_json(saved.body))
    return found


def mark_of(entry: "Entry") -> "Mark":
    """What the list shows of an entry."""
    from vlmscope.core.notebook.values import Mark

    return Mark(
        verdict=entry.verdict,
        bookmark=entry.bookmark,
        has_note=bool(entry.note),
        has_tags=bool(entry.tags),
        explained=any(saved.explanation.source.of_the_neuron for saved in entry.explanations),
        scored=bool(entry.scores),
        failed=entry.failure is not None,
    )


def sign_of(mark: "Mark", published: bool) -> str:
    """Four cells: ✓ ✗ ?, b or *, n t or +, e s or !; blank where there is nothing."""
    verdict = {"keep": "✓", "reject": "✗", "unsure": "?"}.get(mark.verdict or "", " ")
    book = "b" if mark.bookmark else "*" if published else " "
    words = "+" if mark.has_note and mark.has_tags else "n" if mark.has_note else "t" if mark.has_tags else " "
    said = "s" if mark.scored else "e" if mark.explained else "!" if mark.failed else " "
    return f"{verdict}{book}{words}{said}"
