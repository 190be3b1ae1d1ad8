"""Enrichment against counting all draws."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.method.hypergeometric import enrichment_p, log_odds_ratio


@given(st.integers(0, 12), st.integers(0, 40), st.data())
def test_p_is_the_doubled_tail_of_exact_fractions(group: int, others: int, data: st.DataObject) -> None:
    drawn = data.draw(st.integers(0, group + others))
    ways = [math.comb(group, k) * math.comb(others, drawn - k) for k in range(drawn + 1)]
    found = enrichment_p(group, others, drawn)
    for k, own in enumerate(ways):
        tail = min(sum(ways[: k + 1]), sum(ways[k:])) / sum(ways)
        assert found[k] == pytest.approx(min(1.0, 2 * tail) if own else 1.0, rel=1e-9)


def test_p_counts_draws() -> None:
    draws = [len({0, 1, 2} & set(draw)) for draw in combinations(range(9), 4)]
    for k in range(4):
        tail = min(sum(one <= k for one in draws), sum(one >= k for one in draws)) / len(draws)
        assert enrichment_p(3, 6, 4)[k] == pytest.approx(min(1.0, 2 * tail))
    with pytest.raises(ValueError, match="10 drawn of 9"):
        enrichment_p(3, 6, 10)


def test_a_far_tail_of_a_large_scan_is_exact() -> None:
    exact = 2 * math.comb(230, 50) / math.comb(23_000, 50)  # below 1e-100, where 1 - F would be 0
    assert enrichment_p(230, 22_770, 50)[50] == pytest.approx(exact, rel=1e-7)


def test_odds_are_symmetric_and_finite() -> None:
    k, drawn = np.array([0.0, 5.0, 10.0]), np.array([10.0, 10.0, 10.0])
    found = log_odds_ratio(k, drawn, 20, 20)
    assert np.isfinite(found).all() and found[1] == pytest.approx(0)
    assert found[0] == pytest.approx(-found[2]) and found[2] > 2
    assert np.exp(log_odds_ratio(np.array([6.0]), np.array([10.0]), 20, 80))[0] == pytest.approx(
        (6.5 * 76.5) / (4.5 * 14.5)
    )
