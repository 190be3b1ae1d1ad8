"""From one state of the browse screen to the next: ``become`` takes a new one and paints what changed.

What is cheap (list, labels, fractions, votes) follows every key at once. What costs more (pictures, words, peaks) does
so too when keys come singly; while a key is held, it waits until the cursor rests, and the picture shown until then is
dimmed and bears its own address.
"""

import asyncio
import gc
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.tui.browse.paint import PaintedScreen
from vlmscope.tui.browse.views import gather_facts
from vlmscope.tui.messages import Relabelled
from vlmscope.tui.views.columns import Columns
from vlmscope.tui.views.selection import select
from vlmscope.tui.views.state import Order, State
from vlmscope.tui.widgets.neuron_list import NeuronList

if TYPE_CHECKING:
    from vlmscope.tui.views.evidence import PictureView

    pass

REST_S = 0.12  #: keys that come faster than this are a held key
SMALL = 20_000  #: neurons that are relabelled at once; more of them in a thread


class StatefulScreen(PaintedScreen):
    """State, selection and labels; what keys do is in ``BrowseScreen``."""

    def on_mount(self) -> None:
        # The first paint needs the labels alone; pictures follow it. (Textual calls the base class's on_mount as well.)
        self.call_after_refresh(self._first_settle)

    def _first_settle(self) -> None:
        self.settle()
        # What was made so far lives as long as the program: steps need not walk over it again and again.
        if not self.app.is_headless:  # many apps share a test's process
            gc.collect()
            gc.freeze()

    # -- from one state to the next ------------------------------------------------------------------------------

    def become(self, state: State) -> None:
        """Take a new state: find its rows, and paint what it changes."""
        old, self.state = self.state, state
        relisted = (old.filter, old.order) != (state.filter, state.order)
        if relisted or (not state.filter.whole and old.neuron.layer != state.neuron.layer):
            self._select()
        elif old.neuron != state.neuron:
            self._find_cursor()
        if (old.neuron, old.rank, old.own) != (state.neuron, state.rank, state.own):
            self._moved()
        else:
            self._paint_all()

    def go(self, neuron: Neuron) -> None:
        """Go to any neuron of the model; its first top sample, or the user's picture, comes with it."""
        self.become(replace(self.state, neuron=neuron, rank=0))

    async def become_when_ready(self, state: State) -> None:
        """``become``, after what its order or filter needs was computed, in a thread where that takes long."""
        if self.labels.label.size > SMALL:
            await asyncio.to_thread(compute, self.columns, state)
        self.become(state)

    def _select(self) -> None:
        state = self.state
        self._selection = select(self.columns, self.noted, state.filter, state.order, state.neuron.layer)
        self._find_cursor()

    def _find_cursor(self) -> None:
        self._cursor = self._selection.position(self.state.neuron)
        if self._cursor is None:
            self._cursor = self._selection.nearest(self.state.neuron)

    def _moved(self) -> None:
        """Load the new picture now, or, while a key is held, when it rests."""
        self._stale = True
        if self._rest is not None:
            self._rest.stop()
            self._rest = None
        if time.monotonic() - self._last_move >= REST_S:
            self.settle()
        else:
            self._paint_all()
            self._rest = self.set_timer(REST_S, self.settle)
        self._last_move = time.monotonic()

    def settle(self) -> None:
        """The cursor rests: gather picture, words and facts of where it is."""
        self._evidence = self.gather()
        neuron = self.state.neuron
        if self._facts is None or self._facts.neuron != neuron:
            self._facts = gather_facts(self.store, neuron)
        self._stale = False
        self._paint_all()
        if self._evidence is not None and self._evidence.visual is None:
            self.want_map(self._evidence)

    def want_map(self, evidence: "PictureView") -> None:
        """The scan has no map of this; the screen with a model asks for one."""

    def gather(self) -> "PictureView | None":
        """The evidence for the state of now, with the model's answer if there is one."""
        from vlmscope.tui.views.evidence import own_evidence, stored_evidence, with_map

        state = self.state
        if state.own is None and not self.store.manifest.valid:
            return None
        try:
            if state.own is not None:
                evidence = own_evidence(state.neuron, state.own, state.thresholds)
            else:
                evidence = stored_evidence(self.store, state.neuron, state.rank, state.thresholds)
        except StoreError as error:
            self.app.notify(str(error), title=error.title, severity="error", markup=False)
            return None
        answer = self.answers.get(evidence.key)
        if evidence.visual is None and answer is not None:
            return with_map(evidence, answer, float(self.store.maximum[state.neuron.layer, state.neuron.index]))
        return replace(evidence, map_problem=self.problems.get(evidence.key, ""))

    # -- new labels ----------------------------------------------------------------------------------------------

    def relabel(self, thresholds: Thresholds) -> None:
        """Label all neurons anew; the last thresholds asked for win."""
        self._wanted = thresholds
        if self.labels.label.size <= SMALL:
            self.take_labels(Columns(self.store, self.store.labels(thresholds), self.concepts))
            return
        task = asyncio.create_task(self._relabel_in_thread(thresholds))
        self._relabelling.add(task)
        task.add_done_callback(self._relabelling.discard)

    async def _relabel_in_thread(self, thresholds: Thresholds) -> None:
        store = self.store

        def work() -> Columns:
            columns = Columns(store, store.labels(thresholds), self.concepts)
            compute(columns, self.state)
            return columns

        self.post_message(Relabelled(await asyncio.to_thread(work)))

    @property
    def wanted(self) -> State:
        """The state with the thresholds that were asked for last, though their labels may be on their way."""
        return replace(self.state, thresholds=self._wanted)

    def take_labels(self, columns: Columns) -> None:
        """Show new labels, unless later ones are on their way, or they are those of an earlier checkpoint."""
        labels = columns.labels
        if labels.thresholds != self._wanted or columns.store is not self.store:
            return
        self.labels = labels
        self._counts = self._count(labels)
        self.columns = columns
        self.state = replace(self.state, thresholds=labels.thresholds)
        self._select()
        if self._evidence is not None and not self._stale:
            self._evidence = self.gather()
        self._paint_all()

    def replace_store(self, columns: Columns) -> None:
        """Go on with a later checkpoint of the same scan; only while the cursor rests.

        What is chosen, filtered and typed stays, and the list's cursor on its line.

        Args:
            columns: of the new checkpoint, at the thresholds that were asked for last.
        """
        neurons = self.query_one(NeuronList)
        line = None if self._cursor is None else self._cursor - neurons.scroll_offset.y
        self._take_store(columns.store)
        self.concepts = columns.concepts
        self.state = replace(self.state, rank=min(self.state.rank, max(self.store.manifest.valid - 1, 0)))
        self._facts = None
        self.take_labels(columns)
        self.settle()
        if line is not None:
            neurons.put_cursor_on(line)


def compute(columns: Columns, state: State) -> None:
    """Have the columns that a state's order or filter reads computed."""
    if state.order is Order.CLEAREST:
        _ = columns.clearness
    if state.order is Order.FRAGILE or state.filter.fragile:
        _ = columns.fragile
