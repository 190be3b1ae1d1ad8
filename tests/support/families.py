"""Tiny models of many families with random weights, saved as real model folders: nothing to download.

Each has the geometry of its family in small: tiles, thumbnails, merged patches, newlines. Weights are three times wider
than transformers draws them, so that activations differ from token to token. The vision tower's attention adds little
(2 %), so that a visual token's features follow the pixels of its own box.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast

from tests.support import torchvision_stand_in
from tests.support.tiny import TEXTS

LAYERS, NEURONS = 3, 48
SHAPES = ((160, 120), (90, 150))  #: width and height of two pictures that most families process differently
VOCABULARY = 2048

_SPECIAL = [
    *("<pad>", "<s>", "</s>", "<image>", "<video>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    *("<img>", "</img>", "<IMG_CONTEXT>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    *("<fake_token_around_image>", "<end_of_utterance>", "<global-img>"),
    *(f"<row_{row + 1}_col_{column + 1}>" for row in range(6) for column in range(6)),
]

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}PICTURE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_USER = (
    "{% for m in messages %}<s>{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}PICTURE\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """How a tiny model is made.

    Attributes:
        config: makes the configuration from ids of the special tokens by their text.
        processor: makes the processor from a tokenizer.
        layers: of the decoder.
        draw: parameters that transformers initialises to zeros, drawn too: a part of their names.
    """

    config: Callable[["Ids"], Any]
    processor: Callable[[Any], Any]
    layers: int = LAYERS
    draw: tuple[str, ...] = ()


Ids = Callable[[str], int]
_x: Any = transformers  # its classes are untyped


@cache
def _trained() -> str:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=_SPECIAL, show_progress=False
    )
    bpe.train_from_iterator(TEXTS * 3, trainer)
    return bpe.to_str()


def make_tokenizer(**extra: str) -> Any:
    """A byte-level BPE of 400 entries and the special tokens of all families; ``extra`` names some of them."""
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=extra,
    )


def text_size(ids: Ids, **more: Any) -> dict[str, Any]:
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


def vision_size(**more: Any) -> dict[str, Any]:
    """The vision tower's size, as arguments of its configuration."""
    return {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    } | more


def _video() -> Any:
    return torchvision_stand_in.StandInVideoProcessor()


def _chat(template: str, picture: str) -> str:
    return template.replace("PICTURE", picture)


def _llava_config(ids: Ids) -> Any:
    return _x.LlavaConfig(
        vision_config=_x.CLIPVisionConfig(**vision_size(), projection_dim=16),
        text_config=_x.LlamaConfig(**text_size(ids)),
        image_token_index=ids("<image>"),
        image_seq_length=16,
    )


def _llava_processor(tokenizer: Any) -> Any:
    return _x.LlavaProcessor(
        image_processor=_x.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_chat(_USER, "<image>"),
    )


_PINPOINTS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]


def _llava_next_config(ids: Ids) -> Any:
    return _x.LlavaNextConfig(
        vision_config=_x.CLIPVisionConfig(**vision_size(), projection_dim=16),
        text_config=_x.MistralConfig(**text_size(ids)),
        image_token_index=ids("<image>"),
        image_grid_pinpoints=_PINPOINTS,
        image_seq_length=16,
    )


def _llava_next_processor(tokenizer: Any) -> Any:
    return _x.LlavaNextProcessor(
        image_processor=_x.LlavaNextImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=_PINPOINTS
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_chat(_USER, "<image>"),
    )


