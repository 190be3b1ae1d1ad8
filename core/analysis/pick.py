"""Which neurons to explain first: the clearest ones, as in ``clearness.py``; of equal ones the lower address first."""

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.clearness import clearness
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.store.reader import ScanStore


def clearest_of_layers(store: ScanStore, labels: Labels, count: int) -> list[Neuron]:
    """The ``count`` clearest neurons of each layer, layer by layer; unknown ones are left out.

    Raises:
        StoreError: if the scan's concepts are damaged.
    """
    clear, found = clearness(store, labels), list[Neuron]()
    for layer in range(store.layers):
        wanted = np.zeros_like(labels.high_confidence)
        wanted[layer] = labels.label[layer] != Label.UNKNOWN
        found += _clearest(store, clear, wanted, count)
    return found


def clearest_of_label(store: ScanStore, labels: Labels, label: Label, count: int) -> list[Neuron]:
    """The ``count`` clearest neurons of a label over all layers. Raises as ``clearest_of_layers``."""
    return _clearest(store, clearness(store, labels), labels.label == label, count)


def _clearest(store: ScanStore, clear: NDArray[np.float32], wanted: NDArray[np.bool_], count: int) -> list[Neuron]:
    at = np.flatnonzero(wanted)
    order = at[np.argsort(-clear.ravel()[at], kind="stable")][:count]
    return [store.numbering.of_flat(flat) for flat in order]
