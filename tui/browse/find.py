"""Finding neurons: by a line that is typed and filters at once; the list's filter and order; back and forward."""

import asyncio
from dataclasses import dataclass, field, fields, replace

from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import counted
from vlmscope.core.method.labels import Thresholds
from vlmscope.tui.browse import incoming, moves
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.browse.texts import TextReader
from vlmscope.tui.command_line import read_search
from vlmscope.tui.messages import AskChoice, Choice, Notice, Post, Repaint
from vlmscope.tui.views.columns import Columns, compute, text_terms
from vlmscope.tui.views.filters import Filter, read_filter
from vlmscope.tui.views.history import place_of
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.views.selection import Selection, check_there, place_in
from vlmscope.tui.views.state import Listed, Order, State


@dataclass(eq=False)
class FindControl:
    """Search, filter, order, thresholds, places; for more neurons than ``small``, in a thread."""

    session: Session
    texts: TextReader
    post: Post
    tasks: Tasks
    small: int
    _turn: int = 0  # of the lines that were typed: an answer to an earlier one is dropped
    _previewing: asyncio.Lock = field(default_factory=asyncio.Lock)

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
        """List other neurons, after the columns that this needs are computed.

        What changes while a search's result is listed also holds for the list before: the next search keeps to it.
        """
        state = self.session.state
        left = state.left
        if left is not None:
            before = {one.name: getattr(state.filter, one.name) for one in fields(Filter)}
            changed = {name: value for name in before if (value := getattr(filter_, name)) != before[name]}
            left = replace(left, filter=replace(left.filter, **changed))
        await self.show_list(replace(state, filter=filter_, left=left))

    async def set_order(self, order: Order) -> None:
        """Sort the list, after the columns that this needs are computed."""
        state = replace(self.session.state, order=order)
        selection = await self.select(state)
        self.post(Repaint(self.session.set_state(replace(self.session.state, order=order), selection=selection)))

    async def leave(self) -> None:
        """Leave the result of a search or a view: list what was listed before."""
        left = self.session.state.left
        if left is not None:
            await self.show_list(replace(self.session.state, filter=left.filter, order=left.order, left=None))

    async def show_list(self, state: State) -> None:
        """Take the filter and the order of ``state``."""
        selection = await self.select(state)
        now = replace(self.session.state, filter=state.filter, order=state.order, left=state.left)
        self.post(Repaint(self.session.set_list(now, selection)))

    async def select(self, state: State) -> Selection | None:
        """The rows of a state, after all that they need is read and computed; None where they are found in no time.

        Raises:
            StoreError: if the scan lacks what the filter or the order asks for.
            NotebookError: if the notebook cannot be read.
        """
        session = self.session
        texts = bool(session.published) or session.scene.noted.anything
        check_there(session.scene.columns, Listed(state.filter, state.order), has_texts=texts)
        await self.texts.read(state.filter)
        if not self._large:
            return None

        def work() -> Selection:
            compute(session.scene.columns, state.filter, state.order)
            return session.select(state)

        return await asyncio.to_thread(work)

    async def reset(self) -> None:
        """Go back to the scan's own thresholds, and to the list of a layer by index."""
        self.relabel(self.session.store.manifest.thresholds.value())
        await self.show_list(replace(self.session.state, filter=Filter(), order=Order.INDEX, left=None))

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

    async def preview(self, prompt: str, text: str) -> str:
        """List what a line asks for while it is typed.

        Returns:
            how many neurons that is, or why none; empty where nothing was typed, or more was typed meanwhile.
        """
        self._turn = turn = self._turn + 1
        session = self.session
        async with self._previewing:
            if turn != self._turn:
                return ""
            try:
                asked = self._asked(prompt, text) if text.strip() else None
                if not isinstance(asked, Listed):
                    self.post(Repaint(session.end_preview()))
                    return "" if asked is None else f"enter goes to {asked}"
                state = replace(session.state, filter=asked.filter, order=asked.order)
                selection = await self.select(state)
            except (UsageError, StoreError) as error:
                return error.message
            if turn != self._turn:
                return ""
            self.post(Repaint(session.preview(asked, selection if selection is not None else session.select(state))))
            count = len(session.scene.selection)
            return counted(count, "neuron") if count else f"no neuron{_similar(session, asked.filter)}"

    def end(self) -> Changed:
        """The line is typed no more: what it has listed goes."""
        self._turn += 1
        return self.session.end_preview()

    async def enter(self, prompt: str, text: str) -> Changed:
        """Go to the neuron that a line names, or keep the neurons that it asks for as the list, the strongest first.

        Raises:
            UsageError: if the line cannot be read. StoreError, NotebookError: as ``select``.
        """
        session = self.session
        changed = self.end()
        try:
            asked = self._asked(prompt, text)
            if isinstance(asked, Neuron):
                return changed | session.go(asked)
            now = session.state
            left = now.left or Listed(now.filter, now.order)
            state = replace(now, filter=asked.filter, order=asked.order, search=text, left=left)
            if prompt == "filter":
                state = replace(state, left=now.left, search=now.search)
            selection = await self.select(state)
        except BaseException:
            self.post(Repaint(changed))
            raise
        if selection is None:
            selection = session.select(state)
        if not len(selection) and prompt == "search":
            self.post(Notice(nothing(session, asked.filter)))
            return changed | session.change_state(search=text)  # n finds what a scan in progress gets meanwhile
        changed |= session.set_list(state, selection)
        if prompt == "search" and asked.order is Order.MATCH:
            changed |= session.go_row(0, step=True)
            self.post(Notice(moves.place_of_match(text, 0, len(selection), strongest=True)))
        return changed

    def _asked(self, prompt: str, text: str) -> Neuron | Listed:
        """What a line asks for: a search is within the list that was there before the last search."""
        session = self.session
        now = session.kept_state
        if prompt == "filter":
            asked: Neuron | Filter = read_filter(text)
        else:
            asked = read_search(text, now.neuron.layer, session.store.numbering)
        if isinstance(asked, Neuron):
            return asked
        if prompt == "filter":
            order = Order.INDEX if now.order is Order.MATCH else now.order
            return Listed(asked, Order.MATCH if asked.words and order is Order.INDEX else order)
        base = now.left or Listed(now.filter, now.order)
        return Listed(asked.among(base.filter), Order.MATCH if asked.words else base.order)

    async def next_match(self, by: int) -> None:
        """Go to the next neuron, or the one before, that was searched for."""
        session = self.session
        text = session.state.search
        if not text:
            self.post(Notice("There is no search yet: / searches."))
            return
        asked = self._asked("search", text)
        if not isinstance(asked, Listed):
            return
        now = session.state
        if (now.filter, now.order) == (asked.filter, asked.order):
            selection = session.scene.selection
        else:
            state = replace(now, filter=asked.filter, order=asked.order)
            found = await self.select(state)
            selection = session.select(state) if found is None else found
        changed, note = moves.to_match(session, text, selection, by, strongest=asked.order is Order.MATCH)
        self.post(Repaint(changed))
        self.post(Notice(note))

    async def refresh(self) -> None:
        """List again what depends on the notebook's texts, after another vlmscope has changed them."""
        session = self.session
        terms = text_terms(session.state.filter)
        if session.texts is None and any(term not in session.text_hits for term in terms) and session.before is None:
            await self.texts.read(session.state.filter)
            selection = session.select(session.state)
            self.post(Repaint(session.change(selection=selection, **place_in(selection, session.state.neuron))))

    # -- places --------------------------------------------------------------------------------------------------

    async def go_back(self, by: int) -> None:
        """Go to the place before the one that is shown (-1), or to the one after it (1)."""
        session = self.session
        found = session.history.step(by, place_of(session.state))
        if found is None:
            self.post(Notice(f"There is no place to go {'back' if by < 0 else 'forward'} to."))
            return
        place, history = found
        state = replace(
            session.state, neuron=place.neuron, rank=0, filter=place.listed.filter, order=place.listed.order
        )
        selection = await self.select(replace(state, left=place.left))
        session.history = history
        self.post(Repaint(session.set_state(replace(state, left=place.left), selection=selection, step=True)))

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


def nothing(session: Session, filter_: Filter) -> str:
    """Why a search finds no neuron, and which words are spelled alike."""
    which = str(replace(filter_, words=""))
    if not filter_.words:
        return f"No neuron is {which}."
    kind = "" if which == "all" else f" {which}"
    words = filter_.words[:100]
    return f"No{kind} neuron has {words!r} among its concepts or in its texts.{_similar(session, filter_, ' Similar')}"


def _similar(session: Session, filter_: Filter, begin: str = "; similar") -> str:
    concepts = session.scene.columns.concepts
    similar = concepts.similar(filter_.words) if concepts is not None else ()
    end = "." if begin[0] == " " else ""
    return f"{begin} words: {', '.join(similar)}{end}" if similar else ""
