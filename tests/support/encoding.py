"""One sample as a model takes it, for tests that run passes of their own."""

from PIL import Image

from vlmscope.core.model.vlm import Encoded, Inputs, Vlm


def encoded_sample(vlm: Vlm, image: Image.Image, description: str, prompt: str | None = None) -> tuple[Encoded, Inputs]:
    """The sample's tokens, and the inputs of a batch of it alone. ``prompt``: the model's usual one."""
    text = vlm.prompt("Could you describe the image?") if prompt is None else prompt
    encoded = vlm.encode(text, description, image.size)
    return encoded, vlm.inputs([encoded], [image])
