"""Two rates of the same samples: the interval of their ratio, and whether they are equivalent.

Source: Bonett and Price 2006, "Confidence intervals for a ratio of binomial proportions based on paired data"
(Statistics in Medicine 25): Wilson's interval of each rate, narrowed by their dependence.
"""

import math

import numpy as np
from numpy.typing import NDArray

Z_90 = 1.644854  #: of the normal distribution, 5 % are above it
_MOST_Z, _BISECTIONS = 10.0, 40

Floats = NDArray[np.float64]


def ratio_interval(first: Floats, second: Floats, both: Floats, z: float | Floats = Z_90) -> tuple[Floats, Floats]:
    """The interval of the first rate over the second, 90 % unless told otherwise.

    Args:
        first, second: samples that pass by the first side alone, and by the second alone; float64 (n,).
        both: samples that pass by both.

    Returns:
        lower and upper end, float64 (n,): 0 to infinity where no sample passes.
    """
    n = first + second + both
    one, other = first + both, second + both
    with np.errstate(divide="ignore", invalid="ignore"):
        dependent = np.sqrt((first + second + 2) / ((one + 1) * (other + 1)))
        apart = np.sqrt((1 - (one + 1) / (n + 2)) / (one + 1)) + np.sqrt((1 - (other + 1) / (n + 2)) / (other + 1))
        k = z * dependent / apart

        def ends(x: Floats) -> tuple[Floats, Floats]:
            middle, half = 2 * x + k * k, k * np.sqrt(np.maximum(k * k + 4 * x * (1 - x / n), 0))
            return np.maximum(middle - half, 0) / (2 * (n + k * k)), (middle + half) / (2 * (n + k * k))

        (low, high), (other_low, other_high) = ends(one), ends(other)
        lower, upper = low / other_high, high / other_low
    return np.where(n > 0, lower, 0.0), np.where((n > 0) & (other_low > 0), upper, np.inf)


def equivalence_p(first: Floats, second: Floats, both: Floats, factor: float) -> Floats:
    """The p of the two rates being within ``factor`` of each other: that of two one-sided tests (Schuirmann 1987).

    It is below 5 % where the 90 % interval of their ratio is within ``1 / factor`` to ``factor``.

    Returns:
        float64 (n,); 1 where the ratio itself is not within.
    """
    one, other = first + both, second + both
    inside = (one < other * factor) & (other < one * factor)
    found = np.ones(first.shape)
    x, y, xy = first[inside], second[inside], both[inside]
    low, high = np.zeros(x.shape), np.full(x.shape, _MOST_Z)
    for _ in range(_BISECTIONS):
        z = (low + high) / 2
        lower, upper = ratio_interval(x, y, xy, z)
        within = (lower >= 1 / factor) & (upper <= factor)
        low, high = np.where(within, z, low), np.where(within, high, z)
    upper_tails = [math.erfc(float(z) / math.sqrt(2)) / 2 for z in low]
    found[inside] = np.array(upper_tails, dtype=np.float64)
    return found
