"""The firmness of a vote against its definitions: exact fractions, published values, thresholds moved by hand."""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlmscope.core.analysis.firmness import Firmness, firmness, fragile, interval, moved, neuron_firmness, sign_test
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Labels, Thresholds
from vlmscope.core.store.reader import ScanStore


def slow_sign_test(larger: int, smaller: int) -> float:
    """Both tails added up, in whole numbers: splits of the votes at least as far from even as this one."""
    total = larger + smaller
    far = [k for k in range(total + 1) if abs(2 * k - total) >= larger - smaller]
    return float(Fraction(sum(math.comb(total, k) for k in far), 2**total))


def upper_tail(votes: int, valid: int, p: Fraction) -> Fraction:
    """P(X >= votes), X binomial(valid, p), exactly."""
    terms = (math.comb(valid, k) * p**k * (1 - p) ** (valid - k) for k in range(votes, valid + 1))
    return sum(terms, Fraction(0))


def slow_label(store: ScanStore, neuron: Neuron, at: Thresholds) -> Label:
    """The label as method.md defines it, one sample after another."""
    where = (neuron.layer, neuron.index)
    maximum = float(store.maximum[where])
    counts = dict.fromkeys(Label, 0)
    for rank in range(store.manifest.valid):
        seen = maximum > 0 and float(store.arrays["top_visual"][(at.n_v - 1, *where, rank)]) * 10 > at.T_v * maximum
        read = maximum > 0 and float(store.arrays["top_text"][(at.n_t - 1, *where, rank)]) * 10 > at.T_t * maximum
        pairs = {(True, False): Label.VISUAL, (False, True): Label.TEXT, (True, True): Label.MULTIMODAL}
        counts[pairs.get((seen, read), Label.UNKNOWN)] += 1
    return max(Label, key=lambda which: counts[which])


def changed(scan: Path, **arrays: NDArray[np.generic]) -> ScanStore:
    """The scan with other arrays in memory."""
    store = ScanStore(scan)
    store.arrays.update(arrays)
    return store


def of_votes(scan: Path, votes: list[int], valid: int) -> Firmness:
    """The firmness of one neuron with these votes; the scan's own order statistics decide nothing here but the mark."""
    store = ScanStore(scan)
    store.manifest = store.manifest.model_copy(update={"scanned": valid, "top_n": max(valid, 1)})
    counts = np.broadcast_to(np.array(votes, dtype=np.uint16), (store.layers, store.neurons, 4))
    return firmness(store, Labels.from_votes(np.ascontiguousarray(counts), valid, Thresholds()))


