"""Which neurons the list holds, in which order: index arrays over the scan, nothing else.

A neuron's flat number is ``layer * F + index``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.notebook.values import VERDICTS, MarkBit, Verdict
from vlmscope.tui.views.columns import Columns, Noted, TextHits, text_terms, value
from vlmscope.tui.views.filters import Decided, Filter
from vlmscope.tui.views.state import Listed, Order


@dataclass(frozen=True, eq=False)
class Selection:
    """The list's rows: flat neuron numbers in display order, int64 (rows,)."""

    rows: NDArray[np.int64]
    numbering: Numbering  #: of the scan's neurons

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, position: int) -> Neuron:
        return self.numbering.of_flat(self.rows[position])

    def position(self, neuron: Neuron) -> int | None:
        """The row of ``neuron``, or None if the list does not hold it."""
        found = np.flatnonzero(self.rows == self.numbering.flat(neuron))
        return int(found[0]) if len(found) else None

    def nearest(self, neuron: Neuron, direction: int = 1) -> int | None:
        """The row whose address is nearest to ``neuron``; on equal distance, the one in ``direction``."""
        if not len(self.rows):
            return None
        away = self.rows - self.numbering.flat(neuron)
        return int(np.argmin(2 * np.abs(away) - (np.sign(away) == direction)))


def select(
    columns: Columns, noted: Noted, filter_: Filter, order: Order, layer: int, hits: TextHits = MappingProxyType({})
) -> Selection:
    """The rows for a filter and an order; equal neurons stay in the order of their addresses.

    Args:
        layer: the layer to list, unless the filter takes more.
        hits: of the texts that the filter asks for; where one is missing, no text has it.
    """
    labels = columns.labels
    layers, neurons = labels.label.shape
    first, last = filter_.layers or ((0, layers - 1) if filter_.all_layers else (layer, layer))
    chosen = slice(min(first, layers) * neurons, min(last + 1, layers) * neurons)
    mask = np.ones(max(chosen.stop - chosen.start, 0), dtype=np.bool_)
    for condition in _conditions(columns, noted, filter_, hits, chosen):
        mask &= condition
    rows = np.flatnonzero(mask).astype(np.int64) + chosen.start
    if order is not Order.INDEX:
        keys = [_descending(column[rows]) for column in _by(columns, noted, filter_, order, hits)]
        if len(keys) == 1:
            # A number sorts several times faster than places do: the key above, the place below, so equal ones stay.
            rows = rows[np.sort((keys[0].astype(np.int64) << 32) | np.arange(len(rows))) & 0xFFFFFFFF]
        elif keys:
            rows = rows[np.lexsort(keys[::-1])]
    return Selection(rows, columns.store.numbering)


def _decided(verdict: NDArray[np.uint8], wanted: Decided) -> NDArray[np.bool_]:
    if wanted in (Decided.NONE, Decided.ANY):
        decided: NDArray[np.bool_] = verdict > 0
        return decided if wanted is Decided.ANY else ~decided
    same: NDArray[np.bool_] = verdict == VERDICTS.index(Verdict(wanted))
    return same


