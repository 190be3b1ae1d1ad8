"""The published sizes of named architectures, so that a benchmark needs no download.

Source: ``config.json`` of llava-hf/llava-1.5-7b-hf and llava-hf/llava-1.5-13b-hf with the configurations that they are
made of: openai/clip-vit-large-patch14-336, and lmsys/vicuna-7b-v1.5 and -13b-v1.5 with the vocabulary padded to 32,064.
``core/bench/random_models.py`` makes models of them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Architecture(StrEnum):
    """What ``vlmscope bench scan --model-config`` takes."""

    LLAVA_7B = "llava-1.5-7b"
    LLAVA_13B = "llava-1.5-13b"
    TINY = "tiny"  #: not a published model: small enough to try the benchmark anywhere


@dataclass(frozen=True)
class VisionSizes:
    """A CLIP vision tower; an image is ``image`` pixels wide and high, cut into patches of ``patch``."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    image: int
    patch: int
    projection: int


@dataclass(frozen=True)
class TextSizes:
    """A Llama decoder; ``image_token`` stands for a patch, ``pad`` fills up batches. All heads have their own keys."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    context: int
    vocabulary: int
    image_token: int
    pad: int


@dataclass(frozen=True)
class Sizes:
    """What makes an architecture; everything else is as in LLaVA-1.5."""

    vision: VisionSizes
    text: TextSizes


_CLIP_L_336 = VisionSizes(hidden=1024, layers=24, heads=16, intermediate=4096, image=336, patch=14, projection=768)


def _vicuna(hidden: int, layers: int, heads: int, intermediate: int) -> TextSizes:
    return TextSizes(
        hidden, layers, heads, intermediate, context=4096, vocabulary=32_064, image_token=32_000, pad=32_001
    )


SIZES = {
    Architecture.LLAVA_7B: Sizes(_CLIP_L_336, _vicuna(4096, 32, 32, 11_008)),
    Architecture.LLAVA_13B: Sizes(_CLIP_L_336, _vicuna(5120, 40, 40, 13_824)),
    Architecture.TINY: Sizes(
        VisionSizes(hidden=32, layers=2, heads=2, intermediate=64, image=32, patch=8, projection=32),
        TextSizes(hidden=64, layers=3, heads=4, intermediate=96, context=512, vocabulary=576, image_token=512, pad=513),
    ),
}
