"""One neuron's exact activations over one sample."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm


class _Done(Exception):  # noqa: N818  # ends a pass early; it is not an error
    pass


def neuron_maps(
    vlm: Vlm, hook: HookPoint, neuron: Neuron, encoded: Encoded, inputs: Inputs, stopped: Stopped = not_cancelled
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One neuron's exact activations over one sample, by a pass that ends after its layer.

    Returns:
        float32 (V,) over the visual tokens, and float32 (tokens,) over the description.

    Raises:
        Cancelled: when ``stopped`` turns true, which is read before every layer.
    """
    taken: list[Tensor] = []

    def take(activation: Tensor) -> None:
        taken.append(neuron.sign * activation[0, :, neuron.unit].float().cpu())
        raise _Done

    with vlm.stoppable(stopped, f"The pass for {neuron} was stopped."), suppress(_Done):
        vlm.forward(inputs, {neuron.layer: take}, hook)
    row = taken[0].numpy()
    return row[encoded.visual], row[encoded.text]
