"""Whether the parts of a checkpoint are whole and fit together: what cannot work is found before a scan begins."""

import re
from typing import Any

from PIL import Image

from vlmscope.core.base.errors import ModelError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.base.text import plain
from vlmscope.core.model.vlm import Vlm

_PICTURE = (64, 32)  #: pixels; not square, since a preprocessor without a crop keeps the sides' ratio
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
    """Take a grey picture and two words through preprocessor, tokeniser and model, to the last layer's hook.

    Raises:
        ModelError: if the parts do not fit together. Any other exception: what a library raises.
    """
    image = Image.new("RGB", _PICTURE, (127, 127, 127))
    pixels = vlm.processor.image_processor(images=image, return_tensors="pt")["pixel_values"][0]
    side = vlm.image_size
    if tuple(pixels.shape) != (3, side, side):
        got = " x ".join(map(str, pixels.shape[1:]))
        raise ModelError(
            f"{vlm.name}: its preprocessor makes pictures of {got} pixels, its vision tower takes {side} x {side}.",
            f'Set "size" and "crop_size" to {side} in preprocessor_config.json, if the weights are for that size.',
        )
    vlm.crop(image)
    token: str = vlm.processor.image_token
    number, own = vlm.processor.tokenizer.convert_tokens_to_ids(token), vlm.image_token_id
    if number != own:
        raise ModelError(
            f"{vlm.name}: its tokenizer has the image token {token} as number {number}, its configuration as {own}.",
            "Use the tokenizer's files and the config.json of one model.",
        )
    prompt, words = vlm.prompt("", f"USER: {token}\nLook. ASSISTANT:"), "a picture"
    encoded = vlm.encode(prompt, words, image.size)
    inputs = vlm.inputs([encoded], [image])
    whole = inputs["input_ids"][0]
    if whole.tolist() != encoded.input_ids.tolist():
        raise ModelError(
            f"{vlm.name}: its processor makes {len(whole)} tokens of a trial input, not {len(encoded.input_ids)}.",
            "Use the processor's files of the model that the weights come from.",
        )
    seen: list[Any] = []
    vlm.forward(
        inputs,
        {vlm.layers - 1: lambda activation: seen.append(tuple(activation.shape))},
        HookPoint.GATE,
    )
    expected = (1, len(encoded.input_ids), vlm.neurons)
    if seen != [expected]:
        raise ModelError(
            f"{vlm.name}: the activations of a trial pass have the shapes {seen}, not [{expected}].",
            "Models like LLaVA-1.5 can be scanned, e.g. llava-hf/llava-1.5-7b-hf.",
        )


def _first(names: list[str]) -> str:
    return plain(", ".join(names[:_NAMED]), 400) + (", ..." if len(names) > _NAMED else "")
