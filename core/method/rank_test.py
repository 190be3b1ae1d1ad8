"""A value's rank among others that are like it but for one thing: p, q, an interval, and which others are nearest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.correlation import COVERAGE, IntervalKind
from vlmscope.core.method.t_quantile import t_quantile

INTERVAL_FROM = 3  #: values that an interval needs
STUDENT_FROM = 6  #: values that Student's interval needs; below, the interval is their range


def two_sided_p(value: float, others: Sequence[float]) -> float:
    """How often a value drawn with ``others`` would be as far out as ``value``, at either end; never 0.

    ``min(1, 2 * min((1 + #{other <= value}) / (K + 1), (1 + #{other >= value}) / (K + 1)))``. Equal values count on
    both sides, so that ties make p larger. Without others it is 1.

    Source: Phipson and Smyth 2010, "Permutation p-values should never be zero" (arXiv 1603.05766), for the 1 that is
    added; the smaller end is doubled.

    Raises:
        ValueError: if a value is not finite.
    """
    found = np.asarray(others, dtype=np.float64)
    if not (np.isfinite(value) and np.isfinite(found).all()):
        raise ValueError("a value is not finite")
    ends = 1 + min(np.count_nonzero(found <= value), np.count_nonzero(found >= value))
    return min(1.0, 2 * int(ends) / (found.size + 1))


def q_values(ps: Sequence[float | None]) -> list[float | None]:
    """The false discovery rate at which each of these tests is still found, in their order; None for a test without p.

    Formula and source as in ``q_array``.
    """
    found = q_array(np.array([np.nan if p is None else p for p in ps], dtype=np.float64))
    return [None if p is None else q for p, q in zip(ps, found.tolist(), strict=True)]


def q_array(ps: NDArray[np.float64], tests: int | None = None) -> NDArray[np.float64]:
    """The false discovery rate at which each of many tests is still found; nan for a test without p.

    ``q`` of the k-th smallest of m is the least ``p_i * m / i`` over i >= k, 1 at most. Tests without p are not of
    the m.

    Source: Benjamini and Hochberg 1995, "Controlling the false discovery rate".

    Args:
        ps: float64 of any shape. tests: m, where these are some of more tests. The others then count as if their p were
            larger than all of these: q is exact or too large.

    Returns:
        float64 of the same shape.
    """
    flat = ps.ravel()
    order = np.argsort(flat, kind="stable")  # nan last
    known = order[: np.count_nonzero(~np.isnan(flat))]
    rank = np.arange(1, len(known) + 1)
    ratio = flat[known] * (len(known) if tests is None else tests) / rank
    found = np.full(flat.shape, np.nan)
    found[known] = np.minimum(np.minimum.accumulate(ratio[::-1])[::-1], 1.0)
    return found.reshape(ps.shape)


@dataclass(frozen=True)
class Interval:
    """``kind``: how it was made."""

    low: float
    high: float
    kind: IntervalKind


def mean_interval(values: Sequence[float]) -> Interval | None:
    """A 95 % interval of the mean of ``values``: Student's t, below six of them their range.

    Of normal values it covers 95 % whatever their number. A percentile bootstrap of six values covers 86 %.

    Source: Student 1908, "The probable error of a mean".

    Returns:
        None below three values. Equal values have an interval of no width.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.size < INTERVAL_FROM:
        return None
    if found.size < STUDENT_FROM:
        return Interval(float(found.min()), float(found.max()), IntervalKind.RANGE)
    mean = float(found.mean())
    half = t_quantile(COVERAGE, found.size - 1) * float(found.std(ddof=1)) / math.sqrt(found.size)
    return Interval(mean - half, mean + half, IntervalKind.STUDENT)


def nearest_in_ratio(
    sizes: NDArray[np.float32], wanted: float, allowed: NDArray[np.bool_], count: int
) -> NDArray[np.int64]:
    """The indices of the ``count`` sizes nearest to ``wanted``, by the logarithm of their ratio, the nearest first.

    Args:
        sizes: float32 (F,), not negative.
        wanted: a size above 0.
        allowed: bool (F,), which may be chosen. A size of 0 is not near to anything, and never chosen.

    Returns:
        int64 (count,), fewer where fewer are allowed; of equally near ones the lower index first.
    """
    those = np.flatnonzero(allowed & (sizes > 0) & np.isfinite(sizes))
    far = np.abs(np.log(sizes[those].astype(np.float64) / wanted))
    chosen: NDArray[np.int64] = those[np.argsort(far, kind="stable")[:count]]
    return chosen
