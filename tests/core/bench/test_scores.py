"""The figures of ``vlmscope bench scores``: their arithmetic, and what is compared with what."""

import numpy as np
import pytest

from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.bench.changed_predictions import Changed, Constant, everywhere, rolled
from vlmscope.core.bench.clearest import bench_clearest
from vlmscope.core.bench.scores import (
    LEAST_PURITY,
    Found,
    area,
    choose_neurons,
    hard_explanations,
    mean,
    named_in,
    shuffled_explanations,
    summary,
)
from vlmscope.core.method.labels import Label
from vlmscope.core.method.words import words_of
from vlmscope.core.scoring.candidates import concept_explanation
from vlmscope.core.scoring.held_out import held_out
from vlmscope.core.scoring.search_phrases import known_words
from vlmscope.core.scoring.simulators.oracle import Oracle
from vlmscope.core.store.reader import ScanStore


def test_the_area_is_the_share_of_pairs_that_are_in_order() -> None:
    assert area([0.5, 0.1], [0.0, 0.3]) == 0.75
    assert area([0.5], [0.5]) == 0.5
    assert area([None, 0.5], [0.0]) == 0.5  # one without a score has lost
    assert area([0.5], [None, 0.6]) == 0
    assert area([0.5], [None]) is None
    assert area([], [0.1]) is None


def test_a_mean_is_of_what_is_defined() -> None:
    assert mean([0.5, None, 0.25]) == 0.375
    assert mean([None]) is None
    found = summary(Found(right=[0.5, None], shuffled=[0.25, None, None], hard=[0.75], rolled=[0.1]), None)
    assert (found.right, found.shuffled, found.constant) == (0.5, 0.25, None)
    assert (found.undefined_right, found.undefined_shuffled) == (1, 2)
    assert (found.hard, found.rolled, found.auc_hard, found.auc_rolled) == (0.75, 0.1, 0, 0.5)
    assert (found.with_concept, found.ceiling) == (None, None)


@pytest.fixture(scope="module")
def store() -> ScanStore:
    return ScanStore(scan_folder("demo"))


@pytest.fixture(scope="module")
def neurons(store: ScanStore) -> list[Neuron]:
    return choose_neurons(store, Oracle.of_demo(store.manifest).names, 60)


def test_neurons_are_clear_visual_ones_of_objects_by_their_odd_ranks(store: ScanStore, neurons: list[Neuron]) -> None:
    oracle = Oracle.of_demo(store.manifest)
    assert 30 <= len(set(neurons)) == len(neurons) <= 60
    purities = []
    for neuron in neurons:
        odd = store.top_samples(neuron)[::2]
        votes = store.votes(neuron, store.manifest.thresholds.value())[::2].tolist()
        assert votes.count(Label.VISUAL) == max(votes.count(one) for one in Label)
        explanation = concept_explanation(store, neuron, "")
        assert explanation is not None and explanation.visual_phrases[0] in oracle.names
        words = [known_words(store.sample(at).description, explanation.visual_phrases[:1]) for at in odd[:20]]
        purities.append(sum(map(bool, words)) / 20)
    assert min(purities) >= LEAST_PURITY
    assert purities == sorted(purities, reverse=True)


def test_shuffled_words_are_not_the_neurons_and_hard_ones_are_in_its_scenes(
    store: ScanStore, neurons: list[Neuron]
) -> None:
    oracle = Oracle.of_demo(store.manifest)
    right = {n: e for n in neurons if (e := concept_explanation(store, n, "")) is not None}
    compared = 0
    for neuron in neurons:
        odd = store.top_samples(neuron)[::2]
        scenes = [oracle.objects(store.sample(at).picture) for at in odd]
        for other in shuffled_explanations(store, oracle, neuron, right, held_out(store, neuron, ())):
            compared += 1
            for at, scene in zip(odd, scenes, strict=True):
                assert not set(other.visual_phrases) & set(words_of(store.sample(at).description))
                assert not set(other.visual_phrases) & scene
        hard = [name for one in hard_explanations(store, oracle, neuron, right[neuron]) for name in one.visual_phrases]
        often = [sum(name in scene for scene in scenes) for name in hard]
        assert len(hard) == 3 and not set(hard) & set(right[neuron].visual_phrases)
        assert often == sorted(often, reverse=True) and often[-1] >= 1
        others = oracle.names - set(hard) - set(right[neuron].visual_phrases)
        assert max(sum(name in scene for scene in scenes) for name in others) <= often[-1]
    assert compared >= 30
    assert "apple" in named_in(store, oracle, store.top_samples(Neuron(3, 96)))


async def test_a_constant_prediction_is_constant_and_changed_ones_are_moved_or_without_a_place(
    store: ScanStore, neurons: list[Neuron]
) -> None:
    explanation = concept_explanation(store, neurons[0], "")
    assert explanation is not None
    sample = held_out(store, neurons[0], ())[0]
    found = await Constant().simulate(explanation, sample)
    assert found.visual is not None
    assert found.visual.min() == found.visual.max() > 0
    oracle = Oracle.of_demo(store.manifest)
    true, moved, there = [
        (await one.simulate(explanation, sample)).visual  # type: ignore[union-attr]
        for one in (oracle, Changed("rolled", oracle, rolled), Changed("present", oracle, everywhere))
    ]
    assert true is not None and moved is not None and there is not None
    rows, columns = true.shape
    assert true.max() > true.min()
    np.testing.assert_array_equal(moved[rows // 2 :, columns // 2 :], true[: -(rows // 2), : -(columns // 2)])
    np.testing.assert_array_equal(rolled(moved), true)  # twice half the sides
    np.testing.assert_array_equal(there, np.full_like(true, true.max()))


def test_the_clearest_are_of_objects_and_a_control_has_none(store: ScanStore) -> None:
    found = bench_clearest(store, Oracle.of_demo(store.manifest).names)
    assert (found.first, found.objects) == (20, 20)
    assert found.control is not None and found.control < 0.002 < 0.02 < found.mean
