"""The statistics against counts by hand."""

from pathlib import Path

import numpy as np

from tests.support.made_control import make_control
from tests.support.made_statistics import made_up
from vlmscope.core.analysis.firmness import fragile
from vlmscope.core.analysis.statistics import named_apart, scan_statistics, share_intervals, shares
from vlmscope.core.base.demo import demo_folder
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.reader import ScanStore

AT = Thresholds(T_v=4.5, T_t=3.5)


def test_every_neuron_is_counted_where_it_belongs(scan: Path) -> None:
    store = ScanStore(scan)
    labels = store.labels(AT)
    marks = fragile(store, labels)
    found = scan_statistics(store, labels, marks)
    expected = np.zeros((3, 4, 4), dtype=np.int64)
    for place in np.ndindex(labels.label.shape):
        cell = (place[0], labels.label[place])
        expected[0][cell] += 1
        expected[1][cell] += labels.high_confidence[place]
        expected[2][cell] += marks[place]
    assert found.fragile is not None
    assert np.array_equal([found.counts, found.high_confidence, found.fragile], expected)
    assert 0 < expected[1].sum() < 128 and 0 < expected[2].sum() < 128  # neither none nor all are marked
    assert (found.name, found.model, found.samples, found.neurons, found.layers) == ("small", "synthetic", 12, 32, 4)
    assert (found.thresholds, found.seed, found.control) == (AT, None, None)
    assert scan_statistics(store, labels).fragile is None
    assert found.both == (found,)


def test_the_control_is_labelled_at_the_same_thresholds(scan_copy: Path) -> None:
    folder = make_control(scan_copy, seed=8)
    store = ScanStore(scan_copy)
    found = scan_statistics(store, store.labels(AT))
    assert found.control is not None and found.both == (found, found.control)
    assert (found.control.seed, found.control.name, found.control.thresholds) == (8, "copy.control", AT)
    expected = ScanStore(folder).labels(AT)
    assert np.array_equal(found.control.counts, expected.counts())
    assert not np.array_equal(found.control.counts, found.counts)


def test_shares_are_of_the_row_or_of_the_given_whole() -> None:
    counts = np.array([[1, 1, 2, 0], [0, 0, 0, 0]])
    found = shares(counts)
    assert found[0].tolist() == [0.25, 0.25, 0.5, 0] and np.isnan(found[1]).all()
    assert shares(counts, np.array([8, 8])).tolist() == [[0.125, 0.125, 0.25, 0], [0, 0, 0, 0]]


def test_the_demo_is_called_demo() -> None:
    store = ScanStore(demo_folder() / "scan")
    assert scan_statistics(store, store.stored_labels()).name == "demo"


def test_equal_names_are_told_apart_by_what_was_typed() -> None:
    found = named_apart([made_up([[1, 0, 0, 0]], name=name) for name in ("a", "b", "a")], ["x/a", "b", "y/a"])
    assert [scan.name for scan in found] == ["x/a", "b", "y/a"]


def test_intervals_are_wilsons_and_cover_what_they_should() -> None:
    low, high = share_intervals(np.array([[3, 0, 7, 0], [0, 0, 0, 0]]))
    # Wilson's interval of 3, 0 and 7 of 10, as published tables have it.
    assert low[0].round(4).tolist() == [0.1078, 0, 0.3968, 0] and high[0].round(4).tolist() == [
        0.6032,
        0.2775,
        0.8922,
        0.2775,
    ]
    assert np.isnan(low[1]).all() and np.isnan(high[1]).all()
    generator = np.random.default_rng(3)
    drawn = generator.multinomial(200, [0.5, 0.3, 0.15, 0.05], size=4000)
    low, high = share_intervals(drawn)
    covered = ((low <= [0.5, 0.3, 0.15, 0.05]) & (high >= [0.5, 0.3, 0.15, 0.05])).mean(axis=0)
    assert (covered > 0.935).all() and (covered < 0.975).all()
