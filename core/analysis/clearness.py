"""Which neurons are worth a look first: those that vote clearly, for one concept, with crisp maps. Our own measure."""

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.store.reader import ScanStore


def clearness(store: ScanStore, labels: Labels) -> NDArray[np.float32]:
    """How clear each neuron is: the product of three shares, each 0 to 1.

    - How many of its top samples vote for its label.
    - Its purity above chance: the share of its first top samples whose description has its leading concept, less the
      word's share of all descriptions. This factor is left out where the scan has no concepts.
    - Its crispness: 1 - 1 / crest, where crest is the neuron's largest activation over the root mean square of its
      activations (of patches for a visual label, of words for a text label, the smaller one for both). An even map has
      a crest of 1; a single patch in 576 one of 24.

    Returns:
        float32 (L, F); 0 for the label *unknown*, which names no kind of token.

    Raises:
        StoreError: if the scan's concepts are damaged.
    """
    clear = labels.votes.max(axis=-1) / np.float32(max(labels.valid, 1))
    concepts = store.concepts
    if concepts is not None:
        frequency = np.append(concepts.frequency, 0) / max(concepts.descriptions, 1)
        word = np.minimum(concepts.word[..., 0], len(concepts.frequency))  # "no word" is the last one, of frequency 0
        clear = clear * np.maximum(concepts.purity() - frequency[word], 0)
    clear = clear * _crispness(store, labels)
    return np.where(labels.label == Label.UNKNOWN, 0, clear).astype(np.float32)


def _crispness(store: ScanStore, labels: Labels) -> NDArray[np.float32]:
    """1 - 1 / crest of the kinds of token that the label names: float32 (L, F)."""
    crisp = []
    for kind, largest in enumerate((store.arrays["top_visual"], store.arrays["top_text"])):
        size = np.sqrt(np.maximum(store.arrays["moments"][kind, 1], 0))
        peak = np.maximum(largest[0, ..., 0], 0)  # the best top sample's; -inf where it has no such token
        crisp.append(np.where(peak > size, 1 - size / np.maximum(peak, np.float32(1e-30)), 0))
    visual, text = crisp
    both = np.minimum(visual, text)
    chosen = np.select([labels.label == Label.VISUAL, labels.label == Label.TEXT], [visual, text], both)
    return chosen.astype(np.float32)
