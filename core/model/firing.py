"""Every neuron at one place of a sample: a few visual tokens, or a few tokens of its description."""

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm


def place_positions(encoded: Encoded, visual: tuple[int, ...], text: tuple[int, ...], before: bool) -> list[int]:
    """Positions in the sequence.

    Args:
        visual: visual tokens by their number. text: tokens of the description by theirs. before: whether text is read
            one position earlier, where the token is predicted.

    Raises:
        UsageError: if there are no such tokens, or none is named.
    """
    if not visual and not text:
        raise UsageError("No place is named.", "Name a patch or a word.")
    for numbers, count, kind in ((visual, len(encoded.visual), "visual"), (text, len(encoded.tokens), "text")):
        outside = next((number for number in numbers if not 0 <= number < count), None)
        if outside is not None:
            raise UsageError(f"The sample has {count} {kind} tokens; {outside} is not the number of one.")
    return [int(encoded.visual[number]) for number in visual] + [
        encoded.text.start + number - int(before) for number in text
    ]


def firing(
    vlm: Vlm, hook: HookPoint, inputs: Inputs, positions: list[int], stopped: Stopped = not_cancelled
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All neurons at some positions, the largest value over them, by one pass.

    Args:
        inputs: of one sample. positions: in its sequence, at least one.

    Returns:
        float32 (L, F), the activation at the hook point; float32 (L, F), the written size ``abs(z) * norm(d)``: what
        the neuron adds to the residual stream has this length.

    Raises:
        Cancelled: when ``stopped`` turns true, which is read before every layer.
    """
    activation, written = np.zeros((2, vlm.layers, vlm.neurons), dtype=np.float32)
    norms = vlm.column_norms

    def take(layer: int) -> Callable[[Tensor], None]:
        def activations(taken: Tensor) -> None:
            activation[layer] = taken[0, positions].float().amax(dim=0).cpu().numpy()

        return activations

    def take_written(layer: int) -> Callable[[Tensor], None]:
        def sizes(z: Tensor) -> None:
            written[layer] = z[0, positions].float().abs().amax(dim=0).cpu().numpy() * norms[layer]

        return sizes

    with vlm.stoppable(stopped, "The pass was stopped."), ExitStack() as hooks:
        for layer, ffn in enumerate(vlm.ffns):
            hooks.enter_context(ffn.hook(HookPoint.GATE_UP, take_written(layer)))
        vlm.forward(inputs, {layer: take(layer) for layer in range(vlm.layers)}, hook)
    return activation, written
