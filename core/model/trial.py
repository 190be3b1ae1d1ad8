"""One pass of a tiny input through a model that was just loaded: what cannot work is found before a scan begins."""

from typing import Any

from PIL import Image

from vlmscope.core.base.errors import ModelError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.model.vlm import Vlm

_PICTURE = (64, 32)  #: pixels; not square, since a preprocessor without a crop keeps the sides' ratio


def try_out(vlm: Vlm) -> None:
    """Take a grey picture and two words through preprocessor, tokeniser and model, to the last layer's hook.

    Raises:
        ModelError: if the parts do not fit together. Any other exception: what a library raises.
    """
    image = Image.new("RGB", _PICTURE, (127, 127, 127))
    pixels = vlm.pixels(image)
    side = vlm.image_size
    if tuple(pixels.shape) != (3, side, side):
        got = " x ".join(map(str, pixels.shape[1:]))
        raise ModelError(
            f"{vlm.name}: its preprocessor makes pictures of {got} pixels, its vision tower takes {side} x {side}.",
            f'Set "size" and "crop_size" to {side} in preprocessor_config.json, if the weights are for that size.',
        )
    vlm.crop(pixels)
    token: str = vlm.processor.image_token
    number, own = vlm.processor.tokenizer.convert_tokens_to_ids(token), vlm.image_token_id
    if number != own:
        raise ModelError(
            f"{vlm.name}: its tokenizer has the image token {token} as number {number}, its configuration as {own}.",
            "Use the tokenizer's files and the config.json of one model.",
        )
    prompt, words = vlm.prompt("", f"USER: {token}\nLook. ASSISTANT:"), "a picture"
    encoded = vlm.encode(prompt, words)
    whole = vlm.processor(text=[f"{prompt} {words}"], images=[image], return_tensors="pt")["input_ids"][0]
    if whole.tolist() != encoded.input_ids.tolist():
        raise ModelError(
            f"{vlm.name}: its processor makes {len(whole)} tokens of a trial input, not {len(encoded.input_ids)}.",
            "Use the processor's files of the model that the weights come from.",
        )
    seen: list[Any] = []
    vlm.forward(
        encoded.input_ids[None],
        pixels[None],
        {vlm.layers - 1: lambda activation: seen.append(tuple(activation.shape))},
        HookPoint.GATE,
    )
    expected = (1, len(encoded.input_ids), vlm.neurons)
    if seen != [expected]:
        raise ModelError(
            f"{vlm.name}: the activations of a trial pass have the shapes {seen}, not [{expected}].",
            "Models like LLaVA-1.5 can be scanned, e.g. llava-hf/llava-1.5-7b-hf.",
        )
