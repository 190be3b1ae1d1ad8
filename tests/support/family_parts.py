"""What the configurations and processors of tiny models share: sizes, special tokens, prompts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import transformers

LAYERS, NEURONS = 3, 48
VOCABULARY = 2048
Ids = Callable[[str], int]  #: a special token's text to its id
_x: Any = transformers  # its classes are untyped

SPECIAL = [
    *("<pad>", "<s>", "</s>", "<image>", "<video>", "<audio>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|image|>", "<|video|>"),
    *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"),
    *("<img>", "</img>", "<IMG_CONTEXT>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    *("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]"),
    *("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>"),
    *("<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"),
    *("<fake_token_around_image>", "<end_of_utterance>", "<global-img>"),
    *(f"<row_{row + 1}_col_{column + 1}>" for row in range(6) for column in range(6)),
]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}PICTURE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
USER = (
    "{% for m in messages %}<s>{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}PICTURE\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
INST = (
    "{% for m in messages %}<s>[INST]{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}PICTURE{% else %}{{ c['text'] }}{% endif %}{% endfor %}[/INST]{% endfor %}"
)
BARE = (
    "{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}PICTURE{% else %}{{ c['text'] }}{% endif %}{% endfor %}{{ '\n' }}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """How a tiny model is made.

    Attributes:
        config, processor: make the configuration from the special tokens' ids, the processor from a tokenizer.
        tokens: special tokens that the tokenizer has by name.
        drawn: parameters that transformers initialises to zeros, drawn too: parts of their names.
        options: for the processor's part for pictures, given with each call.
        covers: of a picture of 160 x 120 pixels: how often its tokens cover it.
        refused: what the message says where such a model cannot be scanned; None where it can.
    """

    config: Callable[[Ids], Any]
    processor: Callable[[Any], Any]
    tokens: dict[str, str] = field(default_factory=lambda: {"image_token": "<image>"})
    drawn: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    covers: int = 1
    refused: str | None = None


def text_sizes(ids: Ids, **more: Any) -> dict[str, Any]:
    """The decoder's size, as arguments of its configuration."""
    return {
        "hidden_size": 32,
        "intermediate_size": NEURONS,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "bos_token_id": ids("<s>"),
        "eos_token_id": ids("</s>"),
        "pad_token_id": ids("<pad>"),
    } | more


VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}  #: the size of a vision tower


def vision_sizes(**more: Any) -> dict[str, Any]:
    """The vision tower's size, as arguments of its configuration."""
    return VISION | more


def clip() -> Any:
    """A CLIP tower's configuration."""
    return _x.CLIPVisionConfig(**vision_sizes(), projection_dim=16)


def siglip(**more: Any) -> Any:
    """A SigLIP tower's configuration."""
    return _x.SiglipVisionConfig(**vision_sizes(**more), vision_use_head=False)


def chat(template: str, picture: str) -> str:
    """A chat template with the text that stands for the picture."""
    return template.replace("PICTURE", picture)


SQUARE = {"height": 56, "width": 56}
