"""Values of a map in 4 bits each, two to a byte: small enough to keep the maps of many samples.

A byte b of a map (255 is the sample's own score) becomes one of 16 levels, ``(b + 8) // 17``: the nearest, as 255 is 15
times 17. The rule is in integers, so that every machine gets the same, and rising, so that it does not matter whether
the largest of several tokens is taken before or after it.
"""

import numpy as np
from numpy.typing import NDArray

LEVELS = 15  #: the level of the score itself
STEP = 17  #: bytes from a level to the next
HALF = STEP // 2


def packed_size(values: int) -> int:
    """Bytes that so many values take."""
    return (values + 1) // 2


def packed(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes of maps as levels, the first of two in the lower bits: uint8 (..., n) to (..., (n + 1) // 2)."""
    even = np.zeros((*values.shape[:-1], 2 * packed_size(values.shape[-1])), dtype=np.uint16)
    even[..., : values.shape[-1]] = (values.astype(np.uint16) + HALF) // STEP
    found: NDArray[np.uint16] = even[..., 0::2] | even[..., 1::2] << 4
    return found.astype(np.uint8)


def unpacked(levels: NDArray[np.uint8], values: int) -> NDArray[np.uint8]:
    """The first so many levels, each 0 to 15: uint8 (..., n) to (..., values)."""
    found = np.empty((*levels.shape[:-1], 2 * levels.shape[-1]), dtype=np.uint8)
    found[..., 0::2], found[..., 1::2] = levels & 0x0F, levels >> 4
    return found[..., :values]
