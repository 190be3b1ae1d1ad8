"""What each concept word reaches by chance: how pure and how strong it is for neurons that are not about it.

A background fills a picture, so random weights respond to it as purely as trained ones, and so do mixtures of neurons.
Two references show that, each by the share ``QUANTILE`` of its draws:

- Mixtures of the scan's own neurons. A mixture takes a sample drawn at random, and the samples that share the most
  neurons' top lists with it: what the neurons have in common there, whichever it is. Those drawn samples that have
  the word count.
- The control's neurons that the word leads, where the scan has a control with concepts.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.control import find_control
from vlmscope.core.analysis.groups import counted
from vlmscope.core.method.concepts import Concepts, z_score
from vlmscope.core.method.words import NO_WORD, RUNNING_WORDS, singular, words_of
from vlmscope.core.store.reader import ScanStore

MIXTURES = 500  #: mixtures drawn
QUANTILE = 0.95  #: the share of the draws that chance is not above

_known: "WeakKeyDictionary[ScanStore, WordChance]" = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class WordChance:
    """What the W words of a scan's concepts reach by chance. The last entry is of no word: 0.

    Attributes:
        purity: float32 (W + 1,), at least the word's share of all descriptions.
        strength: float32 (W + 1,), a z-score, 0 at least.
    """

    purity: NDArray[np.float32]
    strength: NDArray[np.float32]

    def of(self, word: NDArray[np.uint16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Purity and strength by chance of these ids, each of their shape."""
        at = np.minimum(word, len(self.purity) - 1)
        return self.purity[at], self.strength[at]

    def above(self, other: "WordChance") -> "WordChance":
        """The larger of both, word by word."""
        return WordChance(np.maximum(self.purity, other.purity), np.maximum(self.strength, other.strength))


def word_chance(store: ScanStore) -> WordChance | None:
    """What the scan's words reach by chance, against mixtures and its control; None where it has no concepts.

    It does not depend on thresholds, and is computed once for a store.

    Raises:
        StoreError: if the scan, its concepts or its control are damaged.
    """
    concepts = store.concepts
    if concepts is None:
        return None
    if store not in _known:
        control = find_control(store)
        found = of_mixtures(store, concepts)
        if control is not None and control.concepts is not None:
            found = found.above(of_control(concepts, control.concepts))
        _known[store] = found
    return _known[store]


def of_mixtures(store: ScanStore, concepts: Concepts) -> WordChance:
    """What the words reach in mixtures of the scan's own neurons. Raises StoreError if the scan is damaged."""
    rng = np.random.default_rng(list(store.manifest.scan_id.encode()))
    drawn = np.sort(rng.permutation(np.flatnonzero(counted(store)))[:MIXTURES])
    words = _Words(store, concepts)
    every: list[NDArray[np.int64]] = []
    purity: list[NDArray[np.float64]] = []
    strength: list[NDArray[np.float64]] = []
    for sample, mixture in zip(drawn.tolist(), _nearest(store, drawn, store.valid), strict=True):
        own = words.of(sample)
        hits, count = (words.counts(mixture[:first])[own] for first in (concepts.looked_at, store.valid))
        every.append(own)
        purity.append(hits / max(concepts.looked_at, 1))
        strength.append(z_score(count, concepts.frequency[own], store.valid, concepts.descriptions))
    base = np.append(concepts.frequency / max(concepts.descriptions, 1), 0).astype(np.float32)
    led = np.concatenate([*every, np.empty(0, dtype=np.int64)])
    reached = (_quantiles(np.concatenate([*values, np.empty(0)]), led, len(base)) for values in (purity, strength))
    return WordChance(base, np.zeros_like(base)).above(WordChance(*reached))


def of_control(concepts: Concepts, control: Concepts, among: NDArray[np.bool_] | None = None) -> WordChance:
    """What the words reach in the neurons of a control that they lead; 0 for words that lead none.

    Args:
        among: bool (L, F), the control's neurons that count; None for all.
    """
    place = {word: at for at, word in enumerate(concepts.words)}
    own = np.array([place.get(word, len(place)) for word in control.words] + [len(place)])
    led = own[np.minimum(control.word[..., 0], len(control.words))]
    led = np.where(True if among is None else among, led, len(place))
    values = control.purity(), control.strength[..., 0].astype(np.float32)
    return WordChance(*(_quantiles(value.ravel(), led.ravel(), len(place) + 1) for value in values))


def _quantiles(values: NDArray[np.floating], word: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """The quantile of the values of each word, 0 where it has none. The last one stands for no word: 0."""
    order = np.argsort(word, kind="stable")
    begins = np.searchsorted(word[order], np.arange(size))
    found = np.zeros(size, dtype=np.float32)
    for at in range(size - 1):
        those = values[order[begins[at] : begins[at + 1]]]
        if those.size:
            found[at] = np.quantile(those, QUANTILE)
    return found


def _nearest(store: ScanStore, drawn: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """For each drawn sample the ``count`` samples that share the most neurons' top lists with it, those first."""
    samples = store.manifest.samples
    number = np.full(samples, -1, dtype=np.int32)
    number[drawn] = np.arange(len(drawn))
    top = np.asarray(store.arrays["top_sample"])[..., : store.valid].reshape(-1, store.valid)
    rows, which = [], []
    for layer in range(store.layers):  # by layer: the lists of a large scan take a gigabyte as 64-bit numbers
        first = layer * store.neurons
        found = number[top[first : first + store.neurons]]
        row, rank = np.nonzero(found >= 0)
        rows.append(row + first)
        which.append(found[row, rank])
    sharing, of = np.concatenate(rows), np.concatenate(which)
    order = np.argsort(of, kind="stable")
    begins = np.searchsorted(of[order], np.arange(len(drawn) + 1))
    near = []
    for at, sample in enumerate(drawn.tolist()):
        shared = np.bincount(top[sharing[order[begins[at] : begins[at + 1]]]].ravel(), minlength=samples)
        shared[sample] = 0
        key = shared * np.int64(samples) - np.arange(samples)  # of equal ones the lower index first
        best = np.argpartition(-key, min(count, samples - 1))[:count]
        best = best[np.argsort(-key[best])]
        near.append(best[shared[best] > 0])
    return near


class _Words:
    """The concept words of a sample's description, by id; each description is read once."""

    def __init__(self, store: ScanStore, concepts: Concepts) -> None:
        self._store = store
        self._place = {word: at for at, word in enumerate(concepts.words)}
        self._ids: dict[str, int] = {}
        self._kept: dict[int, NDArray[np.int64]] = {}

    def of(self, sample: int) -> NDArray[np.int64]:
        """The ids of one sample's words, each once."""
        if sample not in self._kept:
            ids = set(map(self._id, words_of(self._store.record(sample).description)[:RUNNING_WORDS]))
            self._kept[sample] = np.array(sorted(ids - {NO_WORD}), dtype=np.int64)
        return self._kept[sample]

    def counts(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of these samples have each word: int64 (W,)."""
        ids = np.concatenate([*map(self.of, samples.tolist()), np.empty(0, dtype=np.int64)])
        return np.bincount(ids, minlength=len(self._place))

    def _id(self, word: str) -> int:
        if word not in self._ids:
            known = word if word in self._place else singular(word, self._place)
            self._ids[word] = self._place.get(known, NO_WORD)
        return self._ids[word]
