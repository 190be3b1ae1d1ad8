"""What words reach by chance: of a small world of backgrounds and a rare object, written out by hand."""

from types import SimpleNamespace
from typing import cast

import numpy as np

from vlmscope.core.analysis import word_chance
from vlmscope.core.analysis.word_chance import of_control, of_mixtures
from vlmscope.core.method.concepts import find_concepts
from vlmscope.core.store.reader import ScanStore

SAMPLES, TOP = 90, 10
BACKGROUNDS = ("grass", "sea", "snow")


def world() -> tuple[ScanStore, list[str]]:
    """Each sample has one of three backgrounds; every ninth also a zebra. Of 60 neurons two are about zebras."""
    descriptions = [f"{BACKGROUNDS[at % 3]}{' with a zebra' if at % 9 < 1 else ''}" for at in range(SAMPLES)]
    rng = np.random.default_rng(0)
    top = []
    for neuron in range(60):
        members = [at for at in range(SAMPLES) if (at % 9 < 1 if neuron < 2 else at % 3 == neuron % 3)]
        top.append(rng.permutation(members)[:TOP])
    lines = np.tile(np.array([0, 1]), (SAMPLES, 1))
    store = SimpleNamespace(
        manifest=SimpleNamespace(scan_id="world", samples=SAMPLES, skipped=()),
        arrays={"top_sample": np.array(top, dtype=np.int32).reshape(2, 30, TOP), "sample_lines": lines},
        valid=TOP,
        layers=2,
        neurons=30,
        record=lambda at: SimpleNamespace(description=descriptions[at]),
    )
    return cast(ScanStore, store), descriptions


def test_backgrounds_are_pure_by_chance_and_objects_are_not() -> None:
    store, descriptions = world()
    concepts = find_concepts(store.arrays["top_sample"], descriptions, lambda _done, _of: None)
    purity = concepts.purity()
    assert concepts.leading(0, 0) == "zebra" and purity[0, 0] == 1 and (purity[1] == 1).all()
    chance = of_mixtures(store, concepts)
    by_word = dict(zip(concepts.words, chance.purity.tolist(), strict=False))
    assert all(by_word[name] > 0.9 for name in BACKGROUNDS)
    assert by_word["zebra"] < 0.7
    strength, zebra = concepts.strength[..., 0].astype(np.float32), concepts.words.index("zebra")
    assert strength[0, 0] - chance.strength[zebra] > 1 > (strength[1] - chance.of(concepts.word[1, :, 0])[1]).max()
    assert chance.purity[-1] == chance.strength[-1] == 0  # of no word


def test_the_nearest_share_the_most_lists() -> None:
    store, _ = world()
    top = store.arrays["top_sample"].reshape(-1, TOP)
    drawn = np.array([0, 7, 50])
    for sample, near in zip(drawn.tolist(), word_chance._nearest(store, drawn, 12), strict=True):
        shared = [sum(other in row for row in top[(top == sample).any(axis=1)].tolist()) for other in range(SAMPLES)]
        shared[sample] = 0
        slow = [at for at in sorted(range(SAMPLES), key=lambda at: (-shared[at], at))[:12] if shared[at]]
        assert near.tolist() == slow


def test_a_control_counts_where_its_words_are_the_scans() -> None:
    store, descriptions = world()
    concepts = find_concepts(store.arrays["top_sample"], descriptions, lambda _done, _of: None)
    other = find_concepts(store.arrays["top_sample"], [f"{text} steel" for text in descriptions], lambda _d, _o: None)
    found = of_control(concepts, other)
    values = other.purity()[other.word[..., 0] == other.words.index("zebra")]
    assert found.purity[concepts.words.index("zebra")] == np.float32(np.quantile(values, word_chance.QUANTILE))
    nothing = of_control(concepts, other, np.zeros(other.purity_hits.shape, dtype=np.bool_))
    assert not nothing.purity.any() and not nothing.strength.any()
