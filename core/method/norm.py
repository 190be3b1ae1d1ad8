"""The norm of an activation: the neuron's maximum over the whole data set is 10 (method.md, "Normalisation")."""

import math

import numpy as np
from numpy.typing import NDArray

TOP = 10.0  #: the norm of the neuron's maximum


def norm(activation: NDArray[np.float32], maximum: float) -> NDArray[np.float32]:
    """``clip(10 * a / gmax, 0, 10)`` (method.md, "Normalisation").

    Args:
        activation: float32, any shape.
        maximum: gmax of the neuron over the whole data set.

    Returns:
        float32 of the same shape; zeros if ``maximum <= 0`` or is not finite; 0 where an activation is nan.
    """
    if not math.isfinite(maximum) or maximum <= 0:
        return np.zeros(activation.shape, dtype=np.float32)
    scaled = np.clip(activation.astype(np.float64) * TOP / maximum, 0, TOP)
    return np.nan_to_num(scaled, nan=0.0).astype(np.float32)
