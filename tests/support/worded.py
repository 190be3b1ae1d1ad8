"""Concepts put into a small scan by hand: its descriptions are random words, of which none stands out by itself."""

from collections.abc import Mapping

import numpy as np

from vlmscope.core.method.concepts import KEPT, Concepts
from vlmscope.core.method.words import NO_WORD
from vlmscope.core.store.reader import ScanStore

WORDS = ("blue", "dog", "river", "train")


def concepts_of(
    store: ScanStore, placed: Mapping[tuple[int, int], tuple[tuple[str, float], ...]], hits: int = 6
) -> Concepts:
    """Concepts of the small scan.

    Args:
        placed: words of ``WORDS`` with their strengths, by layer and index.
        hits: of each of these neurons, among 8 samples.
    """
    shape = (store.layers, store.neurons)
    word = np.full((*shape, KEPT), NO_WORD, dtype=np.uint16)
    strength = np.zeros((*shape, KEPT), dtype=np.float16)
    found = np.zeros(shape, dtype=np.uint8)
    for at, words in placed.items():
        found[at] = hits
        for place, (name, z) in enumerate(words):
            word[(*at, place)], strength[(*at, place)] = WORDS.index(name), z
    return Concepts(WORDS, np.array([5, 4, 3, 2], dtype=np.int64), 12, 8, word, strength, found)
