"""Labels against the method, spelled out slowly and obviously (method.md, "Labels" and "To be exact about")."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from vlmscope.core.base.errors import UsageError
from vlmscope.core.method.labels import Label, Labels, Thresholds, cutoff, label_neurons, sample_votes

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
MAXIMA = st.one_of(
    FLOATS, st.sampled_from([0.0, -0.0, -1.0, 3.0, float(np.float32(1e-45)), float(np.finfo(np.float32).max)])
)
LEVELS = st.one_of(st.floats(0, 10), st.sampled_from([0.0, 2.0, 3.0, 10.0]))
THRESHOLDS = st.builds(Thresholds, T_v=LEVELS, T_t=LEVELS, high_confidence=st.sampled_from([0.0, 0.5, 0.8, 1.0]))


def is_above(activation: float, threshold: float, maximum: float) -> bool:
    """The method's predicate, word for word."""
    return maximum > 0 and float(activation) * 10 > threshold * float(maximum)


def slow_vote(visual: float, text: float, maximum: float, at: Thresholds) -> Label:
    seen, read = is_above(visual, at.T_v, maximum), is_above(text, at.T_t, maximum)
    if seen and read:
        return Label.MULTIMODAL
    if seen:
        return Label.VISUAL
    return Label.TEXT if read else Label.UNKNOWN


def slow_label(votes: Sequence[Label], at: Thresholds) -> tuple[list[int], Label, bool]:
    counts = [sum(vote is which for vote in votes) for which in Label]
    label = max(Label, key=lambda which: counts[which])  # max keeps the first of equals
    return counts, label, counts[label] / len(votes) > at.high_confidence


@pytest.mark.filterwarnings("ignore:overflow encountered in nextafter")  # at the largest float32
@given(maximum=MAXIMA, threshold=LEVELS, steps=st.integers(-3, 3))
def test_cutoff_is_the_predicate_at_neighbouring_floats(maximum: float, threshold: float, steps: int) -> None:
    activation = np.float32(threshold * maximum / 10)
    for _ in range(abs(steps)):
        activation = np.nextafter(activation, np.float32(math.copysign(math.inf, steps)))
    bound = cutoff(np.array([maximum], dtype=np.float32), threshold)
    assert bound.dtype == np.float32
    assert bool(activation > bound[0]) == is_above(float(activation), threshold, maximum)


@pytest.mark.filterwarnings("ignore:overflow encountered in nextafter")
@given(maximum=MAXIMA, threshold=LEVELS, activation=st.one_of(FLOATS, st.just(-math.inf)))
def test_cutoff_is_the_predicate_anywhere(maximum: float, threshold: float, activation: float) -> None:
    bound = cutoff(np.array([maximum], dtype=np.float32), threshold)
    assert bool(np.float32(activation) > bound[0]) == is_above(activation, threshold, maximum)


@pytest.mark.parametrize("maximum", [0.0, -0.0, -2.5])
def test_nothing_is_above_a_threshold_when_the_maximum_is_not_positive(maximum: float) -> None:
    assert cutoff(np.array([maximum], dtype=np.float32), 0.0)[0] == np.inf


def test_zero_and_ten_are_thresholds() -> None:
    maximum = np.array([3.0], dtype=np.float32)
    assert cutoff(maximum, 0.0)[0] == 0.0
    assert cutoff(maximum, 10.0)[0] == 3.0


@st.composite
def scans(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], int, Thresholds]:
    """Order statistics of a few neurons, many of them exactly on a threshold or missing; the last entries unused."""
    neurons, entries = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    valid = draw(st.integers(1, entries))
    at = draw(THRESHOLDS)
    values = st.sampled_from([-math.inf, -1.0, 0.0, 0.4, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0])
    grid = hnp.arrays(np.float32, (neurons, entries), elements=values)
    maximum = draw(hnp.arrays(np.float32, (neurons,), elements=st.sampled_from([-1.0, 0.0, 2.0, 2.5])))
    return draw(grid), draw(grid), maximum, valid, at


