"""Tiny models that see a thumbnail and tiles: LLaVA-NeXT, InternVL, Idefics3 and others."""

from typing import Any

import transformers

from tests.support.family_parts import (
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


# LLaVA-NeXT and OneVision: a thumbnail, tiles, an embedding after each row

_PINPOINTS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]


def _llava_next_config(ids: Ids) -> Any:
    return _x.LlavaNextConfig(
        vision_config=clip(),
        text_config=_x.MistralConfig(**text_sizes(ids)),
        image_token_index=ids("<image>"),
        image_grid_pinpoints=_PINPOINTS,
        image_seq_length=16,
    )


def _llava_next_processor(tokenizer: Any) -> Any:
    images = _x.LlavaNextImageProcessor(size={"shortest_edge": 56}, crop_size=SQUARE, image_grid_pinpoints=_PINPOINTS)
    return _x.LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat(INST, "<image>\n"),
    )


def _llava_onevision_config(ids: Ids) -> Any:
    return _x.LlavaOnevisionConfig(
        vision_config=siglip(),
        text_config=_x.Qwen2Config(**text_sizes(ids)),
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        image_grid_pinpoints=_PINPOINTS,
    )


def _llava_onevision_processor(tokenizer: Any) -> Any:
    return _x.LlavaOnevisionProcessor(
        image_processor=_x.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=_PINPOINTS),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat(CHATML, "<image>\n"),
    )


# InternVL, Idefics3, SmolVLM, Aya Vision, Ovis2: tiles with a thumbnail before or after them

_INTERN = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


def _internvl_config(ids: Ids) -> Any:
    return _x.InternVLConfig(
        vision_config=_x.InternVLVisionConfig(**vision_sizes(image_size=[56, 56], patch_size=[14, 14])),
        text_config=_x.Qwen2Config(**text_sizes(ids)),
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )


def _internvl_processor(tokenizer: Any) -> Any:
    return _x.InternVLProcessor(
        image_processor=_x.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        image_seq_length=4,
        chat_template=chat(CHATML, "<IMG_CONTEXT>\n"),
    )


def _idefics3_config(ids: Ids) -> Any:
    return _x.Idefics3Config(
        vision_config=vision_sizes(image_size=64, patch_size=8),
        text_config=_x.LlamaConfig(**text_sizes(ids)),
        image_token_id=ids("<image>"),
        scale_factor=2,
    )


def _idefics3_processor(tokenizer: Any) -> Any:
    return _x.Idefics3Processor(
        image_processor=_x.Idefics3ImageProcessor(size={"longest_edge": 192}, max_image_size={"longest_edge": 64}),
        tokenizer=tokenizer,
        image_seq_len=16,
        chat_template=chat(USER, "<image>"),
    )


def _smolvlm_config(ids: Ids) -> Any:
    return _x.SmolVLMConfig(
        vision_config=vision_sizes(image_size=64, patch_size=8),
        text_config=_x.LlamaConfig(**text_sizes(ids)),
        image_token_id=ids("<image>"),
        scale_factor=4,
    )


def _smolvlm_processor(tokenizer: Any) -> Any:
    return _x.SmolVLMProcessor(
        image_processor=_x.SmolVLMImageProcessor(size={"longest_edge": 192}, max_image_size={"longest_edge": 64}),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        image_seq_len=4,
        chat_template=chat(USER, "<image>"),
    )


def _aya_vision_config(ids: Ids) -> Any:
    return _x.AyaVisionConfig(
        vision_config=siglip(),
        text_config=_x.Cohere2Config(**text_sizes(ids)),
        image_token_index=ids("<|IMG_PATCH|>"),
        downsample_factor=2,
    )


def _aya_vision_processor(tokenizer: Any) -> Any:
    return _x.AyaVisionProcessor(
        image_processor=_x.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True),
        tokenizer=tokenizer,
        patch_size=14,
        img_size=56,
        downsample_factor=2,
        chat_template=chat(USER, "<image>"),
    )


def _ovis2_config(ids: Ids) -> Any:
    indicators = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    return _x.Ovis2Config(
        vision_config=_x.Ovis2VisionConfig(**vision_sizes(), vocab_size=64, hidden_stride=2),
        text_config=_x.Qwen2Config(**text_sizes(ids)),
        image_token_id=ids("<IMG_ATOM>"),
        visual_indicator_token_ids=[ids(token) for token in indicators],
        vocab_size=VOCABULARY,
        hidden_size=32,
    )


def _ovis2_processor(tokenizer: Any) -> Any:
    return _x.Ovis2Processor(
        image_processor=_x.Ovis2ImageProcessor(size=SQUARE, crop_to_patches=True),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=chat(CHATML, "<image>\n"),
    )


def _granite_docling_config(ids: Ids) -> Any:
    return _x.GraniteDoclingConfig(
        vision_config=vision_sizes(image_size=64, patch_size=8, out_hidden_size=32, scale_factor=2),
        text_config=text_sizes(ids),
        image_token_id=ids("<image>"),
        pad_token_id=ids("<pad>"),
    )


def _granite_docling_processor(tokenizer: Any) -> Any:
    return _x.GraniteDoclingProcessor(
        image_processor=_x.GraniteDoclingImageProcessor(size={"height": 64, "width": 64}),
        tokenizer=tokenizer,
        image_seq_len=16,
        chat_template=chat(USER, "<image>"),
    )


#: The picture is covered twice.
TILES: dict[str, Family] = {
    "llava_next": Family(_llava_next_config, _llava_next_processor, covers=2),
    "llava_onevision": Family(_llava_onevision_config, _llava_onevision_processor, covers=2),
    "internvl": Family(_internvl_config, _internvl_processor, _INTERN, covers=2),
    "idefics3": Family(_idefics3_config, _idefics3_processor, covers=2),
    "smolvlm": Family(_smolvlm_config, _smolvlm_processor, covers=2),
    "aya_vision": Family(_aya_vision_config, _aya_vision_processor, covers=2),
    "ovis2": Family(_ovis2_config, _ovis2_processor, covers=2),
    "granite_docling": Family(_granite_docling_config, _granite_docling_processor, covers=2),
}
