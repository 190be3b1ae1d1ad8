"""Concepts: the words of a neuron's top samples' descriptions that stand out against all descriptions.

They are words that co-occur, not an explanation by a model. They are stored with a scan, beside its other files
(``core/store/concept_files.py``):

    SCAN/concepts/             may be missing (`vlmscope concepts SCAN` makes it)
      words.json               of which scan; W words, alphabetically, and how many descriptions have each
      word.npy         uint16  (L, F, K)   ids of the K words that stand out most, the strongest first; 65535: no word
      strength.npy     float16 (L, F, K)   their z-scores; 0 where there is no word
      purity_hits.npy  uint8   (L, F)      of the top 20 samples, how many descriptions have the first word
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.callbacks import OnCount
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.words import NO_WORD, WordCounts, count_words, singular, words_of

KEPT = 5  #: K, words of one neuron
PURITY_SAMPLES = 20  #: top samples that purity counts
PRIOR = 0.2  #: the prior's weight, as a share of the top samples: ten descriptions for fifty
#: Least z-score of a word that stands out, as in the source. It is low: of many words some reach it by chance. With the
#: demo's descriptions shuffled, the leading words reach 2.6 in the median and 5.6 at most; unshuffled, 9 and 25.
LEAST_STRENGTH = 1.96
BLOCK = 400_000  #: word ids counted at once
SIMILAR = 5  #: words proposed for one that is not found


@dataclass(frozen=True)
class Concept:
    """A word and how strongly it stands out: a z-score."""

    word: str
    strength: float


@dataclass(frozen=True)
class ConceptList:
    """The words that stand out for one neuron.

    Attributes:
        words: the strongest first; may be empty.
        hits: how many of the ``looked_at`` first top samples have the leading word in their description.
        looked_at: min(20, top samples).
        base_rate: the share of all descriptions that have the leading word; 0 where there is none.
    """

    words: tuple[Concept, ...]
    hits: int
    looked_at: int
    base_rate: float

    @property
    def purity(self) -> float:
        """The share of the first top samples whose description has the leading word; 0 where there is none."""
        return self.hits / self.looked_at if self.looked_at else 0.0


@dataclass(frozen=True)
class Concepts:
    """The concepts of all neurons of a scan. Shapes: L layers, F neurons, K = 5 words, W words in all.

    Attributes:
        words: W words, alphabetically; a word's place is its id.
        frequency: int64 (W,), how many descriptions have it.
        descriptions: how many descriptions there are.
        looked_at: top samples that purity counts.
        word: uint16 (L, F, K), ids; ``NO_WORD`` where there is none.
        strength: float16 (L, F, K), z-scores; 0 where there is none.
        purity_hits: uint8 (L, F).
    """

    words: tuple[str, ...]
    frequency: NDArray[np.int64]
    descriptions: int
    looked_at: int
    word: NDArray[np.uint16]
    strength: NDArray[np.float16]
    purity_hits: NDArray[np.uint8]

    def of(self, neuron: Neuron) -> ConceptList:
        """One neuron's concepts."""
        at = (neuron.layer, neuron.index)
        ids = [i for i in self.word[at].tolist() if i != NO_WORD]
        found = tuple(
            Concept(self.words[i], strength) for i, strength in zip(ids, self.strength[at].tolist(), strict=False)
        )
        base_rate = int(self.frequency[ids[0]]) / self.descriptions if ids else 0.0
        return ConceptList(found, int(self.purity_hits[at]), self.looked_at, base_rate)

    def leading(self, layer: int, index: int) -> str:
        """The strongest word of a neuron, or an empty text: cheap enough for every row of a list."""
        first = int(self.word[layer, index, 0])
        return "" if first == NO_WORD else self.words[first]

    def purity(self) -> NDArray[np.float32]:
        """The purity of every neuron: float32 (L, F)."""
        return self.purity_hits.astype(np.float32) / np.float32(max(self.looked_at, 1))

    def find(self, query: str) -> NDArray[np.float32]:
        """How strongly every neuron has ``query`` among its concepts.

        Case does not matter. A plural finds its singular; an unknown word stands for all words that begin with it. A
        neuron must have every word of ``query``; the weakest counts.

        Returns:
            float32 (L, F); 0 where it is not among them, and everywhere if ``query`` holds no word.
        """
        found = [self._strength(self._ids(word)) for word in words_of(query)]
        if not found:
            return np.zeros(self.purity_hits.shape, dtype=np.float32)
        weakest: NDArray[np.float32] = np.minimum.reduce(found)
        return weakest

    def similar(self, query: str) -> tuple[str, ...]:
        """Words that are spelled like those of ``query``, to propose where nothing is found."""
        near = (difflib.get_close_matches(word, self.words, n=SIMILAR, cutoff=0.7) for word in words_of(query))
        return tuple(dict.fromkeys(word for words in near for word in words))

    def _ids(self, word: str) -> list[int]:
        known = {spelled: i for i, spelled in enumerate(self.words)}
        if word not in known:
            word = singular(word, known)
        if word in known:
            return [known[word]]
        return [i for i, spelled in enumerate(self.words) if spelled.startswith(word)]

    def _strength(self, ids: list[int]) -> NDArray[np.float32]:
        """The strongest of these words in every neuron: float32 (L, F)."""
        wanted = np.zeros(NO_WORD + 1, dtype=np.bool_)
        wanted[ids] = True
        # Backwards, so that of one neuron's words the first, its strongest, is written last.
        at = np.flatnonzero(wanted[np.asarray(self.word).ravel()])[::-1]
        found = np.zeros(self.purity_hits.size, dtype=np.float32)
        found[at // self.word.shape[-1]] = np.asarray(self.strength).ravel()[at]
        return found.reshape(self.purity_hits.shape)


def z_score(count: NDArray[np.int64], frequency: NDArray[np.int64], top: int, descriptions: int) -> NDArray[np.float64]:
    """How strongly words stand out: log-odds with an informative Dirichlet prior, in standard deviations.

    Source: Monroe, Colaresi and Quinn 2008, "Fightin' Words", equations 15, 16, 20 and 22, with two choices of ours.
    First, descriptions are counted instead of running words, each with or without the word (so the Dirichlet has two
    categories): a long description weighs no more than a short one. Second, the top samples are compared with all
    descriptions instead of the others: else a word that no other description has would have almost no strength.

    Args:
        count: of each word, how many of the top samples have it.
        frequency: how many of all descriptions have it, at least 1 and fewer than all.
        top: top samples.
        descriptions: all descriptions.
    """
    share = frequency / descriptions
    prior, other_prior = PRIOR * top * share, PRIOR * top * (1 - share)
    odds = np.log((count + prior) / (top - count + other_prior))
    base = np.log((frequency + prior) / (descriptions - frequency + other_prior))
    z: NDArray[np.float64] = (odds - base) / np.sqrt(1 / (count + prior) + 1 / (frequency + prior))
    return z


def least_count(top: int) -> int:
    """In how many top samples a word must occur: a tenth of them, and at least two if there are two."""
    return min(top, max(2, -(-top // 10)))


def find_concepts(top_sample: NDArray[np.int32], descriptions: Sequence[str | None], progress: OnCount) -> Concepts:
    """The words that stand out for every neuron: 352,256 neurons take less than two minutes.

    A word counts if ``least_count`` top samples have it and its z-score is above ``LEAST_STRENGTH``. The ``KEPT``
    strongest are kept; equal ones are ordered by their count in the top samples, then alphabetically.

    Args:
        top_sample: int32 (L, F, N), the scan's.
        descriptions: of all samples; None for a skipped one.

    Raises:
        StoreError: if a top sample is not one of the samples.
    """
    layers, neurons, kept = top_sample.shape
    top = min(kept, sum(description is not None for description in descriptions))
    counts = count_words(descriptions, least_count(top))
    total = layers * neurons
    word = np.full((total, KEPT), NO_WORD, dtype=np.uint16)
    strength = np.zeros((total, KEPT), dtype=np.float16)
    hits = np.zeros(total, dtype=np.uint8)
    flat = top_sample.reshape(total, -1)
    step = max(1, BLOCK // max(top * counts.ids.shape[1], 1))
    progress(0, total)
    for start in range(0, total, step):
        block = np.asarray(flat[start : start + step, :top])
        if block.size and not 0 <= block.min() <= block.max() < len(descriptions):
            raise StoreError("A top sample of this scan is not one of its samples.", "Copy the scan again.")
        if block.size and counts.words:
            at = slice(start, start + len(block))
            word[at], strength[at], hits[at] = _stand_out(counts.ids[block], counts)
        progress(min(start + step, total), total)
    shape = (layers, neurons)
    return Concepts(
        words=counts.words,
        frequency=counts.frequency,
        descriptions=counts.descriptions,
        looked_at=min(PURITY_SAMPLES, top),
        word=word.reshape(*shape, KEPT),
        strength=strength.reshape(*shape, KEPT),
        purity_hits=hits.reshape(shape),
    )


def _stand_out(
    ids: NDArray[np.uint16], counts: WordCounts
) -> tuple[NDArray[np.uint16], NDArray[np.float16], NDArray[np.uint8]]:
    """The strongest words of a block of neurons: ids and strengths (B, K), and hits (B,) of the first.

    Args:
        ids: uint16 (B, top samples, words), the words of each top sample.
    """
    block, top, width = ids.shape
    word = np.full((block, KEPT), NO_WORD, dtype=np.uint16)
    strength = np.zeros((block, KEPT), dtype=np.float16)
    # Sorted, equal words of one neuron are neighbours; "stable" is a radix sort for 16 bits.
    ordered = np.sort(ids.reshape(block, -1), axis=-1, kind="stable")
    begins = np.ones(ordered.shape, dtype=np.bool_)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=begins[:, 1:])
    begin = np.flatnonzero(begins)
    count = np.diff(begin, append=ordered.size)
    found = ordered.ravel()[begin]
    enough = (count >= least_count(top)) & (found != NO_WORD)
    row, count, found = begin[enough] // (top * width), count[enough], found[enough]
    z = z_score(count, counts.frequency[found], top, counts.descriptions)
    strong = z > LEAST_STRENGTH
    row, count, found, z = row[strong], count[strong], found[strong], z[strong]
    order = np.lexsort((found, -count, -z, row))
    row, found, z = row[order], found[order], z[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    kept = place < KEPT
    word[row[kept], place[kept]] = found[kept]
    strength[row[kept], place[kept]] = z[kept]
    leading = word[:, 0]
    hits = np.count_nonzero((ids[:, :PURITY_SAMPLES] == leading[:, None, None]).any(axis=-1), axis=-1)
    return word, strength, np.where(leading == NO_WORD, 0, hits).astype(np.uint8)
