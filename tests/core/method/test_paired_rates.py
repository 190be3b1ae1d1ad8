"""The ratio of two paired rates: its interval by simulation, and the equivalence test by that interval."""

import numpy as np
import pytest

from vlmscope.core.method.paired_rates import Floats, equivalence_p, ratio_interval


def drawn(n: int, one: float, other: float, both: float) -> tuple[Floats, Floats, Floats]:
    """2,000 tables of ``n`` pairs: first alone, second alone, both."""
    shares = [one - both, other - both, both, 1 - one - other + both]
    counts = np.random.default_rng(n).multinomial(n, shares, 2000).astype(np.float64)
    return counts[:, 0], counts[:, 1], counts[:, 2]


@pytest.mark.parametrize(
    ("n", "one", "other", "both"), [(30, 0.3, 0.2, 0.1), (256, 0.5, 0.4, 0.35), (256, 0.1, 0.1, 0.02)]
)
def test_the_interval_covers(n: int, one: float, other: float, both: float) -> None:
    low, high = ratio_interval(*drawn(n, one, other, both))
    assert 0.88 < np.mean((low <= one / other) & (one / other <= high)) < 0.96


def test_equivalence_is_the_interval_within_the_factor() -> None:
    tables = drawn(256, 0.5, 0.45, 0.4)
    low, high = ratio_interval(*tables)
    p = equivalence_p(*tables, 1.25)
    assert np.array_equal(p < 0.05, (low >= 0.8) & (high <= 1.25)) and 0.1 < np.mean(p < 0.05) < 0.9
    at_the_border = equivalence_p(*drawn(256, 0.5, 0.4, 0.35), 1.25)
    assert np.mean(at_the_border < 0.05) < 0.08


def test_sides_are_alike_and_the_ends_are_decided() -> None:
    first, second, both = np.array([[0.0, 5, 0, 0], [0, 0, 5, 0], [0, 0, 0, 200]])
    low, high = ratio_interval(first, second, both)
    assert (low[0], high[0]) == (0, np.inf)  # nothing passes
    assert low[1] > 1 and high[1] == np.inf and low[2] == 0 and high[2] < 1
    assert low[3] == pytest.approx(1 / high[3]) and low[3] > 0.9
    p = equivalence_p(first, second, both, 1.25)
    assert p[:3].tolist() == [1, 1, 1] and p[3] < 1e-9
    some = np.array([3.0]), np.array([9.0]), np.array([20.0])
    ends, swapped = ratio_interval(*some), ratio_interval(some[1], some[0], some[2])
    assert ends[0][0] == pytest.approx(1 / swapped[1][0]) and ends[1][0] == pytest.approx(1 / swapped[0][0])
