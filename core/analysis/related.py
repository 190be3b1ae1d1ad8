"""Related neurons: those that share the most top samples with one, against the count by chance, without a model.

The rule is the count of shared top samples. On the demo cosines of scores find no better ones; cosines of weights or
of histograms find next to none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.store.arrays import COPY_AGAIN
from vlmscope.core.store.reader import ScanStore

LEAST_SHARED = 3  #: samples; neurons that share fewer are not related
TIMES_CHANCE = 3  #: times the count by chance; the same
LIMIT = 20  #: neurons listed unless told otherwise
BLOCK = 16_384  #: neurons looked at together: their top samples fit into the processor's cache


@dataclass(frozen=True)
class RelatedNeuron:
    """One neuron that shares top samples, and why it is listed.

    Attributes:
        samples: the shared top samples, in the order of the neuron's own on the page.
        label, high_confidence: at the labels' thresholds.
        concept: its leading concept; empty where it or the scan has none.
    """

    neuron: Neuron
    samples: tuple[int, ...]
    label: Label
    high_confidence: bool
    concept: str

    @property
    def shared(self) -> int:
        """How many top samples both have."""
        return len(self.samples)


@dataclass(frozen=True)
class RelatedNeurons:
    """The neurons related to one.

    Attributes:
        found: those that share the most first; of equal ones the lower address first.
        total: how many are related; ``found`` may have fewer.
        top: N, top samples of each neuron. by_chance: how many of them two unrelated neurons share in the mean.
        most: the most that any other neuron shares, related or not.
    """

    neuron: Neuron
    found: tuple[RelatedNeuron, ...]
    total: int
    top: int
    by_chance: float
    most: int

    @property
    def least(self) -> int:
        """How many shared top samples make a neuron related."""
        return least_shared(self.by_chance)

    @property
    def summary(self) -> str:
        """How many there are, and what they are measured by."""
        chance = f"by chance {self.by_chance:.1f}"
        if self.total:
            return f"{self.total:,} neurons share {self.least} or more of its {self.top} top samples; {chance}"
        if not self.top:
            return f"{self.neuron} has no top samples."
        if self.least > self.top:
            return f"No neuron is like it: of so few samples any two neurons share {self.by_chance:.1f} of {self.top}."
        none = f"none shares {self.least} of its {self.top} top samples, at most {self.most}"
        return f"No neuron is like it: {none}; {chance}"


def least_shared(by_chance: float) -> int:
    """How many shared top samples make a neuron related: three, and three times as many as by chance."""
    return max(LEAST_SHARED, int(np.ceil(TIMES_CHANCE * by_chance)))


def related(store: ScanStore, neuron: Neuron, labels: Labels, limit: int = LIMIT) -> RelatedNeurons:
    """The neurons of all layers that share the most top samples with ``neuron``.

    Args:
        labels: of all neurons, to be shown.

    Raises:
        UsageError: if the neuron is outside the model.
        StoreError: if the scan or its concepts are damaged.
    """
    neuron.check_within(store.layers, store.neurons)
    own = store.top_samples(neuron)
    counts = shared_counts(store, own)
    counts[neuron.layer, neuron.index] = 0
    top, scanned = store.valid, store.manifest.scanned
    by_chance = top * top / scanned if scanned else 0.0
    flat = counts.ravel()
    enough = np.flatnonzero(flat >= least_shared(by_chance))
    first = enough[np.argsort(-flat[enough].astype(np.int32), kind="stable")][:limit]
    return RelatedNeurons(
        neuron=neuron,
        found=tuple(_entry(store, Neuron(*divmod(int(at), store.neurons)), own, labels) for at in first),
        total=len(enough),
        top=top,
        by_chance=by_chance,
        most=int(flat.max(initial=0)),
    )


def shared_counts(store: ScanStore, samples: list[int]) -> NDArray[np.uint16]:
    """How many of ``samples``, each once, every neuron has among its top samples: uint16 (L, F).

    Raises:
        StoreError: if a top sample is not a sample of the scan.
    """
    wanted = np.zeros(store.manifest.samples + 1, dtype=np.uint8)  # the last: -1, no sample
    wanted[samples] = 1
    top = store.arrays["top_sample"].reshape(-1, store.manifest.top_n)
    counts = np.empty(len(top), dtype=np.uint16)
    dtype = np.uint8 if store.valid < 256 else np.uint16
    for begin in range(0, len(top), BLOCK):
        try:
            # einsum sums bytes with SIMD, as in labels.py.
            counts[begin : begin + BLOCK] = np.einsum("in->i", wanted[top[begin : begin + BLOCK]], dtype=dtype)
        except IndexError:
            raise StoreError(f"{store.folder} is damaged: a top sample is not a sample of it.", COPY_AGAIN) from None
    return counts.reshape(store.layers, store.neurons)


def _entry(store: ScanStore, neuron: Neuron, own: list[int], labels: Labels) -> RelatedNeuron:
    theirs = set(store.top_samples(neuron))
    return RelatedNeuron(
        neuron=neuron,
        samples=tuple(sample for sample in own if sample in theirs),
        label=labels.of(neuron),
        high_confidence=bool(labels.high_confidence[neuron.layer, neuron.index]),
        concept="" if store.concepts is None else store.concepts.leading(neuron.layer, neuron.index),
    )
