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
class Sizes:
    """What makes an architecture, in the words of ``config.json``; everything else is as in LLaVA-1.5.

    Attributes:
        vision: of the CLIP vision tower. text: of the Llama decoder, all of whose heads have their own keys.
        image_token: the token that stands for a patch.
    """

    vision: dict[str, int]
    text: dict[str, int]
    image_token: int


def _transformer(hidden: int, layers: int, heads: int, intermediate: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
    }


_CLIP_L_336 = _transformer(1024, 24, 16, 4096) | {"image_size": 336, "patch_size": 14, "projection_dim": 768}
_VICUNA = {"max_position_embeddings": 4096, "vocab_size": 32_064, "pad_token_id": 32_001}

SIZES = {
    Architecture.LLAVA_7B: Sizes(_CLIP_L_336, _transformer(4096, 32, 32, 11_008) | _VICUNA, 32_000),
    Architecture.LLAVA_13B: Sizes(_CLIP_L_336, _transformer(5120, 40, 40, 13_824) | _VICUNA, 32_000),
    Architecture.TINY: Sizes(
        _transformer(32, 2, 2, 64) | {"image_size": 32, "patch_size": 8, "projection_dim": 32},
        _transformer(64, 3, 4, 96) | {"max_position_embeddings": 512, "vocab_size": 576, "pad_token_id": 513},
        512,
    ),
}
