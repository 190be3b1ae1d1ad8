"""Which neurons act together: the correlation of their activations over panel samples.

Top samples are left out: a neuron's own and the other's. So it is evidence beside the shared top samples, and of other
samples. Activations count as norms do, negative ones as 0.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.arrays import COPY_AGAIN
from vlmscope.core.store.panel import Panel
from vlmscope.core.store.reader import ScanStore

LEAST = 20  #: samples that a correlation needs
BLOCK = 2048  #: neurons looked at together: their activations fit into the processor's cache
THREADS = min(4, os.cpu_count() or 1)


def correlation(store: ScanStore, panel: Panel, neuron: Neuron, other: Neuron) -> float | None:
    """Pearson's correlation of two neurons over panel samples in neither one's list; float64.

    Returns:
        None where there are fewer than ``LEAST`` such samples, or one neuron has the same activation on all of them.

    Raises:
        StoreError: if their top samples are damaged.
    """
    in_lists = np.isin(panel.samples, [*store.top_samples(neuron), *store.top_samples(other)])
    first, second = (
        panel.largest((one.layer, one.index))[~in_lists].clip(0).astype(np.float64) for one in (neuron, other)
    )
    if len(first) < LEAST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    first, second = first - first.mean(), second - second.mean()
    return float(np.clip(first @ second / np.sqrt((first @ first) * (second @ second)), -1, 1))


def correlations(store: ScanStore, panel: Panel, neuron: Neuron) -> NDArray[np.float32]:
    """``correlation`` with every neuron: float32 (L, F), nan where there is none; in float32, within 1e-3.

    Raises:
        StoreError: if a top sample is not a sample of the scan.
    """
    return _Correlating(store, panel, neuron).all()


class _Correlating:
    """Sums over the samples outside the neuron's own list by products; what is in the others' is taken off."""

    def __init__(self, store: ScanStore, panel: Panel, neuron: Neuron) -> None:
        counts = ~np.isin(panel.samples, store.top_samples(neuron))
        own = panel.largest((neuron.layer, neuron.index)).clip(0).astype(np.float64)
        own -= own[counts].mean() if counts.any() else 0  # sums of products lose less
        self._own = np.where(counts, own, 0)
        self._store, self._shape = store, (store.layers, store.neurons)
        self._top = store.arrays["top_sample"].reshape(-1, store.manifest.top_n)
        self._panel, size = panel, panel.drawn
        #: Columns of what is stored that count, and by them the weights of the sums.
        self._counted = np.zeros(size, dtype=np.float32)
        self._counted[panel.columns] = counts
        self._products = np.zeros(size, dtype=np.float32)
        self._products[panel.columns] = self._own
        self._weights = (self._counted, self._products)
        #: By sample, its column where it counts, else ``size``; the last is -1, no sample.
        self._column = np.full(store.manifest.samples + 1, size, dtype=np.int16)
        self._column[panel.samples[counts]] = np.arange(size)[panel.columns][counts]

    def all(self) -> NDArray[np.float32]:
        found = np.empty(len(self._top), dtype=np.float32)
        blocks = [slice(begin, begin + BLOCK) for begin in range(0, len(found), BLOCK)]

        def work(block: slice) -> None:
            found[block] = self._block(block)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, blocks))
        return found.reshape(self._shape)

    def _block(self, block: slice) -> NDArray[np.float32]:
        values = self._panel.positive(block)
        # By einsum, which starts no threads of its own: see ``contrast.py``.
        total, product = (np.einsum("np,p->n", values, one).astype(np.float64) for one in self._weights)
        square = np.einsum("np,p->n", np.square(values), self._counted).astype(np.float64)
        n = np.full(len(values), self._counted.sum(), dtype=np.float64)
        own, own_square = np.full(len(values), self._own.sum()), np.full(len(values), np.square(self._own).sum())
        try:
            columns = np.take(self._column, self._top[block])
        except IndexError:
            raise StoreError(
                f"{self._store.folder} is damaged: a top sample is not a sample of it.", COPY_AGAIN
            ) from None
        # Of two axes nonzero takes seven times as long.
        hit = np.flatnonzero(columns.ravel() < len(self._counted))
        row = hit // columns.shape[1]
        if len(row):
            column = columns.ravel()[hit]
            theirs, mine = values[row, column].astype(np.float64), self._products[column].astype(np.float64)
            for whole, taken in (
                (n, np.ones(len(row))),
                (total, theirs),
                (product, theirs * mine),
                (square, theirs * theirs),
                (own, mine),
                (own_square, mine * mine),
            ):
                np.subtract(whole, np.bincount(row, taken, minlength=len(values)), out=whole)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = square - total * total / n
            own_spread = own_square - own * own / n
            r = (product - own * total / n) / np.sqrt(spread * own_spread)
        r[(n < LEAST) | (spread <= 1e-6 * square) | (own_spread <= 1e-12 * own_square)] = np.nan
        found: NDArray[np.float32] = np.clip(r, -1, 1).astype(np.float32)
        return found
