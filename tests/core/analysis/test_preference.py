"""Modality preference against counting by hand, on a scan with planted neurons."""

import math
from pathlib import Path

import numpy as np
import pytest

from vlmscope.core.analysis.preference import LEAST, NORM, Preference, Preferences, preferences
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.bfloat16 import encoded
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan

VISUAL, TEXT, BOTH, RARE, DEAD = (Neuron(0, index) for index in range(5))
PANEL = 80


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    """The first two panel samples lack text or visual tokens. Maxima are 10: an activation is its norm."""
    out = tmp_path_factory.mktemp("scan") / "scan"
    write_synthetic_scan(out, layers=2, neurons=20, samples=100, top_n=8, maps=1, grid=(2, 2), image=8, panel=PANEL)
    arrays, rng = out / "arrays-1", np.random.default_rng(0)
    visual, text = (np.load(arrays / f"{name}.npy") for name in ("panel_visual", "panel_text"))
    maximum = np.load(arrays / "maximum.npy")
    maximum[0, :4], maximum[DEAD.layer, DEAD.index] = 10, 0

    def put(neuron: Neuron, by_visual: int, by_text: int, shift: int = 0) -> None:
        for array, passes, at in ((visual, by_visual, 2), (text, by_text, 2 + shift)):
            values = rng.uniform(-1, 1.9, PANEL)
            values[at : at + passes] = rng.uniform(2.1, 9, passes)
            array[neuron.layer, neuron.index] = encoded(values.astype(np.float32))

    put(VISUAL, 50, 5)
    put(TEXT, 0, 40)
    put(BOTH, 72, 70)
    put(RARE, 9, 9)
    visual[..., 0], text[..., 1] = encoded(np.full(1, -np.inf, np.float32)), encoded(np.full(1, -np.inf, np.float32))
    for name, array in (("panel_visual", visual), ("panel_text", text), ("maximum", maximum)):
        np.save(arrays / f"{name}.npy", array)
    return ScanStore(out)


@pytest.fixture(scope="module")
def found(store: ScanStore) -> Preferences:
    return preferences(store, store.panel_for("A test"))


def test_planted_neurons(found: Preferences) -> None:
    assert found.pairs == PANEL - 2  # without the samples that lack one side
    expected = {VISUAL: "visual", TEXT: "text", BOTH: "multimodal", RARE: "undecided", DEAD: "undecided"}
    assert {neuron: found.of(neuron).preference.word for neuron in expected} == expected
    own = found.of(VISUAL)
    assert (own.visual_only, own.text_only, own.both, own.neither) == (45, 0, 5, 28)
    assert own.ratio == 10 and own.interval[0] > 5 and own.q < 1e-6 and own.equivalence_q == 1
    own = found.of(TEXT)
    assert own.ratio == 0 and own.interval[0] == 0 and own.interval[1] < 0.2
    own = found.of(BOTH)
    assert own.equivalence_q < 0.05 and own.q > 0.05 and 0.8 < own.interval[0] < own.interval[1] < 1.25
    own = found.of(RARE)
    assert own.both == 9 < LEAST
    own = found.of(DEAD)
    assert own.neither == found.pairs and own.ratio is None and own.p == 1


@pytest.mark.parametrize("norm", [NORM, 0.7, 5.0])
def test_every_count_and_p_is_that_of_counting_by_hand(store: ScanStore, norm: float) -> None:
    panel = store.panel_for("A test")
    found = preferences(store, panel, norm)
    ps: list[float] = []
    for at in np.ndindex(2, 20):
        maximum = float(store.maximum[at])
        pairs = list(zip(panel.visual(at).tolist(), panel.text(at).tolist(), strict=True))
        sides = [
            (maximum > 0 and v * 10 > norm * maximum, maximum > 0 and t * 10 > norm * maximum)
            for v, t in pairs
            if math.isfinite(v) and math.isfinite(t)
        ]
        own = found.of(Neuron(*at))
        assert own.visual_only == sides.count((True, False)) and own.text_only == sides.count((False, True))
        assert own.both == sides.count((True, True)) and own.neither == sides.count((False, False))
        total, least = own.visual_only + own.text_only, min(own.visual_only, own.text_only)
        tail = sum(math.comb(total, k) for k in range(least + 1)) / 2**total
        assert own.p == pytest.approx(min(1.0, 2 * tail))
        ps.append(own.p)
    ordered = sorted(ps)
    for at, p in zip(np.ndindex(2, 20), ps, strict=True):
        rates = [value * len(ps) / (i + 1) for i, value in enumerate(ordered) if value >= p - 1e-15]
        assert found.of(Neuron(*at)).q == pytest.approx(min([1.0, *rates]))


def test_counts_are_by_layer(found: Preferences) -> None:
    counts = found.counts()
    assert counts.shape == (2, 4) and counts.sum() == 40
    assert counts[1, Preference.VISUAL] == np.count_nonzero(found.preference[1] == Preference.VISUAL)


def test_a_scan_of_nothing_like_a_pair_is_undecided(tmp_path: Path) -> None:
    write_synthetic_scan(tmp_path / "s", layers=1, neurons=3, samples=5, top_n=3, maps=1, grid=(2, 2), image=8, panel=5)
    path = tmp_path / "s" / "arrays-1" / "panel_text.npy"
    np.save(path, np.broadcast_to(encoded(np.full(1, -np.inf, np.float32)), (1, 3, 5)))
    store = ScanStore(tmp_path / "s")
    found = preferences(store, store.panel_for("A test"))
    assert found.pairs == 0 and (found.preference == Preference.UNDECIDED).all()
