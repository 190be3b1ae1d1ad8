"""Activations in two bytes: the upper 16 bits of a float32, rounded to the nearest, ties to even (bfloat16)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_NEGATIVE_ZERO = 0x8000
NO_TOKEN = 0xFF80  #: -inf, the largest activation of a sample that has no token of the kind


def encoded(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to bfloat16; what becomes -0.0 is 0.0, so that equal values have equal bits.

    Args:
        values: float32 of any shape, without NaN. Beyond the largest bfloat16, 3.39e38, they become infinite.

    Returns:
        uint16 of the same shape.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded = ((bits + half) >> np.uint32(16)).astype(np.uint16)
    rounded[rounded == _NEGATIVE_ZERO] = 0
    return rounded


def decoded(bits: NDArray[Any]) -> NDArray[np.float32]:
    """The float32 values that uint16 of any shape stand for; exact."""
    return (np.asarray(bits).astype(np.uint32) << np.uint32(16)).view(np.float32)
