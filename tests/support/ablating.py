"""The slow, obvious way to ablate and to read a word's log-odds: weights are changed, and the whole model runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm


@contextmanager
def scaled(vlm: Vlm, neuron: Neuron, factor: float) -> Iterator[None]:
    """A neuron's column of the down projection times a factor while the block runs."""
    down: Any = vlm.ffns[neuron.layer].down
    kept = down.weight[:, neuron.index].clone()
    with torch.no_grad():
        down.weight[:, neuron.index] *= factor
    try:
        yield
    finally:
        with torch.no_grad():
            down.weight[:, neuron.index] = kept


def without(vlm: Vlm, neuron: Neuron) -> Any:
    """A model whose neuron writes nothing while the block runs."""
    return scaled(vlm, neuron, 0.0)


@torch.inference_mode()
def log_odds(vlm: Vlm, encoded: Encoded, inputs: Inputs, token: int) -> float:
    """``log(p / (1 - p))`` of a token of the description, by the model's own logits in float64."""
    position = encoded.text.start + token
    given = {name: part.to(vlm.device) for name, part in inputs.items()}
    logits = vlm.model(**given, use_cache=False).logits[0, position - 1].double()
    target = int(encoded.input_ids[position])
    others = torch.cat([logits[:target], logits[target + 1 :]])
    return float(logits[target] - others.logsumexp(dim=0))
