"""The figures of ``vlmscope bench scores``: their arithmetic, and what is compared with what."""

from vlmscope.core.base.demo import image_path, scan_folder
from vlmscope.core.bench.scores import (
    LEAST_PURITY,
    Constant,
    area,
    choose_neurons,
    mean,
    named_in,
    shuffled_explanations,
    summary,
)
from vlmscope.core.method.labels import Label
from vlmscope.core.method.words import words_of
from vlmscope.core.scoring.candidates import concept_explanation
from vlmscope.core.scoring.held_out import held_out
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
    found = summary([0.5, None], [0.25, None, None], None)
    assert (found.right, found.shuffled, found.constant) == (0.5, 0.25, None)
    assert (found.undefined_right, found.undefined_shuffled) == (1, 2)


def test_neurons_are_clear_visual_ones_of_objects_and_shuffled_words_are_not_theirs() -> None:
    store = ScanStore(scan_folder("demo"))
    oracle = Oracle.of_demo(store.manifest)
    neurons = choose_neurons(store, oracle.names, 60)
    assert len(set(neurons)) == 60
    assert store.concepts is not None
    labels = store.stored_labels()
    for neuron in neurons:
        assert labels.label[neuron.layer, neuron.index] == Label.VISUAL
        assert store.concepts.of(neuron).words[0].word in oracle.names
        assert store.concepts.of(neuron).purity >= LEAST_PURITY
    purities = [store.concepts.of(neuron).purity for neuron in neurons]
    assert purities == sorted(purities, reverse=True)
    right = {n: e for n in neurons if (e := concept_explanation(store, n, "")) is not None}
    compared = 0
    for neuron in neurons:
        for other in shuffled_explanations(store, oracle, neuron, right, held_out(store, neuron, ())):
            compared += 1
            for at in store.arrays["top_sample"][neuron.layer, neuron.index].tolist():
                sample = store.sample(at)
                assert not set(other.visual_phrases) & set(words_of(sample.description))
                picture = image_path(store.manifest.image_root, sample.image)
                assert not set(other.visual_phrases) & oracle.objects(picture)
    assert compared >= 30
    assert "apple" in named_in(store, oracle, store.arrays["top_sample"][3, 96].tolist())


async def test_a_constant_prediction_is_constant() -> None:
    store = ScanStore(scan_folder("demo"))
    neuron = choose_neurons(store, {"apple"}, 1)[0]
    found = await Constant().simulate(concept_explanation(store, neuron, ""), held_out(store, neuron, ())[0])  # type: ignore[arg-type]
    assert found.visual is not None
    assert found.visual.min() == found.visual.max() > 0
