"""Finding neurons: by address, by label, by a word of their concepts; what the list keeps, and in which order."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.tui.browse.score import ScoreScreen
from vlmscope.tui.command_line import Search, read_search
from vlmscope.tui.views.selection import select
from vlmscope.tui.views.state import Filter, Order


class FindingScreen(ScoreScreen):
    """Going to neurons, search, filter and order."""

    def go_row(self, position: int) -> None:
        """Go to a row of the list."""
        if len(self._selection):
            self.go(self._selection.at(min(max(position, 0), len(self._selection) - 1)))

    async def action_search(self) -> None:
        await self.ask_line(
            "search", "/", "a word of the concepts, 27.3900, an index of this layer, or a label: firm visual", []
        )

    def search(self, text: str) -> None:
        """Go to what ``text`` means, or to the next neuron of its kind.

        Raises:
            UsageError: if it means nothing.
        """
        state = self.state
        found = read_search(text, state.neuron.layer, self.store.layers, self.store.neurons)
        if found.neuron is not None:
            self.go(found.neuron)
            return
        self.become(replace(state, search=text))
        self.action_match(1)

    def action_match(self, by: int) -> None:
        state = self.state
        if not state.search:
            self.say("Nothing was searched for: / searches.")
            return
        found = read_search(state.search, state.neuron.layer, self.store.layers, self.store.neurons)
        if found.word:
            self.chore(self._next_with_word(found, by))
            return
        rows = self._selection.rows
        hits = np.ones(len(rows), dtype=np.bool_)
        if found.label is not None:
            hits &= self.labels.label.ravel()[rows] == found.label
        if found.firm:
            hits &= self.labels.high_confidence.ravel()[rows]
        positions = np.flatnonzero(hits)
        if not len(positions):
            self.say(f"No neuron of this list is {plain(state.search)}.")
            return
        at = self._cursor if self._cursor is not None else 0
        later = positions[positions > at] if by > 0 else positions[positions < at][::-1]
        if not len(later):
            self.say("From the list's other end." if len(positions) > 1 else "That is the only match.")
        self.go_row(int(later[0] if len(later) else positions[0 if by > 0 else -1]))

    async def _next_with_word(self, found: Search, by: int) -> None:
        """Go to the neuron of any layer that has the word most strongly, from there to the next one in strength."""
        ranked = self._with_word(found, await self.with_text(found.word))
        if not len(ranked):
            self.say(self._nothing(found))
            return
        here = self.state.neuron.layer * self.store.neurons + self.state.neuron.index
        at = np.flatnonzero(ranked == here)
        place = (int(at[0]) + by) % len(ranked) if len(at) else 0
        self.go(Neuron(*divmod(int(ranked[place]), self.store.neurons)))
        self.say(f"{plain(found.word, 40)}: {place + 1} of {len(ranked)}, strongest first.")

    def _with_word(self, found: Search, in_text: frozenset[Neuron]) -> NDArray[np.int64]:
        """The neurons that have a word in their texts or among their concepts, and pass the filter.

        Args:
            in_text: those that have it in the notebook, or in what the paper says of them: they lead.

        Returns:
            int64, flat numbers, the strongest first, of equals the lower address.

        Raises:
            StoreError: if there are no words to search.
        """
        if self.concepts is None and not self.published and not self.noted.marks:
            whole = self.store.manifest.progress is None
            raise StoreError(
                "This scan has no concepts: there are no words to search.",
                "vlmscope concepts SCAN adds them." if whole else "They are found when the scan is whole.",
            )
        shape = (self.store.layers, self.store.neurons)
        strength = np.zeros(shape, np.float32) if self.concepts is None else self.concepts.find(found.word)
        for neuron in in_text:
            strength[neuron.layer, neuron.index] = np.inf
        kept = self.state.filter
        label = found.label if found.label is not None else kept.label
        both = replace(kept, label=label, high_confidence=kept.high_confidence or found.firm)
        both = both if kept.layers is not None else replace(both, all_layers=True)
        rows = select(self.columns, self.noted, both, Order.INDEX, 0).rows
        flat = strength.ravel()[rows]
        order = np.argsort(-flat, kind="stable")[: np.count_nonzero(flat > 0)]
        return rows[order]

    def _nothing(self, found: Search) -> str:
        if not found.word:
            return f"No neuron of this list is {plain(self.state.search)}."
        similar = self.concepts.similar(found.word) if self.concepts is not None else ()
        item = f" Similar words: {', '.join(similar)}." if similar else ""
        kinds = [
            found.label.word if found.label is not None else "",
            "firm" if found.firm else "",
            str(self.state.filter),
        ]
        which = "".join(f" {kind}" for kind in kinds if kind not in ("", "all"))
        return plain(f"No{which} neuron has {found.word!r} among its concepts or in its texts.{item}", 200)

    async def action_filter(self) -> None:
        from vlmscope.tui.dialogs.choice import ChoiceScreen, filter_choices

        await self.app.push_screen(ChoiceScreen("filter", filter_choices(self.state.filter)), self._filter_chosen)

    def _filter_chosen(self, letter: str | None) -> None:
        from vlmscope.tui.dialogs.choice import filter_after

        if letter is not None:
            self.chore(self.set_filter(filter_after(self.state.filter, letter)))

    async def set_filter(self, kept: Filter) -> None:
        """Keep other neurons; the one on the page stays if it is among them, else the nearest one comes."""
        await self.become_when_ready(replace(self.state, filter=kept))
        if not self.listed and self._cursor is not None:
            self.go_row(self._cursor)

    async def action_sort(self) -> None:
        from vlmscope.tui.dialogs.choice import ORDERS, ChoiceScreen, order_choices

        def chosen(letter: str | None) -> None:
            if letter is not None:
                self.chore(self.become_when_ready(replace(self.state, order=ORDERS[letter])))

        await self.app.push_screen(ChoiceScreen("sort by", order_choices(self.state.order)), chosen)
