"""AUC, interval and p of two groups against counting pairs and splits."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlmscope.core.method import rank_sum
from vlmscope.core.method.rank_sum import Aucs, auc_intervals, aucs, least_p, rank_sum_p, rank_sum_tails

values = st.lists(st.integers(0, 6), min_size=1, max_size=12)


def as_row(numbers: list[int]) -> NDArray[np.float32]:
    return np.array([numbers], dtype=np.float32)


@given(values, values)
def test_auc_counts_pairs_and_ties(first: list[int], second: list[int]) -> None:
    found = aucs(as_row(first), as_row(second))
    pairs = [(x > y) + (x == y) / 2 for x in first for y in second]
    assert found.value[0] == pytest.approx(sum(pairs) / len(pairs))
    both = first + second
    assert found.ties[0] == sum(both.count(value) ** 3 - both.count(value) for value in set(both))


def test_p_counts_all_splits() -> None:
    ranks = range(9)
    splits = [set(split) for split in combinations(ranks, 4)]

    def u(split: set[int]) -> int:
        return sum(x > y for x in split for y in ranks if y not in split)

    all_u = [u(split) for split in splits]
    for split in splits[::7]:
        rest = [rank for rank in ranks if rank not in split]
        found = aucs(as_row(sorted(split)), as_row(rest))
        own = u(split)
        tail = min(sum(one <= own for one in all_u), sum(one >= own for one in all_u)) / len(all_u)
        assert rank_sum_p(found)[0] == pytest.approx(min(1.0, 2 * tail))
    assert least_p(4, 5) == pytest.approx(2 / len(splits))
    assert np.diff(rank_sum_tails(4, 5)).min() > 0


def test_ties_make_p_larger() -> None:
    first, second = as_row([1, 1, 2]), as_row([0, 0, 0, 1])
    found = aucs(first, second)
    both = [*first[0], *second[0]]
    shares = []
    for split in combinations(range(7), 3):
        one, other = [both[i] for i in split], [both[i] for i in range(7) if i not in split]
        shares.append(np.mean([(x > y) + (x == y) / 2 for x in one for y in other]))
    exact = np.mean([abs(share - 0.5) >= abs(found.value[0] - 0.5) - 1e-9 for share in shares])
    assert rank_sum_p(found)[0] >= exact


def test_beyond_the_exact_the_normal_distribution_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.4, 1, (20, 40)).astype(np.float32), rng.normal(0, 1, (20, 60)).astype(np.float32)
    found = aucs(first, second)
    exact = rank_sum_p(found)
    monkeypatch.setattr(rank_sum, "EXACT_PAIRS", 0)
    normal = rank_sum_p(found)
    assert np.abs(normal - exact).max() < 0.01 and exact.min() < 0.05
    same = aucs(np.ones((1, 4), dtype=np.float32), np.ones((1, 5), dtype=np.float32))
    assert same.value[0] == 0.5 and rank_sum_p(same)[0] == 1


@given(values, values)
def test_the_variance_is_that_of_delong(first: list[int], second: list[int]) -> None:
    pairs = np.array([[(x > y) + (x == y) / 2 for y in second] for x in first])
    expected = sum(part.var(ddof=1) / len(part) for part in (pairs.mean(1), pairs.mean(0)) if len(part) > 1)
    assert aucs(as_row(first), as_row(second)).variance[0] == pytest.approx(expected)


def made(value: list[float], a: int, b: int) -> Aucs:
    return Aucs(a, b, np.array(value), np.zeros(len(value)), np.zeros(len(value)))


def test_the_interval_has_a_width_at_the_ends_and_is_symmetric() -> None:
    found = made([0.0, 0.2, 0.5, 0.8, 1.0], 5, 40)
    low, high = auc_intervals(found)
    assert (low <= found.value).all() and (found.value <= high).all()
    assert low == pytest.approx(1 - high[::-1], abs=1e-9)
    assert low[0] == 0 and high[-1] == 1 and 0.5 < low[-1] < 0.9
    narrow, wide = auc_intervals(made([0.0, 0.2, 0.5, 0.8, 1.0], 50, 400))
    assert (wide - narrow < high - low).all()
    swapped = auc_intervals(made([0.2], 40, 5))
    assert (swapped[0][0], swapped[1][0]) == pytest.approx((low[1], high[1]))


def test_the_interval_covers() -> None:
    rng = np.random.default_rng(1)
    for a, b, kind in ((12, 244, "few respond"), (8, 60, "scaled"), (244, 12, "scaled"), (30, 40, "wider")):
        first, second = rng.exponential(1, (600, a)), rng.exponential(1, (600, b))
        true = 0.75
        if kind == "few respond":
            first += 50 * (rng.random(first.shape) < 0.5)
        elif kind == "scaled":
            first *= 3
        else:
            first, second = rng.normal(0, 3, first.shape), rng.normal(0, 1, second.shape)
            true = 0.5
        low, high = auc_intervals(aucs(first.astype(np.float32), second.astype(np.float32)))
        assert 0.92 < np.mean((low <= true) & (true <= high)) <= 1, (a, b, kind)