def _descending(values: NDArray[Any]) -> NDArray[np.int32]:
    """Whole numbers that sort ``values``, integers or float32, the largest first, and what is not a number last."""
    if values.dtype.kind in "bui":
        return -values.astype(np.int32)
    # The bits of a float sort as a whole number does; of negative ones the other way round. Adding 0 makes -0 0.
    negative = np.where(np.isnan(values), np.inf, -values).astype(np.float32) + np.float32(0)
    bits = negative.view(np.int32)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _conditions(
    columns: Columns, noted: Noted, filter_: Filter, hits: TextHits, chosen: slice
) -> Iterator[NDArray[np.bool_]]:
    """What must hold, each as bool for the neurons ``chosen``."""
    labels = columns.labels
    if filter_.label is not None:
        yield labels.label.ravel()[chosen] == filter_.label
    if filter_.high_confidence:
        yield labels.high_confidence.ravel()[chosen]
    if filter_.verdict is not None:
        yield _decided(noted.verdict[chosen], filter_.verdict)
    for wanted, bit in (
        (filter_.explained, MarkBit.EXPLAINED),
        (filter_.scored, MarkBit.SCORED),
        (filter_.bookmarked, MarkBit.BOOKMARK),
    ):
        if wanted:
            yield noted.has(bit)[chosen]
    if filter_.checked:
        flat = [neuron.layer * noted.neurons + neuron.index for neuron in noted.checked]
        yield _among(np.array(flat, dtype=np.int64), chosen)
    if filter_.fragile:
        yield columns.fragile[chosen]
    if filter_.preference is not None:
        yield columns.preference[chosen] == filter_.preference
    for one in filter_.ranges:
        yield one.holds(value(columns, noted, one.value)[chosen])
    if filter_.words:
        yield match(columns, filter_, hits)[chosen] > 0
    for term in text_terms(filter_):
        if term[0] is not None:
            yield _among(hits.get(term, np.zeros(0, dtype=np.int64)), chosen)


def _among(flat: NDArray[np.int64], chosen: slice) -> NDArray[np.bool_]:
    """Which of the neurons ``chosen`` are among these."""
    found = np.zeros(max(chosen.stop - chosen.start, 0), dtype=np.bool_)
    found[flat[(flat >= chosen.start) & (flat < chosen.stop)] - chosen.start] = True
    return found


def match(columns: Columns, filter_: Filter, hits: TextHits) -> NDArray[np.float32]:
    """How strongly each neuron has the words of a filter: infinitely where a text of the notebook has them."""
    strength = columns.strength_of(filter_.words)
    in_text = hits.get((None, filter_.words))
    if in_text is not None and len(in_text):
        strength = strength.copy()
        strength[in_text] = np.inf
    return strength


def _by(columns: Columns, noted: Noted, filter_: Filter, order: Order, hits: TextHits) -> list[NDArray[Any]]:
    """The columns that sort, the first one first; each (L * F,), the larger the earlier."""
    labels = columns.labels
    if order.label is not None:
        return [labels.votes.reshape(-1, 4)[:, order.label]]
    makers: dict[Order, Callable[[], list[NDArray[Any]]]] = {
        Order.MAXIMUM: lambda: [columns.store.maximum.ravel()],
        Order.MARGIN: lambda: [columns.margin],
        Order.CONCEPT: lambda: [columns.strength],
        Order.SCORE: lambda: [noted.independent, noted.score],
        Order.CLEAREST: lambda: [labels.high_confidence.ravel(), columns.clearness],
        Order.FRAGILE: lambda: [columns.fragile, -columns.margin],
        Order.PREFERENCE: lambda: [-columns.preference.astype(np.int8), columns.passes],
        Order.MATCH: lambda: [match(columns, filter_, hits)] if filter_.words else [],
    }
    return makers[order]()


def check_there(columns: Columns, listed: Listed, *, has_texts: bool) -> None:
    """Check that the scan has what a filter and an order need.

    Args:
        has_texts: whether there is a notebook, or the paper, whose texts may have words.

    Raises:
        StoreError: if it lacks words to search, or a panel.
    """
    store, filter_ = columns.store, listed.filter
    if filter_.preference is not None or listed.order is Order.PREFERENCE:
        store.panel_for("A modality preference")
    if filter_.words and columns.concepts is None and not has_texts:
        whole = store.manifest.progress is None
        raise StoreError(
            "This scan has no concepts: there are no words to search.",
            "vlmscope concepts SCAN adds them." if whole else "They are found when the scan is whole.",
        )


def place_in(selection: Selection, neuron: Neuron) -> dict[str, Any]:
    """The scene's ``cursor`` and ``listed``: the row of ``neuron``, or the nearest one."""
    position = selection.position(neuron)
    listed = position is not None
    return {"cursor": position if listed else selection.nearest(neuron), "listed": listed}
