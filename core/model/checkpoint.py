"""Whether the parts of a checkpoint are whole and fit together: what cannot work is found before a scan begins."""

import re
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmscope.core.base.errors import ModelError, SamplesError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.base.text import plain
from vlmscope.core.model.encode import Encoded
from vlmscope.core.model.layouts import Inputs
from vlmscope.core.model.vlm import Vlm

_PICTURES = ((128, 64), (96, 120))  #: pixels; not square, since a preprocessor without a crop keeps the sides' ratio
_WORDS = ("a picture of a wide field under the evening sky", "a picture")
_NAMED = 3  #: weights that a message names
#: Stored weights that no pass uses, beside those that transformers leaves out itself: buffers that its older versions
#: stored, a SigLIP tower's pooling head, the separator of LLaVA-NeXT's tiles, and layers that predict further tokens.
_UNUSED = re.compile(
    r"(inv_freq|position_ids|masked_bias|image_newline)$|vision_(tower|model)\.(vision_model\.)?head\.|(^|\.)mtp\."
)


def check_weights(name: str, info: dict[str, Any]) -> None:
    """Check that every weight came from the checkpoint, and that it has no others: transformers draws missing ones.

    Weights that the configuration ties to others are not missing; transformers leaves them out of its list.

    Args:
        info: what ``from_pretrained`` gives for ``output_loading_info``.

    Raises:
        ModelError: if it is not so; the message names the first ones.
    """
    mismatched = [f"{key}: {tuple(stored)}, not {tuple(own)}" for key, stored, own in info["mismatched_keys"]]
    faults = {
        "weights missing": info["missing_keys"],
        "weights of another shape": mismatched,
        "weights of another architecture": [key for key in info["unexpected_keys"] if not _UNUSED.search(key)],
    }
    reasons = [f"{fault}: {len(keys)} ({_first(sorted(keys))})" for fault, keys in faults.items() if keys]
    reasons += [plain(str(message), 300) for message in info.get("error_msgs", ())]
    if reasons:
        raise ModelError(
            f"The checkpoint {name} is incomplete or does not fit its config.json: {'; '.join(reasons)}.",
            "Its activations would not be the model's. Download or save it again, or use its conversion for "
            "transformers, e.g. llava-hf/llava-1.5-7b-hf for liuhaotian/llava-v1.5-7b.",
        )


def try_out(vlm: Vlm) -> None:
    """Take two pictures with words through processor and model, to every layer's hook, and measure their layouts.

    A long and a short sample share a batch, whose padding is then changed: if the short one's activations stay the
    same without an attention mask, no pass needs one. (A causal decoder's earlier tokens do not see later padding;
    attention without a mask is faster. A prefix language model's prompt sees all.)

    Raises:
        ModelError: if the parts do not fit together, or padding changes activations in spite of a mask. Any other
            exception: what a library raises.
    """
    try:
        _try(vlm)
    except ModelError:
        raise
    except Exception as error:
        _explain(vlm, error)
        if isinstance(error, SamplesError) and isinstance(error.__cause__, Exception):
            raise error.__cause__ from None  # no picture works, and not this one alone
        raise


def _try(vlm: Vlm) -> None:
    prompt = _prompt(vlm)
    images = [Image.new("RGB", size, (127, 127, 127)) for size in _PICTURES]
    encoded = [vlm.encode(prompt, words, image.size) for words, image in zip(_WORDS, images, strict=True)]
    vlm.encoder.needs_mask = True
    inputs = vlm.inputs(encoded, images)
    bare = {name: part for name, part in inputs.items() if name != "attention_mask"}
    if _padding_matters(vlm, encoded, bare):
        if _padding_matters(vlm, encoded, inputs):
            raise ModelError(
                f"{vlm.name}: padding changes the activations of a shorter sample in its batch.",
                "Its scan would depend on how samples are batched. Report this with the model's name.",
            )
    else:
        vlm.encoder.needs_mask = False


def _prompt(vlm: Vlm) -> str:
    """The model's own prompt, or, where its chat template makes none, a plain one."""
    try:
        return vlm.prompt("Look.")
    except ModelError:
        return vlm.prompt("", f"USER: {vlm.placeholder}\nLook. ASSISTANT:")


def _padding_matters(vlm: Vlm, encoded: list[Encoded], inputs: Inputs) -> bool:
    """Whether the last sample's activations change with the ids of its padding."""
    last = len(encoded) - 1
    length = len(encoded[last].input_ids)
    ids = inputs["input_ids"].clone()
    ids[last, length:] = int(encoded[0].input_ids[encoded[0].text.start])
    before, after = (_activations(vlm, encoded, one) for one in (inputs, {**inputs, "input_ids": ids}))
    return not all(torch.equal(before[layer], after[layer]) for layer in before)


def _activations(vlm: Vlm, encoded: list[Encoded], inputs: Inputs) -> dict[int, Tensor]:
    """Each layer's activations at the last sample's description, (tokens, F)."""
    found: dict[int, list[Tensor]] = {layer: [] for layer in range(vlm.layers)}
    shapes: set[tuple[int, ...]] = set()

    def take(layer: int, activation: Tensor) -> None:
        shapes.add(tuple(activation.shape))
        found[layer].append(activation[-1, encoded[-1].text].cpu())

    vlm.forward(inputs, {layer: partial(take, layer) for layer in found}, HookPoint.GATE)
    expected = (*inputs["input_ids"].shape, vlm.neurons)
    silent = [layer for layer, taken in found.items() if len(taken) != 1]
    if silent or shapes != {expected}:
        raise ModelError(
            f"{vlm.name}: in a trial pass {len(silent)} of {vlm.layers} layers give no activation, or several; those "
            f"of the others have the shapes {sorted(shapes)}, expected {expected}.",
            "Models with one FFN in each layer of the decoder can be scanned, e.g. llava-hf/llava-1.5-7b-hf.",
        )
    return {layer: taken[0] for layer, taken in found.items()}


def _explain(vlm: Vlm, error: Exception) -> None:
    """Raise a clearer error, if the reason for ``error`` is a common one.

    Raises:
        ModelError: if pictures have another size than the vision tower takes, or the image token another number.
    """
    made: Inputs = {}
    with suppress(Exception):  # otherwise the error stands for itself
        made = vlm.encoder.made(vlm.placeholder, Image.new("RGB", (64, 32)))
    if not made:
        return
    config: Any = vlm.model.config
    side = getattr(getattr(config, "vision_config", None), "image_size", None)
    height, width = made["pixel_values"].shape[-2:] if "pixel_values" in made else (None, None)
    if isinstance(side, int) and made["pixel_values"].ndim >= 4 and (height, width) != (side, side):
        raise ModelError(
            f"{vlm.name}: its preprocessor makes pictures of {height} x {width} pixels, its vision tower takes "
            f"{side} x {side}.",
            f'Set "size" and "crop_size" to {side} in preprocessor_config.json, if the weights are for that size.',
        ) from error
    own = getattr(config, "image_token_id", None)
    if own is not None and own not in made["input_ids"]:
        number = vlm.processor.tokenizer.convert_tokens_to_ids(vlm.placeholder)
        raise ModelError(
            f"{vlm.name}: its tokenizer has the image token {vlm.placeholder} as number {number}, its configuration "
            f"as {own}.",
            "Use the tokenizer's files and the config.json of one model.",
        ) from error


def _first(names: list[str]) -> str:
    return plain(", ".join(names[:_NAMED]), 400) + (", ..." if len(names) > _NAMED else "")
