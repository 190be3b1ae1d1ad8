"""Finding neurons: by a word of their concepts or texts, by label; which ones the list holds, in which order."""

import asyncio
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
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


class FindControl:
    """Search, filter, order, thresholds; what takes long is done in a thread."""

    def __init__(self, session: Session, notebook: NotebookLink, post: Post, tasks: Tasks, small: int) -> None:
        """``small``: neurons that are labelled and sorted at once."""
        self._session = session
        self._notebook = notebook
        self._post = post
        self._tasks = tasks
        self._small = small
        self._found: tuple[Noted, str, frozenset[Neuron]] | None = None  # the last search of the notebook's texts

    @property
    def _large(self) -> bool:
        return self._session.scene.columns.labels.label.size > self._small

    # -- filter, order, labels -----------------------------------------------------------------------------------

    def choose_filter(self) -> AskChoice:
        """Ask what to filter by."""
        from vlmscope.tui.dialogs.choice import filter_after, filter_choices

        def chosen(letter: str) -> None:
            self._tasks.run_task(self.set_filter(filter_after(self._session.state.filter, letter)))

        return AskChoice("filter", filter_choices(self._session.state.filter), chosen)

    def choose_order(self) -> AskChoice:
        """Ask what to sort by."""
        from vlmscope.tui.dialogs.choice import ORDERS, order_choices

        def chosen(letter: str) -> None:
            self._tasks.run_task(self.set_order(ORDERS[letter]))

        return AskChoice("sort by", order_choices(self._session.state.order), chosen)

    async def set_filter(self, filter_: Filter) -> None:
        """List other neurons, after the columns that this needs are computed."""
        if self._large:
            await asyncio.to_thread(compute, self._session.scene.columns, filter_, self._session.state.order)
        self._post(Repaint(self._session.set_filter(filter_)))

    async def set_order(self, order: Order) -> None:
        """Sort the list, after the columns that this needs are computed."""
        if self._large:
            await asyncio.to_thread(compute, self._session.scene.columns, self._session.state.filter, order)
        self._post(Repaint(self._session.change_state(order=order)))

    def relabel(self, thresholds: Thresholds) -> None:
        """Label all neurons again; the last thresholds asked for win."""
        self._session.wanted = thresholds
        scene = self._session.scene
        if self._large:
            self._tasks.run_task(self._relabel_in_thread(thresholds))
            return
        store = self._session.store
        columns = Columns(store, store.labels(thresholds), scene.columns.concepts)
        self._post(Repaint(incoming.take_labels(self._session, columns)))

    async def _relabel_in_thread(self, thresholds: Thresholds) -> None:
        store, concepts, state = self._session.store, self._session.scene.columns.concepts, self._session.state

        def work() -> Columns:
            columns = Columns(store, store.labels(thresholds), concepts)
            compute(columns, state.filter, state.order)
            return columns

        self._post(Repaint(incoming.take_labels(self._session, await asyncio.to_thread(work))))

    # -- search --------------------------------------------------------------------------------------------------

    def search(self, text: str) -> Changed:
        """Go to what ``text`` means, or to the next neuron of its kind.

        Raises:
            UsageError: if it means nothing.
        """
        found = moves.search_of(self._session, text)
        if found.neuron is not None:
            return self._session.go(found.neuron)
        return self._session.change_state(search=text) | self.next_match(1)

    def next_match(self, by: int) -> Changed:
        """Go to the next neuron, or the one before, that was searched for."""
        if not self._session.state.search:
            self._post(Notice("Nothing was searched for: / searches."))
            return Changed.NOTHING
        found = moves.search_of(self._session, self._session.state.search)
        if found.word:
            self._tasks.run_task(self._next_with_word(found, by))
            return Changed.NOTHING
        return self._moved(moves.to_label(self._session, found, by))

    async def _next_with_word(self, found: Search, by: int) -> None:
        in_text = await self._with_text(found.word)
        self._post(Repaint(self._moved(moves.to_word(self._session, found, in_text, by))))

    def _moved(self, moved: moves.Moved) -> Changed:
        changed, note = moved
        if note:
            self._post(Notice(note))
        return changed

    async def _with_text(self, words: str) -> frozenset[Neuron]:
        """Neurons with ``words`` in a note, a tag, an explanation, or in what the paper says of them."""
        wanted = words.casefold()
        store, noted = self._session.store, self._session.scene.noted
        layers, neurons = store.layers, store.neurons

        def search(notebook: "Notebook") -> frozenset[Neuron]:
            found = (text.neuron for text in notebook.texts() if wanted in text.text.casefold())
            return frozenset(neuron for neuron in found if neuron.layer < layers and neuron.index < neurons)

        if self._found is None or self._found[0] is not noted or self._found[1] != words:
            self._found = (noted, words, await self._notebook.read(search, frozenset()))
        paper = (neuron for neuron, known in self._session.published.items() if wanted in known.text.casefold())
        return self._found[2] | frozenset(paper)

    def choose_published(self) -> AskChoice:
        """Ask which of the paper's neurons to go to.

        Raises:
            UsageError: if this is not a scan of the paper's model.
        """
        if not self._session.published:
            raise UsageError(
                "The paper's neurons are LLaVA-1.5-7B's, at the hook point gate: this scan is of another model.",
                "Scan llava-hf/llava-1.5-7b-hf to compare with them.",
            )
        from vlmscope.tui.dialogs.choice import LETTERS

        known, here = list(self._session.published.values()), self._session.state.neuron
        choices = [
            Choice(letter, f"{one.neuron} {one.label.letter} {one.text[:44]}", one.neuron == here)
            for letter, one in zip(LETTERS, known, strict=False)
        ]

        def chosen(letter: str) -> None:
            self._post(Repaint(self._session.go(known[LETTERS.index(letter)].neuron)))

        return AskChoice("the paper's neurons", choices, chosen)
