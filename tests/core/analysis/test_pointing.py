"""Which neurons fire at a place, against loops over the scan's arrays."""

from pathlib import Path

import numpy as np
import pytest

from tests.tui.commands.test_search import put
from vlmscope.core.analysis.pointing import Pointed, Rule, bars, point_at_all, point_in_scan
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.distribution import EDGES
from vlmscope.core.method.place import Place, patch_place, token_place
from vlmscope.core.store.reader import ScanStore

SAMPLE = 5


@pytest.fixture
def store(scan: Path) -> ScanStore:
    return ScanStore(scan)


def value_of(store: ScanStore, rule: Rule, neuron: Neuron, activation: float, kind: int) -> float:
    """The rule's value, one neuron at a time."""
    if rule is Rule.BAR:
        return activation / float(store.scores(neuron)[-1])
    if rule is Rule.MAXIMUM:
        return activation / float(store.maximum[neuron.layer, neuron.index])
    counts = store.arrays["histogram"][kind, neuron.layer, neuron.index].astype(np.int64)
    edges = np.concatenate([[-np.inf], EDGES])
    above = counts[np.flatnonzero(edges <= activation)[-1] :].sum()
    tokens = (store.manifest.visual_tokens, store.manifest.text_tokens)[kind]
    return float(tokens / max(above, 1))


def expected(store: ScanStore, rule: Rule, place: Place) -> list[tuple[float, Neuron, int]]:
    """What the scan alone gives: value, neuron and rank, best first."""
    found = []
    kind = 1 if place.text else 0
    for layer, index in np.ndindex(store.layers, store.neurons):
        neuron = Neuron(layer, index)
        for rank in range(store.valid):
            one = store.example(neuron, rank)
            peak = one.peak_token if kind else one.peak_patch
            wanted = [token - place.before for token in place.text[: 1 if place.before else None]] or place.near
            activation = float((one.text if kind else one.visual)[0])
            if one.sample.index == SAMPLE and peak in wanted and activation > 0:
                found.append((value_of(store, rule, neuron, activation, kind), neuron, rank + 1))
    return sorted(found, key=lambda one: (-one[0], one[1]))


@pytest.mark.parametrize("rule", [Rule.BAR, Rule.MAXIMUM, Rule.RARE])
@pytest.mark.parametrize("which", ["patch", "word", "before"])
def test_a_scan_alone_gives_the_neurons_whose_peak_is_there(store: ScanStore, rule: Rule, which: str) -> None:
    layout = store.sample(SAMPLE).layout
    place = patch_place(layout, 1, 3) if which == "patch" else token_place((3, 4), "w", before=which == "before")
    slow = expected(store, rule, place)
    found = point_in_scan(store, store.stored_labels(), SAMPLE, place, rule, limit=1000)
    assert len(slow) > 2 and found.total == len(slow) and not found.by_model
    assert [(one.neuron, one.rank) for one in found.neurons] == [(neuron, rank) for _, neuron, rank in slow]
    assert [one.value for one in found.neurons] == pytest.approx([value for value, *_ in slow], rel=1e-6)
    assert found.own == len(slow)
    short = point_in_scan(store, store.stored_labels(), SAMPLE, place, rule, limit=2)
    assert short.neurons == found.neurons[:2] and short.total == found.total


@pytest.mark.parametrize("rule", [Rule.WRITTEN, Rule.EFFECT])
def test_what_a_scan_does_not_hold_is_refused(store: ScanStore, rule: Rule) -> None:
    place = patch_place(store.sample(SAMPLE).layout, 0, 0)
    with pytest.raises(UsageError, match=f"does not hold what '{rule.value}' orders by"):
        point_in_scan(store, store.stored_labels(), SAMPLE, place, rule)


def test_a_scan_holds_nothing_before_the_first_word(store: ScanStore) -> None:
    with pytest.raises(UsageError, match="nothing of the prompt"):
        point_in_scan(store, store.stored_labels(), SAMPLE, token_place((0,), "w", before=True))


def at_all(store: ScanStore, rule: Rule, place: Place, sample: int | None = SAMPLE, limit: int = 20) -> Pointed:
    rng = np.random.default_rng(1)
    activation, written, effects = rng.normal(size=(3, store.layers, store.neurons)).astype(np.float32)
    labels = store.stored_labels()
    if rule is Rule.EFFECT:
        return point_at_all(store, labels, sample, place, rule, None, None, effects, limit)
    return point_at_all(store, labels, sample, place, rule, activation, abs(written), None, limit)


@pytest.mark.parametrize("rule", list(Rule))
def test_all_neurons_are_ordered_by_the_rule(store: ScanStore, rule: Rule) -> None:
    place = patch_place(store.sample(SAMPLE).layout, 0, 0)
    found = at_all(store, rule, place, limit=1000)
    assert found.by_model and found.total == len(found.neurons)
    values = [one.value for one in found.neurons]
    assert values == sorted(values, reverse=rule is not Rule.EFFECT)
    for one in found.neurons:
        own = store.top_samples(one.neuron)
        assert one.rank == (own.index(SAMPLE) + 1 if SAMPLE in own else None)
        if rule is Rule.EFFECT:
            assert one.value < 0 and one.activation is None and one.written is None
        elif rule is Rule.WRITTEN:
            assert one.value == one.written
        else:
            assert one.activation is not None and one.activation > 0
            assert one.value == pytest.approx(value_of(store, rule, one.neuron, one.activation, 0), rel=1e-6)
    assert 0 < found.own < found.total
    assert at_all(store, rule, place, sample=None).own == 0


def test_a_neuron_that_never_fires_is_not_listed(store: ScanStore) -> None:
    place = patch_place(store.sample(SAMPLE).layout, 0, 0)
    dead = ScanStore(store.folder)
    for name in ("top_visual", "top_text"):
        array = np.array(dead.arrays[name])
        array[:, 2, 7] = 0
        dead.arrays[name] = array
    assert bars(dead)[2, 7] == 0
    listed = {one.neuron for one in at_all(dead, Rule.BAR, place, limit=1000).neurons}
    assert Neuron(2, 7) not in listed and len(listed) > 40


def test_an_answer_of_another_model_is_refused(store: ScanStore) -> None:
    place = patch_place(store.sample(SAMPLE).layout, 0, 0)
    other = np.ones((store.layers, store.neurons + 1), dtype=np.float32)
    with pytest.raises(UsageError, match="does not fit the scan"):
        point_at_all(store, store.stored_labels(), None, place, Rule.BAR, other, other, None)


def test_words_that_stand_out_are_named_with_their_chance(scan_copy: Path) -> None:
    put(scan_copy)  # neuron n is led by word n % 4: boat, cat, dog, train; every eighth by none
    store = ScanStore(scan_copy)
    activation = np.zeros((4, 32), dtype=np.float32)
    activation[:, 1::8] = activation[1:3, 2] = 1  # sixteen cats, two dogs
    place = token_place((1,), "w")
    found = point_at_all(store, store.stored_labels(), None, place, Rule.WRITTEN, activation, activation, None)
    assert found.total == 18
    cat = found.words[0]
    p = 32 / 128
    assert (cat.word, cat.count, cat.chance) == ("cat", 16, 18 * p)
    assert cat.z == pytest.approx((16 - 18 * p) / np.sqrt(18 * p * (1 - p)))
    assert len(found.words) == 1
    assert found.words_line == "words here: cat x16 (chance 4.5)"
    assert found.neurons[0].concept == "cat"
