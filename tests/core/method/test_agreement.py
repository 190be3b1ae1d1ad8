"""Cohen's kappa: published values, slow references, and the cases that have none."""

import math

import numpy as np
import pytest

from vlmscope.core.method.agreement import INTERVAL_FROM, cohens_kappa


def test_published_values() -> None:
    found = cohens_kappa(np.array([[20, 5], [10, 15]]))  # Cohen's example as textbooks have it
    assert (found.count, found.same, found.expected) == (50, 35, 0.5) and found.value == pytest.approx(0.4)
    # Fleiss, Cohen and Everitt (1969), table 2: proportions of 200 patients; kappa .429.
    table = np.array([[0.53, 0.05, 0.02], [0.11, 0.14, 0.05], [0.01, 0.06, 0.03]])
    found = cohens_kappa((table * 200).round().astype(int))
    assert found.value == pytest.approx(0.429, abs=5e-4)
    assert found.low is not None and found.high is not None and found.value is not None
    assert found.high - found.value == pytest.approx(found.value - found.low)


def test_the_interval_covers_what_it_should() -> None:
    generator = np.random.default_rng(1)
    table = np.array([[0.4, 0.05, 0.05], [0.1, 0.15, 0.05], [0.05, 0.05, 0.1]])
    true = cohens_kappa((table * 10_000).astype(int)).value
    assert true is not None
    drawn = [cohens_kappa(generator.multinomial(80, table.ravel()).reshape(3, 3)) for _ in range(2000)]
    covered = [found.low is not None and found.high is not None and found.low <= true <= found.high for found in drawn]
    assert 0.93 < np.mean(covered) < 0.97


def test_counts_by_hand() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.integers(0, 3, (2, 200))
    table = np.zeros((3, 3), dtype=int)
    np.add.at(table, (first, second), 1)
    alike = float((first == second).mean())
    chance = sum(float((first == one).mean() * (second == one).mean()) for one in range(3))
    found = cohens_kappa(table)
    assert found.value == pytest.approx((alike - chance) / (1 - chance)) and found.expected == pytest.approx(chance)


def test_what_has_no_kappa_or_no_interval() -> None:
    nothing = cohens_kappa(np.zeros((3, 3), dtype=int))
    assert (nothing.count, nothing.value) == (0, None) and math.isnan(nothing.expected)
    same = cohens_kappa(np.diag([30, 0, 0]))
    assert (same.count, same.same, same.value, same.low) == (30, 30, None, None)
    few = cohens_kappa(np.diag([INTERVAL_FROM - 2, 1, 0]))
    assert few.value == 1 and few.low is None
    whole = cohens_kappa(np.diag([INTERVAL_FROM, 5, 5]))
    assert (whole.value, whole.low, whole.high) == (1, 1, 1)
    apart = cohens_kappa(np.array([[0, 20], [20, 0]]))
    assert apart.value == -1 and apart.low == -1
