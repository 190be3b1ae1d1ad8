"""A tiny model of a family with two samples."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.support.families import FAMILIES, SHAPES, make_pictures
from vlmscope.core.base.options import written_options
from vlmscope.core.model.encode import Encoded
from vlmscope.core.model.layouts import Inputs
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.worker.messages import ModelSpec

WORDS = ("A cake stands on a wooden table.", "Three blue cars and a house at night, under the stars.")
QUESTION = "Could you describe the image?"


@dataclass(frozen=True)
class TinyFamily:
    """A family's model, with two samples of pictures of different shapes.

    Attributes:
        inputs: of each sample alone.
    """

    name: str
    vlm: Vlm
    images: tuple[Image.Image, ...]
    encoded: tuple[Encoded, ...]
    inputs: tuple[Inputs, ...]

    @property
    def prompt(self) -> str:
        return self.encoded[0].prompt


def load_family(name: str, folder: Path) -> TinyFamily:
    """The family of a model folder that ``family_folder`` gives."""
    vlm = load(ModelSpec(str(folder), device="cpu", image_options=written_options(FAMILIES[name].options)))
    prompt, images = vlm.prompt(QUESTION), tuple(make_pictures(SHAPES))
    encoded = tuple(vlm.encode(prompt, words, image.size) for words, image in zip(WORDS, images, strict=True))
    inputs = tuple(vlm.inputs([one], [image]) for one, image in zip(encoded, images, strict=True))
    return TinyFamily(name, vlm, images, encoded, inputs)
