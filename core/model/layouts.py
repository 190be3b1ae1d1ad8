"""Measures where each visual token of a model looks, by asking the model and its processor: no family is named.

Two questions, answered apart:

- Which token does each number of the picture's tensors reach? Outside the decoder every token attends to itself alone
  for a moment. Then a number reaches one position of the sequence, and gradients tell which (``reached``).
- Where in the picture does each number lie? The processor is given ramps of grey, from left to right and from top to
  bottom, and each number reads off its own place (``coordinates``).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from vlmscope.core.base.errors import ModelError
from vlmscope.core.method.layout import Box, VisualLayout
from vlmscope.core.model.bounds import within_tables
from vlmscope.core.model.boxes import boxes_of, cover_whole, covers_of, regular, seen_of
from vlmscope.core.model.devices import input_device

Inputs = Mapping[str, Tensor]
#: The tensors that the processor makes of a picture, beside the prompt: batches of one sample.
Process = Callable[[Image.Image], Inputs]

#: For each floating-point input, flat: int64, a token, or -1 where a number reaches none.
Reach = Mapping[str, NDArray[np.int64]]

#: For each floating-point input, flat: float64, where in the picture a number lies: x and y; NaN for padding.
Places = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

_ALONE = "vlmscope_alone"  #: the name of the attention in which every token sees itself alone
_PARTS = 4  #: ramps that share an axis: with 256 greys each they tell 1024 places apart
_MOST_SHARED = 0.1  #: of the numbers, which may reach several tokens; 2e-5 were wrong in float16, 0 in other dtypes
_CONTRAST = 0.1  #: of the widest: a number that black and white change less is padding


@dataclass(frozen=True)
class Measured:
    """Where a model's visual tokens look in pictures of one shape.

    Attributes:
        tokens: int64 (V,), those that have a place, ascending, named as in the ``Reach``.
        layout: their boxes, as shares of ``seen``.
        seen: the part of the picture that the model sees.
    """

    tokens: NDArray[np.int64]
    layout: VisualLayout
    seen: Box


def measure(reach: Reach, places: Places, name: str) -> Measured:
    """Put the answers of ``reached`` and ``coordinates`` together. ``name`` is for messages.

    Raises:
        ModelError: if no token has a place.
    """
    token = np.concatenate(list(reach.values()))
    x, y = (np.concatenate([places[name][axis] for name in reach]) for axis in (0, 1))
    known = (token >= 0) & ~np.isnan(x) & ~np.isnan(y)
    if not known.any():
        raise _no_place(name, "black, white and grey pictures are the same to its processor")
    placed, boxes = boxes_of(token[known], x[known], y[known])
    cover = covers_of(boxes)
    seen, inside = seen_of(regular(boxes, cover))
    if not cover_whole(inside, cover):
        raise _no_place(name, "its tokens leave gaps, or overlap")
    try:
        return Measured(placed, VisualLayout.of(inside, cover), seen)
    except ValueError as error:
        raise _no_place(name, str(error)) from error


def _no_place(name: str, reason: str) -> ModelError:
    return ModelError(
        f"{name}: the places of its visual tokens cannot be measured: {reason}.",
        "Models whose visual tokens each look at a part of the picture can be scanned, e.g. llava-hf/llava-1.5-7b-hf.",
    )


def reached(model: Any, inputs: Inputs, name: str) -> Reach:
    """For each floating-point input of one sample, which position of the sequence each of its numbers reaches.

    The model runs on noise up to the decoder. Then the gradient of a random sum over all positions is taken, and again
    with the terms of position t times 2 ** (d - base / 2), where d is a digit of t. Such a factor is exact in floating
    point, and gradients are linear: the ratio of both gradients gives the digit. The vision tower costs one pass
    forward and three backward.

    Args:
        model: with a head; its parameters need no gradients. inputs: of one sample. name: for messages.

    Returns:
        int64, flat, for each input that reaches the decoder: positions, -1 where a number reaches none.

    Raises:
        ModelError: if no number reaches the sequence, or more than a tenth of them reach several positions.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(like.device, like.dtype)

    with torch.inference_mode(False), torch.enable_grad(), _alone(model):
        inputs = {name: part.to(input_device(model)) for name, part in inputs.items()}
        numbers = {name: noise(part).requires_grad_() for name, part in inputs.items() if part.is_floating_point()}
        others = {name: part for name, part in inputs.items() if name not in numbers}
        embedded = _embedded(model, {**others, **numbers})
        if embedded is None or not embedded.requires_grad:
            raise _no_token(name)
        base = 2 if embedded.dtype == torch.float16 else 64  # in float16 gradients would underflow
        tokens = embedded.shape[1]
        cotangent = noise(embedded)

        def gradients(weights: Tensor) -> dict[str, Tensor]:
            found = torch.autograd.grad(
                embedded, list(numbers.values()), cotangent * weights, retain_graph=True, allow_unused=True
            )
            return {
                name: part.detach().flatten().double().cpu()
                for name, part in zip(numbers, found, strict=True)
                if part is not None
            }

        plain = gradients(torch.ones_like(cotangent))
        place = torch.arange(tokens, device=embedded.device)
        found = {name: torch.zeros(part.shape, dtype=torch.int64) for name, part in plain.items()}
        single = {name: part != 0 for name, part in plain.items()}
        for digit in range(max(1, math.ceil(math.log(tokens, base)))):
            value = place // base**digit % base
            weights = torch.exp2((value - base // 2).to(embedded.dtype))[None, :, None]
            for key, part in gradients(weights).items():
                power = torch.log2(part / plain[key]) + base // 2  # NaN where the sign differs
                whole = power.round()
                single[key] &= ((power - whole).abs() < 0.05) & (whole >= 0) & (whole < base)
                found[key] += torch.where(single[key], whole, 0).long() * base**digit
    total = sum(int((part != 0).sum()) for part in plain.values())
    if total == 0:
        raise _no_token(name)
    shared = 1 - sum(int(part.sum()) for part in single.values()) / total
    if shared > _MOST_SHARED:
        raise ModelError(
            f"{name}: its visual tokens are not places: each looks at the whole picture, or at much of it "
            f"({shared:.0%} of the picture's numbers reach several tokens).",
            "Heatmaps need visual tokens that each look at a part of the picture. Those of resamplers and Q-Formers do "
            "not.",
        )
    return {key: torch.where(single[key] & (part < tokens), part, -1).numpy() for key, part in found.items()}


def _no_token(name: str) -> ModelError:
    return ModelError(
        f"{name}: no token of its sequence comes from the picture: its layers look at it by cross attention.",
        "A scan compares visual tokens with text tokens. Models that have both in one sequence can be scanned.",
    )


class _Embedded(Exception):  # noqa: N818  # ends a pass before the decoder; it is not an error
    pass


def _embedded(model: Any, inputs: Inputs) -> Tensor | None:
    """What the decoder is given: (1, T, hidden), differentiable by ``inputs``; None if it embeds the tokens itself.

    Raises:
        IndexError: if the inputs are outside a table, such as that of positions.
    """
    taken: list[Tensor | None] = []

    def take(_module: nn.Module, _args: Any, named: dict[str, Any]) -> None:
        taken.append(named.get("inputs_embeds"))
        raise _Embedded

    hooked = model.get_decoder().register_forward_pre_hook(take, with_kwargs=True)
    with hooked, suppress(_Embedded), within_tables():
        model.model(**inputs, use_cache=False)
    return taken[0] if taken else None


def _alone_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **named: Any
) -> tuple[Tensor, None]:
    """Each token's own value, (B, T, heads, size); real attention where queries and keys are not the same tokens."""
    if query.shape[-2] != key.shape[-2]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **named)
    return value.repeat_interleave(query.shape[1] // value.shape[1], dim=1).transpose(1, 2).contiguous(), None


AttentionInterface.register(_ALONE, _alone_attention)
AttentionMaskInterface.register(_ALONE, sdpa_mask)


@contextmanager
def _alone(model: Any) -> Iterator[None]:
    """Every module outside the decoder attends by ``_alone_attention`` while the block runs."""
    decoder = set(model.get_decoder().modules())
    inside = {id(config) for module in decoder if (config := getattr(module, "config", None)) is not None}
    configs = {
        id(config): config
        for module in model.modules()
        if module not in decoder and hasattr(config := getattr(module, "config", None), "_attn_implementation_internal")
    }
    changed: list[Any] = [config for number, config in configs.items() if number not in inside]
    before = [config._attn_implementation_internal for config in changed]
    for config in changed:
        config._attn_implementation_internal = _ALONE  # the property would change the decoder's too
    try:
        yield
    finally:
        for config, kept in zip(changed, before, strict=True):
            config._attn_implementation_internal = kept


def coordinates(process: Process, size: tuple[int, int]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """For each floating-point input, where in a picture of ``size`` each of its numbers lies.

    (ramp - black) / (white - black) is the place, whatever the processor does: normalise, reorder, pack, tile, resize.
    Each ramp comes in four parts that add up, since 256 greys are few beside 64 columns.

    Args:
        size: width and height.

    Returns:
        float64, flat: x and y from 0 to 1; NaN for padding.
    """
    width, height = size

    def made(grey: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
        levels = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
        rgb = np.repeat(np.broadcast_to(levels, (height, width))[..., None], 3, axis=2)
        parts = process(Image.fromarray(rgb)).items()
        return {name: part.flatten().double().cpu().numpy() for name, part in parts if part.is_floating_point()}

    black, white = made(np.zeros((1, 1))), made(np.ones((1, 1)))
    contrast = {name: white[name] - black[name] for name in black}
    axes = []
    for length, shape in ((width, (1, width)), (height, (height, 1))):
        place = (np.arange(length) + 0.5) / length
        total = dict.fromkeys(black, np.zeros(()))
        for part in range(_PARTS):
            ramp = made((place * _PARTS - part).reshape(shape))
            total = {name: total[name] + ramp[name] - black[name] for name in black}
        axes.append(total)
    found = {}
    for name, span in contrast.items():
        real = np.abs(span) > _CONTRAST * np.abs(span).max(initial=0.0)
        x, y = (
            np.clip(np.divide(axis[name], _PARTS * span, where=real, out=np.full(span.shape, np.nan)), 0, 1)
            for axis in axes
        )
        found[name] = (x, y)
    return found
