"""Which neurons are worth a look first: those that vote clearly, for one concept, with crisp maps. Our own measure."""

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.word_chance import WordChance, of_control, of_mixtures, word_chance
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.method.labels import Label, Labels
from vlmscope.core.store.reader import ScanStore


def clearness(store: ScanStore, labels: Labels) -> NDArray[np.float32]:
    """How clear each neuron is: the product of three shares, each 0 to 1.

    - How many of its top samples vote for its label.
    - Its purity above chance: the share of its first top samples whose description has its leading concept, less what
      that word reaches by chance (``word_chance.py``). This factor is left out where the scan has no concepts.
    - Its crispness: 1 - 1 / crest, where crest is the neuron's largest activation over the root mean square of its
      activations (of patches for a visual label, of words for a text label, the smaller one for both). An even map has
      a crest of 1; a single patch in 576 one of 24.

    Returns:
        float32 (L, F); 0 for the label *unknown*, which names no kind of token.

    Raises:
        StoreError: if the scan, its concepts or its control are damaged.
    """
    return _clearness(store, labels, word_chance(store))


def control_clearness(control: ScanStore, labels: Labels) -> NDArray[np.float32]:
    """The same of a control: each half of its neurons against the other half in the place of the control.

    The halves are the neurons of even and of odd index. So a control is held to what its scan is held to.

    Raises:
        StoreError: as ``clearness``.
    """
    concepts = control.concepts
    if concepts is None:
        return _clearness(control, labels, None)
    mixtures = of_mixtures(control, concepts)
    even = np.broadcast_to(np.arange(control.neurons) % 2 == 0, labels.label.shape)

    def against(other_half: NDArray[np.bool_]) -> NDArray[np.float32]:
        return _clearness(control, labels, mixtures.above(of_control(concepts, concepts, other_half)))

    found: NDArray[np.float32] = np.where(even, against(~even), against(even))
    return found


def concept_strength(store: ScanStore, labels: Labels) -> NDArray[np.float32]:
    """How strongly each neuron's leading concept stands out above chance, times its crispness: float32 (L, F).

    The z-score alone cannot tell neurons apart whose top samples all have the word, of which a background has many.
    It is 0 without a concept.

    Raises:
        StoreError: as ``clearness``.
    """
    concepts, chance = store.concepts, word_chance(store)
    if concepts is None or chance is None:
        return np.zeros(labels.label.shape, dtype=np.float32)
    _, by_chance = chance.of(concepts.word[..., 0])
    above = np.maximum(concepts.strength[..., 0].astype(np.float32) - by_chance, 0)
    found: NDArray[np.float32] = (above * _crispness(store, labels)).astype(np.float32)
    return found


def _clearness(store: ScanStore, labels: Labels, chance: WordChance | None) -> NDArray[np.float32]:
    clear = labels.votes.max(axis=-1) / np.float32(max(labels.valid, 1))
    concepts: Concepts | None = store.concepts
    if concepts is not None and chance is not None:
        by_chance, _ = chance.of(concepts.word[..., 0])
        clear = clear * np.maximum(concepts.purity() - by_chance, 0)
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
