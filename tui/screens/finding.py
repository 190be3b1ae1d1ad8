"""Finding neurons: by address, by label, by a word of their concepts; what the list keeps, and in which order."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.errors import StoreError
from core.neuron import Neuron
from core.plain_text import plain
from tui.screens.commands import Search, read_search
from tui.screens.explain_talk import ExplainScreen
from tui.screens.selection import Selection, select
from tui.screens.state import Filter, Order


class FindingScreen(ExplainScreen):
    """Going to neurons, search, filter and order."""

    _words_found: tuple[str, NDArray[np.bool_]] = ("", np.zeros(0, dtype=np.bool_))

    def go(self, neuron: Neuron) -> None:
        """Go to any neuron of the model; its first top sample, or the user's picture, comes with it."""
        self.become(replace(self.state, neuron=neuron, rank=0))

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
        try:
            selection, hits = self._hits(found)
        except StoreError as error:
            self.tell(error)
            return
        positions = np.flatnonzero(hits)
        if not len(positions):
            self.say(self._nothing(found))
            return
        at = selection.position(state.neuron)
        if at is None:
            # Between two rows: whichever lies in the direction of the step is the next one.
            nearest = selection.nearest(state.neuron, by)
            at = 0 if nearest is None else nearest
            later = positions[positions >= at] if by > 0 else positions[positions <= at][::-1]
        else:
            later = positions[positions > at] if by > 0 else positions[positions < at][::-1]
        if not len(later):
            self.say("From the list's other end." if len(positions) > 1 else "That is the only match.")
        self.go(selection.at(int(later[0] if len(later) else positions[0 if by > 0 else -1])))

    def _hits(self, found: Search) -> tuple[Selection, NDArray[np.bool_]]:
        """The neurons that are searched, and which of them match: a word is looked for in all layers.

        Raises:
            StoreError: if a word is looked for in a scan without concepts.
        """
        state, selection = self.state, self._selection
        if found.word and not state.filter.all_layers:
            everywhere = replace(state.filter, all_layers=True)
            selection = select(self.labels, self.store.maximum, everywhere, Order.INDEX, 0)
        hits = np.ones(len(selection), dtype=np.bool_)
        if found.word:
            hits &= self._with_word(found.word)[selection.rows]
        if found.label is not None:
            hits &= self.labels.label.ravel()[selection.rows] == found.label
        if found.firm:
            hits &= self.labels.high_confidence.ravel()[selection.rows]
        return selection, hits

    def _with_word(self, word: str) -> NDArray[np.bool_]:
        """Which neurons have ``word`` among their concepts, or in what the paper says of them: bool (L * F,)."""
        if self._words_found[0] != word:
            if self.concepts is None and not self.published:
                raise StoreError(
                    "This scan has no concepts: there are no words to search.", "vlmscope concepts SCAN adds them."
                )
            size = self.store.layers * self.store.neurons
            found = self.concepts.find(word).ravel() > 0 if self.concepts is not None else np.zeros(size, np.bool_)
            for neuron, known in self.published.items():
                if word.casefold() in known.text.casefold():
                    found[neuron.layer * self.store.neurons + neuron.index] = True
            self._words_found = (word, found)
        return self._words_found[1]

    def _nothing(self, found: Search) -> str:
        if not found.word:
            return f"No neuron of this list is {plain(self.state.search)}."
        similar = self.concepts.similar(found.word) if self.concepts is not None else ()
        hint = f" Similar words: {', '.join(similar)}." if similar else ""
        kinds = [
            found.label.word if found.label is not None else "",
            "firm" if found.firm else "",
            str(self.state.filter),
        ]
        which = "".join(f" {kind}" for kind in kinds if kind not in ("", "all"))
        return plain(f"No{which} neuron has {found.word!r} among its concepts.{hint}", 200)

    def action_filter(self) -> None:
        from tui.screens.choice import ChoiceScreen, filter_choices

        self.app.push_screen(ChoiceScreen("filter", filter_choices(self.state.filter)), self._filter_chosen)

    def _filter_chosen(self, letter: str | None) -> None:
        from tui.screens.choice import filter_after

        if letter is not None:
            self.set_filter(filter_after(self.state.filter, letter))

    def set_filter(self, kept: Filter) -> None:
        """Keep other neurons; the one on the page stays if it is among them, else the nearest one comes."""
        self.become(replace(self.state, filter=kept))
        if not self.listed and self._cursor is not None:
            self.go_row(self._cursor)

    def action_sort(self) -> None:
        from tui.screens.choice import ORDERS, ChoiceScreen, order_choices

        def chosen(letter: str | None) -> None:
            if letter is not None:
                self.become(replace(self.state, order=ORDERS[letter]))

        self.app.push_screen(ChoiceScreen("sort by", order_choices(self.state.order)), chosen)
