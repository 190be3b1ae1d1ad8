"""Tiny models with one square, crop or Pixtral grid: LLaVA, Gemma, PaliGemma, Mistral 3, DeepSeek-VL and others."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import transformers

from tests.support.family_parts import (
    BARE,
    CHATML,
    INST,
    SQUARE,
    USER,
    VOCABULARY,
    Family,
    Ids,
    chat,
    clip,
    siglip,
    text_sizes,
    vision_sizes,
)
from tests.support.torchvision_stand_in import StandInVideoProcessor

_x: Any = transformers  # its classes are untyped


# LLaVA: one centre crop


def llava_config(text: str, **more: Any) -> Callable[[Ids], Any]:
    """Of a LLaVA with a decoder of the configuration ``text``; ``more`` are sizes of it."""
    return lambda ids: _x.LlavaConfig(
        vision_config=clip(),
        text_config=getattr(_x, text)(**text_sizes(ids, **more)),
        image_token_index=ids("<image>"),
        image_seq_length=16,
    )


def _vipllava_config(ids: Ids) -> Any:
    return _x.VipLlavaConfig(
        vision_config=clip(),
        text_config=_x.LlamaConfig(**text_sizes(ids)),
        image_token_index=ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=[-2, 1],
    )


def _llava_processor(tokenizer: Any) -> Any:
    return _x.LlavaProcessor(
        image_processor=_x.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=SQUARE),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat(USER, "<image>"),
    )


# Gemma: a square into which the picture is stretched (3, PaliGemma), or its own shape (4)

_GEMMA = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
GEMMA4 = _GEMMA | {"audio_token": "<audio>", "boa_token": "<|begin_of_video|>", "eoa_token": "<|end_of_video|>"}


def _gemma3_config(ids: Ids) -> Any:
    sizes = text_sizes(ids, num_hidden_layers=6, head_dim=8, query_pre_attn_scalar=8, sliding_window=64)
    return _x.Gemma3Config(
        vision_config=siglip(image_size=112),
        text_config=_x.Gemma3TextConfig(**sizes),
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
        chat_template=chat(USER, "<start_of_image>"),
    )


def gemma4_config(**wide: Any) -> Callable[[Ids], Any]:
    """``wide``: more arguments of the decoder's configuration."""

    def make(ids: Ids) -> Any:
        text = text_sizes(
            ids,
            head_dim=8,
            global_head_dim=8,
            hidden_size_per_layer_input=8,
            vocab_size_per_layer_input=VOCABULARY,
            layer_types=["sliding_attention", "full_attention", "full_attention"],
            sliding_window=64,
            **wide,
        )
        vision = vision_sizes(patch_size=16, num_key_value_heads=2, head_dim=8, position_embedding_size=64)
        del vision["image_size"]
        return _x.Gemma4Config(
            text_config=text,
            vision_config=vision,
            audio_config=None,
            boi_token_id=ids("<start_of_image>"),
            eoi_token_id=ids("<end_of_image>"),
            image_token_id=ids("<image_soft_token>"),
            video_token_id=ids("<|video|>"),
            audio_token_id=ids("<audio>"),
            boa_token_id=ids("<|begin_of_video|>"),
            eoa_token_index=ids("<|end_of_video|>"),
        )

    return make


def gemma4_processor(tokenizer: Any) -> Any:
    """Gemma 4's processor, without sound."""
    return _x.Gemma4Processor(
        feature_extractor=_x.Gemma4AudioFeatureExtractor(),
        image_processor=_x.Gemma4ImageProcessor(max_soft_tokens=70),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        image_seq_length=70,
        chat_template=chat(USER, "<image_soft_token>"),
    )


def _paligemma_config(ids: Ids) -> Any:
    return _x.PaliGemmaConfig(
        vision_config=siglip(),
        text_config=_x.GemmaConfig(**text_sizes(ids, head_dim=8)),
        image_token_index=ids("<image>"),
        vocab_size=VOCABULARY,
        projection_dim=32,
        hidden_size=32,
    )


def _paligemma_processor(tokenizer: Any) -> Any:
    images = _x.SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = 16
    return _x.PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer, chat_template=chat(BARE, "<image>"))


