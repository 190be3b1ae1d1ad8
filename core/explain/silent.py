"""Contrastive evidence: panel samples on which a neuron stays silent though their descriptions share its concept words.

An explanation from top samples alone easily becomes too broad: nothing shows where the neuron does not activate. Which
samples are taken follows from the scan, the neuron and the thresholds: the same on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import numpy as np

from vlmscope.core.analysis.panel import neuron_panel
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.method.norm import norm
from vlmscope.core.method.word_place import has_word
from vlmscope.core.store.example import Sample
from vlmscope.core.store.reader import ScanStore

WHAT = "Contrastive evidence"
WITHOUT = "Without it, explanations are written from top samples alone."
NONE_FOUND = "no contrast: no panel sample is silent and shares a concept word"


@dataclass(frozen=True, eq=False)
class SilentSample:
    """A panel sample on which no token of the neuron is active.

    Attributes:
        words: the neuron's concept words that its description has, the strongest first; at least one.
        visual, text: the largest norms of its visual and text tokens, at most Tv and Tt; 0 without any such token.
        read_crop: reads the scan's crop, a small JPEG; raises ``StoreError`` if it cannot.
    """

    sample: Sample
    words: tuple[str, ...]
    visual: float
    text: float
    read_crop: Callable[[], bytes]


def contrast_problem(store: ScanStore) -> StoreError | None:
    """Why this scan has no contrastive evidence, with what to do; None if it has.

    Raises:
        StoreError: if panel or concepts are damaged.
    """
    if store.panel is None:
        try:
            store.panel_for(WHAT)
        except StoreError as error:
            return StoreError(error.message, f"{error.hint} {WITHOUT}")
    if store.concepts is None:
        return StoreError(
            f"{WHAT} needs concept words; {store.folder} has none.", f"vlmscope concepts finds them. {WITHOUT}"
        )
    return None


def silent_samples(store: ScanStore, neuron: Neuron, thresholds: Thresholds, count: int) -> tuple[SilentSample, ...]:
    """Up to ``count`` samples, those whose shared concept words are strongest in sum first; equal ones in random order.

    None of them is a top sample of the neuron, so that the samples of even rank stay held out.

    Args:
        thresholds: a sample is silent if no norm is above Tv (visual tokens) or Tt (text tokens).

    Raises:
        StoreError: if the scan has no panel or no concepts, or is damaged.
        UsageError: if the neuron is outside the model.
    """
    problem = contrast_problem(store)
    if problem is not None:
        raise problem
    assert store.concepts is not None
    found = neuron_panel(store, store.panel_for(WHAT), neuron)
    concepts = store.concepts.of(neuron).words
    maximum = float(store.maximum[neuron.layer, neuron.index])
    visual, text = norm(found.visual, maximum), norm(found.text, maximum)  # 0 without any such token
    silent = ~found.listed & (visual <= thresholds.T_v) & (text <= thresholds.T_t)
    ranked = []
    for column in np.flatnonzero(silent).tolist():
        index = int(found.samples[column])
        description = store.record(index).description
        shared = [concept for concept in concepts if has_word(description, concept.word)]
        if shared:
            draw = sha256(f"silent {store.manifest.scan_id} {neuron} {index}".encode()).digest()
            words = tuple(concept.word for concept in shared)
            ranked.append((-sum(concept.strength for concept in shared), draw, column, index, words))
    return tuple(
        SilentSample(store.sample(index), words, float(visual[column]), float(text[column]), partial(store.crop, index))
        for _, _, column, index, words in sorted(ranked)[:count]
    )
