"""How much every neuron writes on a sample, from z, the input of each down projection."""

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.callbacks import Stopped, check, not_cancelled
from vlmscope.core.model.clean import CleanPass
from vlmscope.core.model.edits import Places
from vlmscope.core.model.vlm import Vlm


def written(
    vlm: Vlm, clean: CleanPass, places: Places, stopped: Stopped = not_cancelled
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The size and the mean of what every neuron writes at the positions ``places.edited``, one at least.

    Returns:
        float32 (L, F), ``sqrt(mean_t z(t)^2) * norm(d)``; float32 (L, F), the mean of z.

    Raises:
        Cancelled: when ``stopped`` turns true, which is read before every layer.
    """
    size, mean = np.zeros((2, vlm.layers, vlm.neurons), dtype=np.float32)
    for layer in range(vlm.layers):
        check(stopped, "The written sizes were stopped.")
        z = clean.written(vlm.ffns[layer], layer).z[0]
        z = z[places.edited.to(z.device)].float()
        size[layer], mean[layer] = z.square().mean(dim=0).sqrt().cpu().numpy(), z.mean(dim=0).cpu().numpy()
    return size * vlm.column_norms, mean
