"""How clear a neuron is, against the definition written out for one neuron at a time."""

import math
from pathlib import Path

import numpy as np
import pytest

from tests.support.worded import WORDS, concepts_of
from vlmscope.core.analysis.clearness import clearness, concept_strength, control_clearness
from vlmscope.core.analysis.word_chance import of_control, of_mixtures, word_chance
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.store.reader import ScanStore


def by_hand(store: ScanStore, neuron: Neuron) -> float:
    labels = store.stored_labels()
    at = (neuron.layer, neuron.index)
    label = Label(int(labels.label[at]))
    crisp = {}
    for kind, name in ((Label.VISUAL, "top_visual"), (Label.TEXT, "top_text")):
        size = math.sqrt(store.distribution(neuron, kind).mean_square)
        peak = max(float(store.arrays[name][(0, *at, 0)]), 0.0)
        crisp[kind] = max(1 - size / peak, 0.0) if peak > 0 else 0.0
    found = crisp[label] if label in crisp else min(crisp.values())
    pure = 1.0
    chance = word_chance(store)
    if store.concepts is not None and chance is not None:
        concept = store.concepts.of(neuron)
        word = store.concepts.words.index(concept.words[0].word) if concept.words else -1
        assert chance.purity[word] >= np.float32(concept.base_rate)
        pure = max(concept.purity - float(chance.purity[word]), 0.0)
    return 0.0 if label is Label.UNKNOWN else max(int(v) for v in labels.votes[at]) / labels.valid * pure * found


def check(store: ScanStore) -> None:
    found = clearness(store, store.stored_labels())
    slow = [[by_hand(store, Neuron(layer, index)) for index in range(store.neurons)] for layer in range(store.layers)]
    np.testing.assert_allclose(found, slow, rtol=1e-5, atol=1e-7)
    assert 0 <= float(found.min()) < float(found.max()) <= 1


def test_without_concepts(scan: Path) -> None:
    check(ScanStore(scan))


def test_with_concepts(scan: Path) -> None:
    store = ScanStore(scan)
    placed = {(0, index): ((WORDS[index % 4], 5.0),) for index in range(0, 32, 3)}
    store.__dict__["concepts"] = concepts_of(store, placed, hits=8)
    check(store)
    chance, labels = word_chance(store), store.stored_labels()
    assert chance is not None
    strong = concept_strength(store, labels)
    assert strong.shape == labels.label.shape and strong[0, 0] > 0 == strong[0, 1] == strong[1, 0]
    expected = (5 - chance.strength[0]) * crispness(store, Neuron(0, 0))
    assert strong[0, 0] == pytest.approx(expected, rel=1e-5)


def crispness(store: ScanStore, neuron: Neuron) -> float:
    """By the definition, for a neuron of any label."""
    vars(store)["concepts"], kept = None, store.concepts
    try:
        labels = store.stored_labels()
        votes = int(labels.votes[neuron.layer, neuron.index].max()) / labels.valid
        return by_hand(store, neuron) / votes
    finally:
        vars(store)["concepts"] = kept


def test_a_control_is_held_to_its_other_half(scan: Path) -> None:
    store = ScanStore(scan)
    concepts = concepts_of(store, {(0, index): ((WORDS[0], 5.0),) for index in (0, 2, 4)}, hits=8)
    store.__dict__["concepts"] = concepts
    labels = store.stored_labels()
    alone = clearness(store, labels)
    np.testing.assert_allclose(control_clearness(store, labels), alone)  # the odd half leads no word
    half = np.broadcast_to(np.arange(store.neurons) % 4 == 0, concepts.purity_hits.shape)
    assert of_control(concepts, concepts, half).purity.tolist() == [1, 0, 0, 0, 0]
    concepts.word[0, 1, 0], concepts.strength[0, 1, 0], concepts.purity_hits[0, 1] = 0, 5.0, 8
    found = control_clearness(store, labels)
    assert not found[0, [0, 2, 4]].any(), "an odd neuron of the word is as pure"
    assert of_mixtures(store, concepts).above(of_control(concepts, concepts)).purity[0] == 1


def test_a_silent_neuron_is_clear_about_nothing(scan_copy: Path) -> None:
    store = ScanStore(scan_copy)
    top = np.array(store.arrays["top_visual"])
    top[:, 0, :, :] = -np.inf
    store.arrays["top_visual"] = top
    text = np.array(store.arrays["top_text"])
    text[:, 0, :, :] = 0
    store.arrays["top_text"] = text
    assert not clearness(store, store.stored_labels())[0].any()
