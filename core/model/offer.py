"""What a model offers a scan, from its configuration and processor alone: no weights are read.

Where the visual tokens look does not depend on the weights. So it is measured with random ones in the vision tower, and
the decoder's layers, all but one, are left out.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from vlmscope.core.base.errors import ModelError
from vlmscope.core.method.layout import Box
from vlmscope.core.model.devices import resolve_device, resolve_dtype
from vlmscope.core.model.ffn import decoder_of
from vlmscope.core.model.load import check_shape, loading, without_weights
from vlmscope.core.model.parts import Options, read_config, read_processor
from vlmscope.core.model.vlm import Vlm

_SPREAD = 0.02  #: standard deviation of weights that transformers initialises to zeros


@dataclass(frozen=True)
class Cover:
    """One covering of the picture, or of a part of it: how many tokens, on how many rows and columns."""

    tokens: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Offer:
    """What a scan of a model has.

    Attributes:
        architecture: type of the configuration and of its language model's.
        layers, neurons: how many layers, and neurons in each. ffn: the form of its FFNs.
        covers: of a picture of the given size, in the order of the sequence.
        seen: the part of the picture that the model sees, as shares.
        problem: why ``covers`` is empty: a message and a hint.
    """

    architecture: str
    layers: int
    neurons: int
    ffn: str
    covers: tuple[Cover, ...] = ()
    seen: Box | None = None
    problem: tuple[str, str] | None = None

    @property
    def visual_tokens(self) -> int:
        """How many visual tokens a picture of the given size has."""
        return sum(cover.tokens for cover in self.covers)


def offer(
    name: str,
    size: tuple[int, int],
    options: Options,
    image_options: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
) -> Offer:
    """Ask what ``name`` offers for a picture of ``size`` (width, height).

    Args:
        options: as ``read_config`` takes them. image_options: as ``Vlm`` takes them.
        device, dtype: as in ``ModelSpec``.

    Raises:
        ModelError: if its configuration cannot be read, or its layers cannot be scanned.
    """
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    with loading(name, where):
        config: Any = read_config(name, options)
        ffns = check_shape(name, config, kind, torch.device("meta"))
    text = config.get_text_config(decoder=True).model_type
    found = Offer(f"{config.model_type} + {text}", len(ffns), ffns[0].width, str(ffns[0].kind))
    try:
        with loading(name, where):
            vlm = Vlm(_shallow(config, kind, where), read_processor(name, config, options), name, image_options)
            layout, seen = vlm.sees(size)
    except ModelError as error:
        return replace(found, problem=(error.message, error.hint))
    counts = Counter(layout.cover.tolist())
    covers = tuple(Cover(counts[cover], *layout.grid_of(cover)) for cover in sorted(counts))
    return replace(found, covers=covers, seen=seen)


def _shallow(config: Any, kind: torch.dtype, where: torch.device) -> Any:
    """A model with random weights, one decoder layer, and a head without weights."""
    model = without_weights(config, kind)
    decoder = decoder_of(model)
    decoder.layers = nn.ModuleList(decoder.layers[:1])
    model.model.to_empty(device=where)
    with torch.no_grad(), torch.random.fork_rng([where] if where.type == "cuda" else []):
        torch.manual_seed(0)
        model.model.initialize_weights()
        for parameter in model.model.parameters():
            if parameter.dim() > 1 and not parameter.any():  # some projections begin as zeros: no picture passes
                parameter.normal_(0, _SPREAD)
    return model
