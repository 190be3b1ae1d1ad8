"""Which neurons to explain first: the clearest ones.

Clearer is whose label more of its top samples vote for; then whose concepts are purer, where the scan has concepts;
then the lower address.
"""

import numpy as np
from numpy.typing import NDArray

from core.labels import Label, Labels
from core.neuron import Neuron
from core.scan_store import ScanStore


def clearest_of_layers(store: ScanStore, labels: Labels, count: int) -> list[Neuron]:
    """The ``count`` clearest neurons of each layer, layer by layer; unknown ones are left out.

    Raises:
        StoreError: if the scan's concepts are damaged.
    """
    found: list[Neuron] = []
    for layer in range(store.layers):
        wanted = np.zeros_like(labels.high_confidence)
        wanted[layer] = labels.label[layer] != Label.UNKNOWN
        found += _clearest(store, labels, wanted, count)
    return found


def clearest_of_label(store: ScanStore, labels: Labels, label: Label, count: int) -> list[Neuron]:
    """The ``count`` clearest neurons of a label over all layers. Raises as ``clearest_of_layers``."""
    return _clearest(store, labels, labels.label == label, count)


def _clearest(store: ScanStore, labels: Labels, wanted: NDArray[np.bool_], count: int) -> list[Neuron]:
    at = np.flatnonzero(wanted)
    votes = labels.votes.reshape(-1, labels.votes.shape[-1])[at].max(axis=-1).astype(np.int64)
    concepts = store.concepts
    purity = np.zeros(len(at)) if concepts is None else concepts.purity().reshape(-1)[at]
    order = at[np.lexsort((at, -purity, -votes))][:count]
    return [Neuron(*divmod(int(flat), store.neurons)) for flat in order]
