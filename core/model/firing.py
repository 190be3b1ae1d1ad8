"""Every neuron at one place of a sample: a few visual tokens, or a few tokens of its description."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.callbacks import Stopped, check, not_cancelled
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.model.clean import STOPPED, CleanPass
from vlmscope.core.model.vlm import Encoded, Vlm


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
    vlm: Vlm, hook: HookPoint, clean: CleanPass, positions: list[int], stopped: Stopped = not_cancelled
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """All neurons at some positions: each layer's FFN runs on these positions alone.

    Args:
        clean: of the sample. positions: in its sequence, at least one.

    Returns:
        float32 (L, F) each, over the positions: the largest activation at the hook point, the smallest one, and the
        largest written size ``abs(z) * norm(d)``: what the neuron adds to the residual stream has this length.

    Raises:
        Cancelled: when ``stopped`` turns true, which is read before every layer.
    """
    activation, lowest, written = np.zeros((3, vlm.layers, vlm.neurons), dtype=np.float32)
    for layer, ffn in enumerate(vlm.ffns):
        check(stopped, STOPPED)
        taken: list[Tensor] = []
        with vlm.busy, torch.inference_mode(), ffn.hook(hook, taken.append), ffn.hook(HookPoint.GATE_UP, taken.append):
            ffn.block(clean.entered[layer][:, positions])
        active, z = (part[0].float().cpu() for part in taken)  # the hooks are called in this order, at one point too
        activation[layer] = active.amax(dim=0).numpy()
        lowest[layer] = active.amin(dim=0).numpy()
        written[layer] = z.abs().amax(dim=0).numpy()
    return activation, lowest, written * vlm.column_norms