def _mrope(ids: Ids) -> dict[str, Any]:
    return text_size(ids, rope_parameters={"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0})


def _qwen_ids(ids: Ids) -> dict[str, int]:
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def _qwen2_5_vl_config(ids: Ids) -> Any:
    vision = {"depth": 3, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    return _x.Qwen2_5_VLConfig(
        vision_config=vision | {"fullatt_block_indexes": [1], "window_size": 56},
        text_config=_mrope(ids),
        **_qwen_ids(ids),
    )


def _qwen2_5_vl_processor(tokenizer: Any) -> Any:
    return _x.Qwen2_5_VLProcessor(
        image_processor=_x.Qwen2VLImageProcessor(size={"shortest_edge": 3136, "longest_edge": 28 * 28 * 64}),
        tokenizer=tokenizer,
        video_processor=_video(),
        chat_template=_chat(_CHATML, "<|vision_start|><|image_pad|><|vision_end|>"),
    )


def _gemma3_config(ids: Ids) -> Any:
    return _x.Gemma3Config(
        vision_config=_x.SiglipVisionConfig(**vision_size(image_size=112), vision_use_head=False),
        text_config=_x.Gemma3TextConfig(
            **text_size(ids, num_hidden_layers=6, head_dim=8, query_pre_attn_scalar=8, sliding_window=64)
        ),
        mm_tokens_per_image=16,
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
        image_token_index=ids("<image_soft_token>"),
    )


def _gemma3_processor(tokenizer: Any) -> Any:
    return _x.Gemma3Processor(
        image_processor=_x.Gemma3ImageProcessor(size={"height": 112, "width": 112}),
        tokenizer=tokenizer,
        image_seq_length=16,
        chat_template=_chat(_USER, "<start_of_image>"),
    )


def _internvl_config(ids: Ids) -> Any:
    return _x.InternVLConfig(
        vision_config=_x.InternVLVisionConfig(**vision_size(image_size=[56, 56], patch_size=[14, 14])),
        text_config=_x.Qwen2Config(**text_size(ids)),
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )


def _internvl_processor(tokenizer: Any) -> Any:
    return _x.InternVLProcessor(
        image_processor=_x.GotOcr2ImageProcessor(size={"height": 56, "width": 56}, crop_to_patches=True),
        tokenizer=tokenizer,
        video_processor=_video(),
        image_seq_length=4,
        chat_template=_chat(_CHATML, "<IMG_CONTEXT>"),
    )


def _idefics3_config(ids: Ids) -> Any:
    return _x.Idefics3Config(
        vision_config=vision_size(image_size=64, patch_size=8),
        text_config=_x.LlamaConfig(**text_size(ids)),
        image_token_id=ids("<image>"),
        scale_factor=2,
    )


def _idefics3_processor(tokenizer: Any) -> Any:
    return _x.Idefics3Processor(
        image_processor=_x.Idefics3ImageProcessor(size={"longest_edge": 192}, max_image_size={"longest_edge": 64}),
        tokenizer=tokenizer,
        image_seq_len=16,
        chat_template=_chat(_USER, "<image>"),
    )


_QWEN_TOKENS = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
_INTERN_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
_GEMMA_TOKENS = {
    "image_token": "<image_soft_token>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
}

#: What ``make_family`` makes.
FAMILIES: dict[str, Family] = {
    "llava": Family(_llava_config, _llava_processor),
    "llava_next": Family(_llava_next_config, _llava_next_processor),
    "qwen2_5_vl": Family(_qwen2_5_vl_config, _qwen2_5_vl_processor),
    "gemma3": Family(_gemma3_config, _gemma3_processor, layers=6, draw=("mm_input_projection_weight",)),
    "internvl": Family(_internvl_config, _internvl_processor),
    "idefics3": Family(_idefics3_config, _idefics3_processor),
}
_TOKENS: dict[str, dict[str, str]] = {
    "qwen2_5_vl": _QWEN_TOKENS,
    "gemma3": _GEMMA_TOKENS,
    "internvl": _INTERN_TOKENS,
}


def make_family(folder: Path, name: str, seed: int = 0) -> Path:
    """Save a tiny random model of the family ``name`` with its processor, as a folder that ``load`` takes."""
    torchvision_stand_in.install()
    family = FAMILIES[name]
    tokenizer = make_tokenizer(**_TOKENS.get(name, {"image_token": "<image>"}))
    config = family.config(tokenizer.convert_tokens_to_ids)
    auto: Any = AutoModelForImageTextToText
    torch.manual_seed(seed)
    model = auto.from_config(config).train(False)
    widen(model, family.draw)
    model.generation_config.max_new_tokens = 12
    processor = family.processor(tokenizer)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def widen(model: Any, draw: tuple[str, ...] = ()) -> None:
    """Make weights three times wider, and the output of attention in the vision tower small; draw what is zero."""
    decoder = {id(parameter) for parameter in model.get_decoder().parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in draw):
                parameter.normal_(0, 0.2)
            elif parameter.dim() > 1:
                parameter.mul_(3)
            if id(parameter) not in decoder and _is_attention_output(name):
                parameter.mul_(0.02)


def _is_attention_output(name: str) -> bool:
    parts = name.split(".")
    inside = any("attn" in part or "attention" in part for part in parts[:-2])
    return inside and parts[-2] in ("out_proj", "o_proj", "proj", "projection_layer", "dense")


def make_pictures(shapes: tuple[tuple[int, int], ...] = SHAPES, seed: int = 0) -> list[Image.Image]:
    """Pictures of coloured noise, coarse enough to survive resizing; ``shapes`` are widths and heights."""
    rng = np.random.default_rng(seed)
    noise = [rng.integers(0, 256, (max(h // 10, 1), max(w // 10, 1), 3), dtype=np.uint8) for w, h in shapes]
    return [Image.fromarray(pixels).resize(size) for pixels, size in zip(noise, shapes, strict=True)]
