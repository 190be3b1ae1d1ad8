"""Finding neurons: by a word of their concepts or texts, by label; the list's filter and order."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import UsageError
from vlmscope.core.method.labels import Thresholds
from vlmscope.tui.browse import incoming, moves
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.command_line import Search
from vlmscope.tui.messages import AskChoice, Choice, Notice, Post, Repaint
from vlmscope.tui.views.columns import Columns, Noted, compute
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.state import Filter, Order

if TYPE_CHECKING:
    from vlmscope.core.notebook.notebook import Notebook
    from vlmscope.core.notebook.texts import FoldedTexts


@dataclass(eq=False)
class FindControl:
    """Search, filter, order, thresholds; for more neurons than ``small``, in a thread."""

    session: Session
    notebook: NotebookLink
    post: Post
    tasks: Tasks
    small: int
    _found: tuple[Noted, str, NDArray[np.int64]] | None = None  # the last search of texts that are not kept

    @property
    def _large(self) -> bool:
        return self.session.scene.columns.labels.label.size > self.small

    # -- filter, order, labels -----------------------------------------------------------------------------------

    def choose_filter(self) -> AskChoice:
        """Ask what to filter by."""
        from vlmscope.tui.dialogs.choice import filter_after, filter_choices

        def chosen(letter: str) -> asyncio.Task[None]:
            return self.tasks.run_task(self.set_filter(filter_after(self.session.state.filter, letter)))

        return AskChoice("filter", filter_choices(self.session.state.filter), chosen)

    def choose_order(self) -> AskChoice:
        """Ask what to sort by."""
        from vlmscope.tui.dialogs.choice import ORDERS, order_choices

        order = self.session.state.order
        return AskChoice(
            "sort by", order_choices(order), lambda letter: self.tasks.run_task(self.set_order(ORDERS[letter]))
        )

    async def set_filter(self, filter_: Filter) -> None:
        """List other neurons, after the columns that this needs are computed."""
        await self._compute(filter_, self.session.state.order)
        self.post(Repaint(self.session.set_filter(filter_)))

    async def set_order(self, order: Order) -> None:
        """Sort the list, after the columns that this needs are computed."""
        await self._compute(self.session.state.filter, order)
        self.post(Repaint(self.session.change_state(order=order)))

    async def _compute(self, filter_: Filter, order: Order) -> None:
        if self._large:
            await asyncio.to_thread(compute, self.session.scene.columns, filter_, order)

    def relabel(self, thresholds: Thresholds) -> None:
        """Label all neurons again; the thresholds asked for last win."""
        self.session.wanted = thresholds
        store, concepts, state = self.session.store, self.session.scene.columns.concepts, self.session.state

        def label() -> Columns:
            columns = Columns(store, store.labels(thresholds), concepts)
            compute(columns, state.filter, state.order)
            return columns

        async def label_in_thread() -> None:
            self.post(Repaint(incoming.take_labels(self.session, await asyncio.to_thread(label))))

        if self._large:
            self.tasks.run_task(label_in_thread())
        else:
            self.post(Repaint(incoming.take_labels(self.session, label())))

    # -- search --------------------------------------------------------------------------------------------------

    def search(self, text: str) -> Changed:
        """Go to the neuron that ``text`` names, or to the next match.

        Raises:
            UsageError: if it cannot be read.
        """
        found = moves.search_of(self.session, text)
        if found.neuron is not None:
            return self.session.go(found.neuron)
        return self.session.change_state(search=text) | self.next_match(1)

    def next_match(self, by: int) -> Changed:
        """Go to the next neuron, or the one before, that was searched for."""
        if not self.session.state.search:
            self.post(Notice("There is no search yet: / searches."))
            return Changed.NOTHING
        found = moves.search_of(self.session, self.session.state.search)
        if found.word:
            self.tasks.run_task(self._next_with_word(found, by))
            return Changed.NOTHING
        return self._moved(moves.to_label(self.session, found, by))

    async def _next_with_word(self, found: Search, by: int) -> None:
        in_text = await self._with_text(found.word)
        self.post(Repaint(self._moved(moves.to_word(self.session, found, in_text, by))))

    def _moved(self, moved: moves.Moved) -> Changed:
        changed, note = moved
        if note:
            self.post(Notice(note))
        return changed

    async def _with_text(self, words: str) -> NDArray[np.int64]:
        """Flat numbers of neurons with ``words`` in a note, a tag, an explanation, or in the paper's text on them."""
        wanted, session = words.casefold(), self.session
        neurons = session.store.neurons
        paper = (neuron for neuron, known in session.published.items() if wanted in known.text.casefold())
        flat = np.array([neuron.layer * neurons + neuron.index for neuron in paper], dtype=np.int64)
        return np.union1d(flat, await self._noted_with(words))

    async def _noted_with(self, words: str) -> NDArray[np.int64]:
        """The same of the notebook. Its texts are read once, and kept where they are not too many."""
        session, noted = self.session, self.session.scene.noted
        layers, neurons = session.store.layers, session.store.neurons

        def search(notebook: "Notebook") -> "tuple[FoldedTexts | None, NDArray[np.int64]]":
            texts = notebook.texts(layers, neurons)
            return texts, texts.find(words) if texts is not None else notebook.with_text(words, layers, neurons)

        if session.texts is not None:
            return session.texts.find(words)
        if self._found is None or self._found[0] is not noted or self._found[1] != words:
            nothing: tuple[FoldedTexts | None, NDArray[np.int64]] = None, np.zeros(0, dtype=np.int64)
            texts, found = await self.notebook.read(search, nothing)
            if session.scene.noted is noted:  # nothing was written meanwhile
                session.texts = texts
            self._found = (noted, words, found)
        return self._found[2]

    def choose_published(self) -> AskChoice:
        """Ask which of the paper's neurons to go to.

        Raises:
            UsageError: if this is not a scan of the paper's model.
        """
        if not self.session.published:
            raise UsageError(
                "The paper's neurons are LLaVA-1.5-7B's, at the hook point gate: this scan is of another model.",
                "Scan llava-hf/llava-1.5-7b-hf to compare with them.",
            )
        from vlmscope.tui.dialogs.choice import LETTERS

        known, here = list(self.session.published.values()), self.session.state.neuron
        choices = [
            Choice(letter, f"{one.neuron} {one.label.letter} {one.text[:44]}", one.neuron == here)
            for letter, one in zip(LETTERS, known, strict=False)
        ]

        def chosen(letter: str) -> None:
            self.post(Repaint(self.session.go(known[LETTERS.index(letter)].neuron)))

        return AskChoice("the paper's neurons", choices, chosen)