# Mistral 3 with Pixtral's tower: rows that end in a token of their own. DeepSeek-VL: padded to a square


def _mistral3_config(ids: Ids) -> Any:
    tower = vision_sizes(image_size=112)
    return _x.Mistral3Config(
        vision_config=_x.PixtralVisionConfig(**tower),
        text_config=_x.MistralConfig(**text_sizes(ids, head_dim=8)),
        image_token_index=ids("[IMG]"),
        spatial_merge_size=2,
    )


def _mistral3_processor(tokenizer: Any) -> Any:
    processor = import_module("transformers.models.pixtral").PixtralProcessor
    return processor(
        image_processor=_x.PixtralImageProcessor(size={"longest_edge": 112}, patch_size={"height": 14, "width": 14}),
        tokenizer=tokenizer,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=chat(INST, "[IMG]"),
    )


def _deepseek_vl_config(ids: Ids) -> Any:
    return _x.DeepseekVLConfig(
        vision_config=siglip(), text_config=_x.LlamaConfig(**text_sizes(ids)), image_token_id=ids("<image>")
    )


def _deepseek_vl_processor(tokenizer: Any) -> Any:
    return _x.DeepseekVLProcessor(
        image_processor=_x.DeepseekVLImageProcessor(size=SQUARE),
        tokenizer=tokenizer,
        num_image_tokens=16,
        chat_template=chat(USER, "<image>"),
    )


_LIGHTON = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}


def _lighton_ocr_config(ids: Ids) -> Any:
    return _x.LightOnOcrConfig(
        vision_config=_x.PixtralVisionConfig(**vision_sizes(image_size=112)),
        text_config=_x.Qwen3Config(**text_sizes(ids, head_dim=8)),
        image_token_id=ids("[IMG]"),
    )


def _lighton_ocr_processor(tokenizer: Any) -> Any:
    return _x.LightOnOcrProcessor(
        image_processor=_x.PixtralImageProcessor(size={"longest_edge": 112}, patch_size={"height": 14, "width": 14}),
        tokenizer=tokenizer,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=chat(CHATML, "[IMG]"),
    )


def _janus_config(ids: Ids) -> Any:
    codes = {"embed_dim": 8, "num_embeddings": 16, "latent_channels": 8, "base_channels": 32, "num_patches": 4}
    sizes = {"channel_multiplier": [1, 1], "projection_dim": 32, "image_token_embed_dim": 32}
    return _x.JanusConfig(
        vision_config=vision_sizes(
            mlp_ratio=2.0, projection_dim=32, num_image_tokens=16, model_type="janus_vision_model"
        ),
        vq_config=codes | sizes,
        text_config=_x.LlamaConfig(**text_sizes(ids)),
        image_token_id=ids("<image>"),
    )


def _janus_processor(tokenizer: Any) -> Any:
    return _x.JanusProcessor(
        image_processor=_x.JanusImageProcessor(size=SQUARE),
        tokenizer=tokenizer,
        num_image_tokens=16,
        chat_template=chat(USER, "<image>"),
    )


_PAN = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 40}


#: The picture is covered once, or with pan and scan by crops too.
SQUARES: dict[str, Family] = {
    "llava": Family(llava_config("LlamaConfig"), _llava_processor),
    "llava_phi3": Family(llava_config("Phi3Config"), _llava_processor),
    "vipllava": Family(_vipllava_config, _llava_processor),
    "gemma3": Family(_gemma3_config, _gemma3_processor, _GEMMA, ("mm_input_projection_weight",)),
    "gemma3_pan_and_scan": Family(
        _gemma3_config, _gemma3_processor, _GEMMA, ("mm_input_projection_weight",), options=_PAN, covers=2
    ),
    "gemma4": Family(gemma4_config(), gemma4_processor, GEMMA4, ("position_embedding",)),
    "paligemma": Family(_paligemma_config, _paligemma_processor),
    "mistral3": Family(_mistral3_config, _mistral3_processor),
    "lighton_ocr": Family(_lighton_ocr_config, _lighton_ocr_processor, _LIGHTON),
    "deepseek_vl": Family(_deepseek_vl_config, _deepseek_vl_processor),
    "janus": Family(_janus_config, _janus_processor, _GEMMA | {"image_token": "<image>"}),
}
