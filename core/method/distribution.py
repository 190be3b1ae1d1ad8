"""The distribution of one neuron's activation over tokens of one kind, as a scan stores it.

The bins are fixed, as they must be known before the first activation. Bin 0 holds values not above 0, bin 1 those above
0 and below 2**-9, bins 2 to 30 the intervals between 2**e, 1.5 * 2**e, 2**(e + 1) ... up to 48, and bin 31 all values
from 48 on. A float32's bin is then its upper ten bits less an offset, clamped: without a logarithm or a search.
(Positive denormals, below 1.2e-38, have no exponent bits and count as 0.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 32
BITS_SHIFT = 22  #: drops all but sign, exponent and the first mantissa bit of a float32
BITS_OFFSET = ((127 - 9) << 1) - 2  #: makes 2**-9 the lower edge of bin 2

#: Lower edges of bins 1 to 31, float64 (31,).
EDGES: NDArray[np.float64] = np.array([0.0] + [(1.0, 1.5)[k % 2] * 2.0 ** (k // 2 - 9) for k in range(BINS - 2)])


@dataclass(frozen=True)
class Distribution:
    """Activation statistics of one neuron over all tokens of one kind.

    Attributes:
        count: tokens seen.
        mean, mean_square: of the raw activation; nan if ``count`` is 0.
        share_active: fraction of the tokens with activation > 0; nan if ``count`` is 0.
        histogram: uint32 (32,), tokens per bin.
    """

    count: int
    mean: float
    mean_square: float
    share_active: float
    histogram: NDArray[np.uint32]
