"""Explanations that no API wrote: a person's own words, another neuron's, and a neuron's concept words."""

import numpy as np

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.concepts import KEPT, LEAST_STRENGTH, least_count, z_score
from vlmscope.core.method.words import RUNNING_WORDS, singular, words_of
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.scoring.search_phrases import known_words
from vlmscope.core.store.reader import ScanStore

CONCEPT_WORDS = "concept words: "  #: how such an explanation's text begins
LEAST_SHARE = 0.5  #: of the strongest word's strength: weaker ones only co-occur with it


def own_explanation(text: str, store: ScanStore, created: str) -> Explanation:
    """A person's words, with the scan's concept words in them as what to look for.

    Raises:
        StoreError: if the scan's concepts are damaged.
    """
    known = () if store.concepts is None else frozenset(store.concepts.words)
    return Explanation(text.strip(), Source.USER, created, visual_phrases=known_words(text, known))


def borrowed(explanation: Explanation, owner: Neuron) -> Explanation:
    """The explanation of another neuron, ``owner``, to be scored on this one.

    What it was written from stays: samples that both neurons have on top are not scored on either.
    """
    return Explanation(
        explanation.text,
        Source.BORROWED,
        explanation.created,
        model=str(owner),
        visual_phrases=explanation.visual_phrases,
        text_cue=explanation.text_cue,
        samples=explanation.samples,
    )


def concept_explanation(store: ScanStore, neuron: Neuron, created: str) -> Explanation | None:
    """The words that stand out in the descriptions of a neuron's top samples of odd ranks; None if there are none.

    The concepts that the scan keeps come from all top samples, and an explanation may not be scored on samples that it
    was written from. So they are found again, by the same statistic (``concepts.z_score``), without the even
    ranks. Taken are those at least half as strong as the strongest.

    Raises:
        StoreError: if the scan's concepts are damaged.
    """
    concepts = store.concepts
    if concepts is None:
        return None
    samples = store.top_samples(neuron)[::2]
    known = {word: at for at, word in enumerate(concepts.words)}
    count = np.zeros(len(known), dtype=np.int64)
    for sample in samples:
        words = words_of(store.sample(sample).description)[:RUNNING_WORDS]
        found = (word if word in known else singular(word, known) for word in words)
        count[sorted({known[word] for word in found if word in known})] += 1
    ids = np.flatnonzero(count >= least_count(len(samples)))
    if not len(ids):
        return None
    strength = z_score(count[ids], concepts.frequency[ids], len(samples), concepts.descriptions)
    order = np.lexsort((ids, -count[ids], -strength))[:KEPT]
    strongest = float(strength[order[0]])
    if strongest <= LEAST_STRENGTH:
        return None
    taken = [at for at in order.tolist() if strength[at] > max(LEAST_STRENGTH, LEAST_SHARE * strongest)]
    words_taken = tuple(concepts.words[ids[at]] for at in taken)
    return Explanation(
        CONCEPT_WORDS + ", ".join(words_taken),
        Source.CONCEPTS,
        created,
        visual_phrases=words_taken,
        samples=tuple(samples),
    )
