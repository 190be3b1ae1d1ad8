"""How far two people agree: Cohen's kappa with its interval.

Sources: Cohen, "A coefficient of agreement for nominal scales", 1960; the standard error is the non-null one of Fleiss,
Cohen and Everitt, "Large sample standard errors of kappa and weighted kappa", 1969. It is for large samples: with few
neurons the interval is too narrow, so there is none below ``INTERVAL_FROM``.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z = 1.959964  #: of the normal distribution, 2.5 % are above it
INTERVAL_FROM = 20  #: decided by both


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance: 1 if complete, 0 as by chance, negative if less.

    Attributes:
        count: decided by both. same: of them, decided alike.
        expected: the share that would be alike by chance, if both decided independently in the same proportions.
        value: None where it is undefined: nothing decided by both, or both always decided the same one thing.
        low, high: 95 % interval, within -1 and 1; None below ``INTERVAL_FROM``.
    """

    count: int
    same: int
    expected: float
    value: float | None
    low: float | None
    high: float | None


def cohens_kappa(table: NDArray[np.integer]) -> Kappa:
    """Cohen's kappa, unweighted: an *unsure* against a *keep* counts as much as a *reject* against it.

    Args:
        table: whole numbers (K, K): how often the first person decided the row and the second one the column.
    """
    count, same = int(table.sum()), int(np.trace(table))
    if not count:
        return Kappa(0, 0, math.nan, None, None, None)
    p = table.astype(np.float64) / count
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    expected = float(rows @ columns)
    if expected >= 1 - 1e-12:
        return Kappa(count, same, expected, None, None, None)
    kappa = (same / count - expected) / (1 - expected)
    if count < INTERVAL_FROM:
        return Kappa(count, same, expected, kappa, None, None)
    diagonal = float((np.diag(p) * (1 - (rows + columns) * (1 - kappa)) ** 2).sum())
    crossed = p * (columns[:, None] + rows[None, :]) ** 2
    others = float((1 - kappa) ** 2 * (crossed.sum() - np.trace(crossed)))
    variance = (diagonal + others - (kappa - expected * (1 - kappa)) ** 2) / (count * (1 - expected) ** 2)
    half = Z * math.sqrt(max(variance, 0.0))
    return Kappa(count, same, expected, kappa, max(kappa - half, -1.0), min(kappa + half, 1.0))