@given(scans())
def test_labels_equal_the_slow_reference(
    scan: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], int, Thresholds],
) -> None:
    visual, text, maximum, valid, at = scan
    found = label_neurons(visual, text, maximum, valid, at)
    votes = sample_votes(visual, text, maximum, at)
    for n in range(len(maximum)):
        expected = [slow_vote(visual[n, k], text[n, k], maximum[n], at) for k in range(valid)]
        assert votes[n, :valid].tolist() == expected
        counts, label, high_confidence = slow_label(expected, at)
        assert found.votes[n].tolist() == counts
        assert found.label[n] == label
        assert found.high_confidence[n] == high_confidence
        assert found.fractions[n].tolist() == [count / valid for count in counts]
    again = Labels.from_votes(found.votes, valid, at)
    assert np.array_equal(again.label, found.label)
    assert np.array_equal(again.high_confidence, found.high_confidence)


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ((1, 1, 1, 1), Label.VISUAL),
        ((0, 2, 2, 0), Label.TEXT),
        ((1, 1, 2, 2), Label.MULTIMODAL),
        ((0, 0, 0, 0), Label.VISUAL),
        ((1, 1, 1, 2), Label.UNKNOWN),
    ],
)
def test_on_a_tie_the_first_of_visual_text_multimodal_unknown_wins(votes: tuple[int, ...], label: Label) -> None:
    counts = np.array([votes], dtype=np.uint16)
    assert Labels.from_votes(counts, max(sum(votes), 1), Thresholds()).label[0] == label


@pytest.mark.parametrize(("largest", "high_confidence"), [(40, False), (41, True), (50, True)])
def test_high_confidence_is_strictly_more_than_the_share(largest: int, high_confidence: bool) -> None:
    votes = np.array([[largest, 50 - largest, 0, 0]], dtype=np.uint16)
    assert bool(Labels.from_votes(votes, 50, Thresholds()).high_confidence[0]) is high_confidence


def test_more_than_255_samples_are_counted() -> None:
    high = np.ones((1, 300), dtype=np.float32)
    votes = label_neurons(high, -high, np.ones(1, dtype=np.float32), 300, Thresholds()).votes
    assert votes.tolist() == [[300, 0, 0, 0]]


def test_without_samples_there_are_no_fractions_and_no_confidence() -> None:
    none = np.full((2, 5), -np.inf, dtype=np.float32)
    labels = label_neurons(none, none, np.ones(2, dtype=np.float32), 0, Thresholds())
    assert labels.fractions.tolist() == [[0.0] * 4] * 2
    assert not labels.high_confidence.any()


def test_counts_are_by_layer() -> None:
    votes = np.array([[[3, 0, 0, 0], [0, 3, 0, 0]], [[0, 0, 0, 3], [0, 0, 0, 3]]], dtype=np.uint16)
    assert Labels.from_votes(votes, 3, Thresholds()).counts().tolist() == [[1, 1, 0, 0], [0, 0, 0, 2]]


def test_labels_have_a_word_and_a_letter() -> None:
    assert [label.word for label in Label] == ["visual", "text", "multimodal", "unknown"]
    assert [label.letter for label in Label] == ["V", "T", "M", "·"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("T_v", -0.1),
        ("T_v", 10.1),
        ("T_v", math.nan),
        ("T_t", math.inf),
        ("T_t", -math.inf),
        ("n_v", 0),
        ("n_v", 9),
        ("n_t", 0),
        ("n_t", 5),
        ("high_confidence", 1.1),
        ("high_confidence", -0.1),
        ("high_confidence", math.nan),
    ],
)
def test_thresholds_outside_their_range_are_wrong_use(name: str, value: float) -> None:
    with pytest.raises(UsageError) as caught:
        Thresholds(**{name: value})  # type: ignore[arg-type]
    assert str(value) in caught.value.message


def test_the_ends_of_the_ranges_are_allowed() -> None:
    Thresholds(T_v=0, n_v=1, T_t=10, n_t=4, high_confidence=1)
    Thresholds(T_v=10, n_v=8, T_t=0, n_t=1, high_confidence=0)
