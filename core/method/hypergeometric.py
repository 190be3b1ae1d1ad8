"""Whether a neuron's top samples hold more of a group than by chance: exact, by the hypergeometric distribution.

Source: Fisher's exact test (1935) of a table of two by two.
"""

import math

import numpy as np
from numpy.typing import NDArray


def log_choose(n: int, most: int) -> NDArray[np.float64]:
    """ln C(n, k) for k = 0 to ``most``, minus infinity where k > n: float64 (most + 1,)."""
    whole = math.lgamma(n + 1)
    found = [whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) if k <= n else -math.inf for k in range(most + 1)]
    return np.array(found, dtype=np.float64)


def enrichment_p(group: int, others: int, drawn: int) -> NDArray[np.float64]:
    """The two-sided p of finding k of ``group`` among ``drawn`` samples of ``group + others``, by k.

    The smaller tail is doubled, 1 at most, as in the other exact tests here.

    Returns:
        float64 (drawn + 1,); 1 where k cannot occur.

    Raises:
        ValueError: if more are drawn than there are.
    """
    if drawn > group + others:
        raise ValueError(f"{drawn} drawn of {group + others}")
    logs = log_choose(group, drawn) + log_choose(others, drawn)[::-1] - log_choose(group + others, drawn)[drawn]
    chance = np.exp(logs)
    tails = np.minimum(np.cumsum(chance), np.cumsum(chance[::-1])[::-1])
    found: NDArray[np.float64] = np.where(chance > 0, np.minimum(2 * tails, 1.0), 1.0)
    return found


def log_odds_ratio(
    found: NDArray[np.float64], drawn: NDArray[np.float64], group: int, others: int
) -> NDArray[np.float64]:
    """The natural logarithm of the odds ratio: above 0 where the drawn samples hold more of the group than by chance.

    A half is added to each of the four counts (Haldane 1956, Anscombe 1956), so that it is finite, and nearer to 0
    where few are drawn.

    Args:
        found: how many of the drawn samples are of the group; any shape.
        drawn: how many are drawn; of the same shape, or one.
    """
    rest = drawn - found
    inside = np.log((found + 0.5) / (rest + 0.5))
    ratio: NDArray[np.float64] = inside - np.log((group - found + 0.5) / (others - rest + 0.5))
    return ratio
