"""How clear a neuron is, against the definition written out for one neuron at a time."""

import math
from pathlib import Path

import numpy as np

from tests.support.worded import WORDS, concepts_of
from vlmscope.core.analysis.clearness import clearness
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
    if store.concepts is not None:
        concept = store.concepts.of(neuron)
        pure = max(concept.purity - concept.base_rate, 0.0)
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
    store.__dict__["concepts"] = concepts_of(store, placed)
    check(store)


def test_a_silent_neuron_is_clear_about_nothing(scan_copy: Path) -> None:
    store = ScanStore(scan_copy)
    top = np.array(store.arrays["top_visual"])
    top[:, 0, :, :] = -np.inf
    store.arrays["top_visual"] = top
    text = np.array(store.arrays["top_text"])
    text[:, 0, :, :] = 0
    store.arrays["top_text"] = text
    assert not clearness(store, store.stored_labels())[0].any()
