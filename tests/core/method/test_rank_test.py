"""Ranks among matched neurons: p, q, intervals, and which are nearest, against slow references."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.method.correlation import IntervalKind
from vlmscope.core.method.rank_test import mean_interval, nearest_in_ratio, q_values, two_sided_p

numbers = st.floats(-5, 5).map(lambda value: round(value, 1))  # rounded, so that there are ties


@given(numbers, st.lists(numbers, max_size=45))
def test_p_counts_both_ends(value: float, others: list[float]) -> None:
    below = above = 1
    for other in others:
        below += other <= value
        above += other >= value
    expected = min(1.0, 2 * min(below, above) / (len(others) + 1))
    found = two_sided_p(value, others)
    assert found == pytest.approx(expected)
    assert 0 < found <= 1
    assert two_sided_p(-value, [-other for other in others]) == found


def test_p_at_its_ends() -> None:
    assert two_sided_p(-1.0, [0.0] * 39) == two_sided_p(1.0, [0.0] * 39) == pytest.approx(0.05)
    assert two_sided_p(0.0, [0.0] * 39) == 1  # all equal
    assert two_sided_p(3.0, []) == 1
    with pytest.raises(ValueError, match="not finite"):
        two_sided_p(math.nan, [1.0])
    with pytest.raises(ValueError, match="not finite"):
        two_sided_p(1.0, [math.inf])


@given(st.lists(st.none() | st.sampled_from([0.01, 0.02, 0.05, 0.3, 0.8, 1.0]), max_size=12))
def test_q_is_the_least_rate_at_which_a_test_is_found(ps: list[float | None]) -> None:
    known = sorted(p for p in ps if p is not None)

    def slow(p: float) -> float:
        rates = [known[i] * len(known) / (i + 1) for i in range(len(known)) if known[i] >= p]
        return min([1.0, *rates])

    found = q_values(ps)
    assert [q is None for q in found] == [p is None for p in ps]
    for p, q in zip(ps, found, strict=True):
        if p is not None and q is not None:
            assert q == pytest.approx(slow(p))
            assert p <= q <= 1


def test_q_of_known_values() -> None:
    assert q_values([]) == []
    assert q_values([None, 0.03]) == [None, pytest.approx(0.03)]
    assert q_values([0.04, 0.01, 0.03]) == [pytest.approx(value) for value in (0.04, 0.03, 0.04)]


def test_an_interval_takes_three_values_and_students_six() -> None:
    assert mean_interval([1.0, 2.0]) is None
    few = mean_interval([1.0, 5.0, 2.0])
    assert few is not None
    assert (few.low, few.high, few.kind) == (1.0, 5.0, IntervalKind.RANGE)
    constant = mean_interval([0.5] * 6)
    assert constant is not None
    assert (constant.low, constant.high, constant.kind) == (0.5, 0.5, IntervalKind.STUDENT)
    found = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0, 9.0])
    assert found is not None
    half = 2.570582 * math.sqrt(8 / 6)  # the table's t for five degrees of freedom; the variance is 8
    assert found.low == pytest.approx(4 - half, abs=1e-4)
    assert found.high == pytest.approx(4 + half, abs=1e-4)


@pytest.mark.parametrize("pictures", [6, 10])
def test_the_interval_of_a_mean_covers_what_it_names(pictures: int) -> None:
    """4,000 draws: 95 % have a standard error of 0.35 points. A percentile bootstrap of these covers 86 and 90 %."""
    drawn = np.random.default_rng(pictures).normal(3, 1, (4000, pictures))
    found = [mean_interval(values) for values in drawn.tolist()]
    assert np.mean([one is not None and one.low <= 3 <= one.high for one in found]) == pytest.approx(0.95, abs=0.012)


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 4.0, math.inf]), min_size=1, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.integers(0, 12),
)
def test_the_nearest_are_by_ratio_then_by_index(sizes: list[float], allowed: list[bool], count: int) -> None:
    wanted = 1.0
    those = [at for at, size in enumerate(sizes) if allowed[at] and 0 < size < math.inf]
    those.sort(key=lambda at: (abs(math.log(sizes[at] / wanted)), at))
    found = nearest_in_ratio(np.array(sizes, np.float32), wanted, np.array(allowed[: len(sizes)]), count)
    assert found.tolist() == those[:count]
