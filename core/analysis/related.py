"""Related neurons: those that share the most top samples with one, against the count by chance, without a model.

The rule is the count of shared top samples. On the demo cosines of scores find no better ones; cosines of weights or
of histograms find next to none.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.coactivation import correlation, correlations
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.store.arrays import COPY_AGAIN
from vlmscope.core.store.panel import Panel
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
        correlation: with the neuron over panel samples in neither one's list (core/analysis/coactivation.py); None
            where there is none, as in a scan without a panel.
    """

    neuron: Neuron
    samples: tuple[int, ...]
    label: Label
    high_confidence: bool
    concept: str
    correlation: float | None = None

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


@dataclass(frozen=True)
class CoactiveNeurons:
    """The neurons whose activations over panel samples correlate most with one's.

    Attributes:
        found: the most correlated first; of equal ones the lower address first.
        total: how many have a correlation. samples: panel samples outside the neuron's own list.
        by_chance: about the highest correlation of so many unrelated neurons.
    """

    neuron: Neuron
    found: tuple[RelatedNeuron, ...]
    total: int
    samples: int
    by_chance: float

    @property
    def summary(self) -> str:
        """Over what the correlations are, and what they are measured by."""
        if not self.total:
            return f"No neuron has a correlation with {self.neuron} over the panel's {self.samples} other samples."
        chance = f"the highest of unrelated ones would be about {self.by_chance:.2f}"
        what = f"Pearson's correlations of {self.total:,} neurons over {self.samples} panel samples or fewer"
        return f"{what}; {chance}"


def correlated_over(samples: int) -> str:
    """What the correlation of two neurons is; ``samples``: of the panel."""
    return f"Pearson's correlation over the {samples:,} panel samples, less those in either one's top samples"


def by_chance(store: ScanStore) -> float:
    """How many top samples two unrelated neurons share in the mean."""
    scanned = store.manifest.scanned
    return store.valid * store.valid / scanned if scanned else 0.0


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
    store.numbering.checked(neuron)
    own = store.top_samples(neuron)
    counts = shared_counts(store, own)
    counts[neuron.layer, neuron.index] = 0
    chance = by_chance(store)
    flat = counts.ravel()
    enough = np.flatnonzero(flat >= least_shared(chance))
    first = enough[np.argsort(-flat[enough].astype(np.int32), kind="stable")][:limit]
    return RelatedNeurons(
        neuron=neuron,
        found=tuple(_entry(store, neuron, store.numbering.of_flat(at), own, labels) for at in first),
        total=len(enough),
        top=store.valid,
        by_chance=chance,
        most=int(flat.max(initial=0)),
    )


def coactive(store: ScanStore, panel: Panel, neuron: Neuron, labels: Labels, limit: int = LIMIT) -> CoactiveNeurons:
    """The neurons of all layers whose activations correlate most with those of ``neuron``, over panel samples.

    The correlation by chance is that of normal activations, by Fisher's z: the quantile of the highest of so many. Real
    activations have longer tails, so that unrelated neurons go beyond it more often.

    Raises: as ``related``.
    """
    store.numbering.checked(neuron)
    own = store.top_samples(neuron)
    found = correlations(store, panel, neuron).ravel()
    found[store.numbering.flat(neuron)] = np.nan
    total, samples = int(np.isfinite(found).sum()), int((~np.isin(panel.samples, own)).sum())
    first = np.argsort(-np.nan_to_num(found, nan=-2), kind="stable")[: min(limit, total)]
    z = NormalDist().inv_cdf(1 - 1 / total) / math.sqrt(samples - 3) if total > 1 and samples > 3 else 0.0
    return CoactiveNeurons(
        neuron=neuron,
        found=tuple(_entry(store, neuron, store.numbering.of_flat(at), own, labels) for at in first),
        total=total,
        samples=samples,
        by_chance=math.tanh(z),
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


def _entry(store: ScanStore, of: Neuron, neuron: Neuron, own: list[int], labels: Labels) -> RelatedNeuron:
    theirs = set(store.top_samples(neuron))
    return RelatedNeuron(
        neuron=neuron,
        samples=tuple(sample for sample in own if sample in theirs),
        label=labels.of(neuron),
        high_confidence=bool(labels.high_confidence[neuron.layer, neuron.index]),
        concept="" if store.concepts is None else store.concepts.leading(neuron.layer, neuron.index),
        correlation=None if store.panel is None else correlation(store, store.panel, of, neuron),
    )
