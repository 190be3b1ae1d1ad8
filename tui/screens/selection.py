"""Which neurons the list holds, in which order: index arrays over the scan, nothing else.

A neuron's flat number is ``layer * F + index``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.labels import Labels
from core.neuron import Neuron
from tui.screens.state import Filter, Order


@dataclass(frozen=True)
class Selection:
    """The list's rows: flat neuron numbers in display order, int64 (rows,)."""

    rows: NDArray[np.int64]
    neurons: int  #: FFN units of one layer

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, position: int) -> Neuron:
        layer, index = divmod(int(self.rows[position]), self.neurons)
        return Neuron(layer, index)

    def position(self, neuron: Neuron) -> int | None:
        """The row of ``neuron``, or None if the list does not hold it."""
        found = np.flatnonzero(self.rows == neuron.layer * self.neurons + neuron.index)
        return int(found[0]) if len(found) else None

    def nearest(self, neuron: Neuron, direction: int = 1) -> int | None:
        """The row whose address is nearest to ``neuron``; on equal distance, the one that lies in ``direction``."""
        if not len(self.rows):
            return None
        away = self.rows - (neuron.layer * self.neurons + neuron.index)
        return int(np.argmin(2 * np.abs(away) - (np.sign(away) == direction)))


def select(labels: Labels, maximum: NDArray[np.float32], kept: Filter, order: Order, layer: int) -> Selection:
    """The rows for a filter and an order.

    Args:
        labels: of all neurons, (L, F).
        maximum: gmax, float32 (L, F).
        layer: the layer to list, unless the filter takes all.
    """
    layers, neurons = labels.label.shape
    chosen = slice(0, layers) if kept.all_layers else slice(layer, layer + 1)
    mask = np.ones(labels.label[chosen].shape, dtype=np.bool_)
    if kept.label is not None:
        mask &= labels.label[chosen] == kept.label
    if kept.high_confidence:
        mask &= labels.high_confidence[chosen]
    rows = np.flatnonzero(mask.ravel()).astype(np.int64)
    if order is not Order.INDEX:
        by = labels.votes[chosen][..., order.label] if order.label is not None else maximum[chosen]
        # Stable, so that equal neurons stay in the order of their addresses.
        rows = rows[np.argsort(-by.ravel()[rows].astype(np.float64), kind="stable")]
    return Selection(rows + chosen.start * neurons, neurons)