@pytest.mark.parametrize("total", [*range(13), 50])
def test_the_sign_test_is_the_sum_of_both_tails(total: int) -> None:
    found = sign_test(total)
    expected = [slow_sign_test(total - smaller, smaller) for smaller in range(total // 2 + 1)]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("larger", "smaller", "p"),
    [(1, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (9, 1, 0.021484375), (8, 2, 0.109375), (15, 5, 0.0413894653)],
)
def test_the_sign_test_gives_the_values_of_tables(larger: int, smaller: int, p: float) -> None:
    assert sign_test(larger + smaller)[smaller] == pytest.approx(p, rel=1e-8)


@pytest.mark.parametrize("total", [200, 2000])
def test_the_sign_test_holds_for_many_votes(total: int) -> None:
    smaller = total // 2 - total // 40
    p = 2 * sum(math.comb(total, k) for k in range(smaller + 1)) / 2**total
    assert sign_test(total)[smaller] == pytest.approx(p, rel=1e-9)


@given(valid=st.one_of(st.integers(1, 20), st.just(50)), data=st.data())
def test_the_interval_leaves_out_a_fortieth_on_either_side(valid: int, data: st.DataObject) -> None:
    votes = data.draw(st.integers(0, valid))
    low, high = interval(votes, valid)
    assert 0 <= low <= votes / valid <= high <= 1
    tail = Fraction(1, 40)
    step = Fraction(1, 10**12)
    if votes:  # the exact tail crosses 1/40 within 1e-12 of the end
        assert upper_tail(votes, valid, Fraction(low) - step) < tail < upper_tail(votes, valid, Fraction(low) + step)
    else:
        assert low == 0
    if votes < valid:
        below = [1 - upper_tail(votes + 1, valid, Fraction(high) + move) for move in (step, -step)]
        assert below[0] < tail < below[1]
    else:
        assert high == 1


@pytest.mark.parametrize(
    ("votes", "valid", "low", "high"),
    # Clopper and Pearson's, as R's binom.test prints them; 0 of n has 1 - 0.025 ** (1 / n) as its upper end.
    [
        (5, 10, 0.1870860, 0.8129140),
        (8, 10, 0.4439045, 0.9747893),
        (0, 10, 0.0, 0.3084971),
        (50, 50, 0.9288783, 1.0),
        (1, 1, 0.025, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_interval_gives_published_values(votes: int, valid: int, low: float, high: float) -> None:
    assert interval(votes, valid) == pytest.approx((low, high), abs=1e-7)


def test_every_neuron_is_as_firm_as_its_votes_say(scan: Path) -> None:
    store = ScanStore(scan)
    labels = store.labels(Thresholds(T_v=4.5, T_t=3.5))
    found = firmness(store, labels)
    assert {found.margin.dtype, found.sign_p.dtype, found.low.dtype} == {np.dtype(np.float32)}
    assert found.margin.shape == found.fragile.shape == (store.layers, store.neurons)
    for place in np.ndindex(found.margin.shape):
        second, first = sorted(labels.votes[place].tolist())[-2:]
        low, high = interval(first, 8)
        one = found.of(Neuron(*place))
        assert one.share == first / 8
        assert one.margin == pytest.approx((first - second) / 8)
        assert one.sign_p == pytest.approx(slow_sign_test(first, second), rel=1e-6)
        assert (one.low, one.high) == pytest.approx((low, high), rel=1e-6)
        assert one == neuron_firmness(store, Neuron(*place), labels.thresholds)
    assert len(np.unique(found.margin)) > 2  # votes of the scan differ


@pytest.mark.parametrize(
    "thresholds",
    [Thresholds(T_v=4.5, T_t=3.5), Thresholds(0, 8, 10, 4), Thresholds(10, 1, 0, 1), Thresholds(9.5, 1, 9.5, 1)],
)
def test_fragile_is_what_another_threshold_labels_otherwise(scan: Path, thresholds: Thresholds) -> None:
    store = ScanStore(scan)
    labels = store.labels(thresholds)
    marks = fragile(store, labels)
    moves = [replace(thresholds, T_v=min(10.0, thresholds.T_v * share)) for share in (1 - 0.1, 1 + 0.1)] + [
        replace(thresholds, T_t=min(10.0, thresholds.T_t * share)) for share in (1 - 0.1, 1 + 0.1)
    ]
    for place in np.ndindex(marks.shape):
        neuron = Neuron(*place)
        second, first = sorted(labels.votes[place].tolist())[-2:]
        flips = {slow_label(store, neuron, move) for move in moves} != {slow_label(store, neuron, thresholds)}
        assert marks[place] == (flips or first == second), neuron
    if thresholds.T_v == 4.5:
        assert 0 < np.count_nonzero(marks) < marks.size


@pytest.mark.parametrize("kind", ["top_visual", "top_text"])
@pytest.mark.parametrize(
    ("norm", "is_fragile"), [(1.79, False), (1.81, True), (2.0, True), (2.19, True), (2.21, False)]
)
def test_a_mark_stands_where_ten_per_cent_decide(scan: Path, kind: str, norm: float, is_fragile: bool) -> None:
    """All samples of all neurons at one norm, of one kind only: a threshold of 2 reaches from 1.8 to 2.2."""
    store = ScanStore(scan)
    nothing = {name: np.full_like(store.arrays[name], -np.inf) for name in ("top_visual", "top_text")}
    nothing[kind] = np.full_like(nothing[kind], norm / 10)
    store = changed(scan, **nothing, maximum=np.ones_like(store.maximum))
    assert (fragile(store, store.labels(Thresholds(T_v=2, T_t=2))) == is_fragile).all()


def test_the_thresholds_that_are_tried() -> None:
    at = Thresholds(T_v=2, T_t=3)
    assert [(m.T_v, m.T_t) for m in moved(at)] == [
        pytest.approx(place) for place in ((1.8, 3), (2.2, 3), (2, 2.7), (2, 3.3))
    ]
    assert all((m.n_v, m.n_t, m.high_confidence) == (4, 2, 0.8) for m in moved(at))


def test_zero_cannot_move_and_ten_only_down() -> None:
    assert moved(Thresholds(T_v=0, T_t=0)) == ()
    assert [(m.T_v, m.T_t) for m in moved(Thresholds(T_v=10, T_t=0))] == [(9, 0)]
    assert [(m.T_v, m.T_t) for m in moved(Thresholds(T_v=0, T_t=9.5))] == [(0, pytest.approx(8.55)), (0, 10)]


@pytest.mark.parametrize("votes", [[4, 4, 0, 0], [0, 3, 2, 3], [2, 2, 2, 2]])
def test_a_tie_is_fragile_and_shows_nothing(scan: Path, votes: list[int]) -> None:
    found = of_votes(scan, votes, 8).of(Neuron(1, 2))
    assert (found.margin, found.sign_p, found.fragile) == (0, 1, True)


def test_without_samples_nothing_is_firm(scan: Path) -> None:
    found = of_votes(scan, [0, 0, 0, 0], 0).of(Neuron(0, 0))
    assert (found.share, found.margin, found.sign_p, found.low, found.high, found.fragile) == (None, 0, 1, 0, 1, True)


def test_one_vote_says_next_to_nothing(scan: Path) -> None:
    found = of_votes(scan, [0, 0, 1, 0], 1).of(Neuron(0, 0))
    assert (found.share, found.margin, found.sign_p, found.high) == (1, 1, 1, 1)
    assert found.low == pytest.approx(0.025)


def test_a_unanimous_vote(scan: Path) -> None:
    found = of_votes(scan, [0, 8, 0, 0], 8).of(Neuron(0, 0))
    assert (found.share, found.margin) == (1, 1)
    assert found.sign_p == pytest.approx(2 / 2**8)
    assert found.low == pytest.approx(0.025 ** (1 / 8))


def test_a_neuron_that_is_never_positive_is_firmly_unknown(scan: Path) -> None:
    store = changed(scan, maximum=np.zeros_like(ScanStore(scan).maximum))
    labels = store.labels(Thresholds())
    found = firmness(store, labels)
    assert (labels.label == Label.UNKNOWN).all()
    assert not found.fragile.any() and (found.margin == 1).all()
