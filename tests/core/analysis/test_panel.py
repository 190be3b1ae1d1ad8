"""Samples across the range of a neuron, and neurons that act together, against slow and plain counting."""

from pathlib import Path

import numpy as np
import pytest

from vlmscope.core.analysis.coactivation import LEAST, correlation, correlations
from vlmscope.core.analysis.panel import QUANTILES, RANDOM, Drawn, across_range, neuron_panel
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.bfloat16 import decoded, encoded
from vlmscope.core.store.panel import Panel
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan

NEURON = Neuron(1, 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    """A panel of 40 of 60 samples; some neurons are made to act with ``NEURON``."""
    out = tmp_path_factory.mktemp("scan") / "scan"
    write_synthetic_scan(out, layers=2, neurons=30, samples=60, top_n=8, maps=1, grid=(2, 2), image=8, panel=40)
    path = out / "arrays-1" / "panel_text.npy"
    text = np.load(path)
    visual = np.load(out / "arrays-1" / "panel_visual.npy")
    both = np.maximum(decoded(text), decoded(visual))[NEURON.layer, NEURON.index]
    text[0, 3] = encoded(both * 2 + 1)  # in step
    text[0, 4] = encoded(10 - both)  # in opposition
    text[0, 6] = encoded(np.full(40, 3.0, np.float32))  # constant
    text[1, 7] = visual[1, 7] = encoded(np.full(40, -1.0, np.float32))  # never positive
    visual[0, 8] = encoded(np.full(40, -np.inf, np.float32))  # no visual token
    np.save(path, text)
    np.save(out / "arrays-1" / "panel_visual.npy", visual)
    return ScanStore(out)


def panel_of(store: ScanStore) -> Panel:
    return store.panel_for("A test")


def test_a_place_counts_the_samples_below(store: ScanStore) -> None:
    found = neuron_panel(store, panel_of(store), NEURON)
    activations = np.maximum(found.visual, found.text).tolist()
    for one, place in zip(activations, found.place.tolist(), strict=True):
        below, same = (sum(other < one for other in activations), activations.count(one))
        assert place == pytest.approx((below + same / 2) / 40)
    top = store.top_samples(NEURON)
    assert found.listed.tolist() == [sample in top for sample in found.samples.tolist()] and found.listed.any()
    assert neuron_panel(store, panel_of(store), Neuron(0, 6)).place.tolist() == [0.5] * 40
    with pytest.raises(UsageError, match="outside the model"):
        neuron_panel(store, panel_of(store), Neuron(2, 0))


def test_samples_across_the_range(store: ScanStore) -> None:
    panel = panel_of(store)
    found, chosen = neuron_panel(store, panel, NEURON), across_range(store, panel, NEURON)
    assert [one.drawn for one in chosen] == [Drawn.QUANTILE] * len(QUANTILES) + [Drawn.RANDOM] * RANDOM
    assert len({one.sample for one in chosen}) == len(chosen)
    assert not {one.sample for one in chosen} & set(store.top_samples(NEURON))
    for one in chosen:
        at = found.samples.tolist().index(one.sample)
        assert (one.place, one.visual, one.text) == (found.place[at], found.visual[at], found.text[at])
        assert one.activation == max(one.visual, one.text)
    unlisted = found.place[~found.listed]
    for one, quantile in zip(chosen, QUANTILES, strict=False):
        assert one.quantile == quantile
        assert abs(one.place - quantile) == pytest.approx(np.abs(unlisted - quantile).min())
    drawn = [one.sample for one in chosen if one.drawn is Drawn.RANDOM]
    assert drawn == sorted(drawn)
    assert across_range(store, panel, NEURON) == chosen
    assert {one.sample for one in across_range(store, panel, Neuron(1, 6))[-RANDOM:]} != set(drawn)


def test_few_samples_are_shown_once(tmp_path: Path) -> None:
    write_synthetic_scan(tmp_path / "s", layers=1, neurons=2, samples=10, top_n=4, grid=(2, 2), image=8, panel=10)
    store = ScanStore(tmp_path / "s")
    chosen = across_range(store, panel_of(store), Neuron(0, 0))
    assert sorted(one.sample for one in chosen) == sorted(set(range(10)) - set(store.top_samples(Neuron(0, 0))))
    write_synthetic_scan(tmp_path / "t", layers=1, neurons=2, samples=4, top_n=4, grid=(2, 2), image=8, panel=2)
    store = ScanStore(tmp_path / "t")
    assert across_range(store, panel_of(store), Neuron(0, 0)) == ()


def test_correlations_are_those_of_numpy_on_samples_in_neither_list(store: ScanStore) -> None:
    panel = panel_of(store)
    quick = correlations(store, panel, NEURON)
    one = neuron_panel(store, panel, NEURON)
    defined = 0
    for layer in range(store.layers):
        for index in range(store.neurons):
            other = neuron_panel(store, panel, Neuron(layer, index))
            left = ~(one.listed | other.listed)
            first, second = (found.activation[left].clip(0).astype(np.float64) for found in (one, other))
            slow = correlation(store, panel, NEURON, Neuron(layer, index))
            if left.sum() < LEAST or np.ptp(second) == 0:
                assert slow is None and np.isnan(quick[layer, index])
                continue
            defined += 1
            assert slow == pytest.approx(float(np.corrcoef(first, second)[0, 1]), abs=1e-9)
            assert quick[layer, index] == pytest.approx(slow, abs=1e-5)
    assert defined > 40
    assert quick[0, 3] > 0.99 and quick[0, 4] < -0.95
    assert np.isnan(quick[0, 6]) and np.isnan(quick[1, 7]) and quick[1, 5] == pytest.approx(1)


def test_too_few_samples_have_no_correlation(tmp_path: Path) -> None:
    write_synthetic_scan(tmp_path / "s", layers=1, neurons=3, samples=40, top_n=8, grid=(2, 2), image=8, panel=LEAST)
    store = ScanStore(tmp_path / "s")
    panel = panel_of(store)
    listed = sum(neuron_panel(store, panel, Neuron(0, 0)).listed)
    assert listed and correlation(store, panel, Neuron(0, 0), Neuron(0, 1)) is None
    assert np.isnan(correlations(store, panel, Neuron(0, 0))).all()


def test_a_sample_that_is_missing_counts_nowhere(store: ScanStore) -> None:
    """A panel whose columns are not all: those of the samples that are processed."""
    panel = panel_of(store)
    columns = np.flatnonzero(np.arange(40) % 5 > 0)
    fewer = Panel(panel.samples[columns], 40, columns, panel.stored)
    quick = correlations(store, fewer, NEURON)
    for index in (0, 3, 9):
        slow = correlation(store, fewer, NEURON, Neuron(0, index))
        assert slow is not None and quick[0, index] == pytest.approx(slow, abs=1e-5)
    assert len(neuron_panel(store, fewer, NEURON).samples) == 32
