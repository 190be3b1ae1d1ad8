"""Configurations and processors of tiny models, a pair for each family. ``tests/support/families.py`` makes them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import transformers

from tests.support.torchvision_stand_in import StandInVideoProcessor

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
_INST = (
    "{% for m in messages %}<s>[INST]{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}PICTURE{% else %}{{ c['text'] }}{% endif %}{% endfor %}[/INST]{% endfor %}"
)
_BARE = (
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


def _text(ids: Ids, **more: Any) -> dict[str, Any]:
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


def _vision(**more: Any) -> dict[str, Any]:
    return VISION | more


def _clip() -> Any:
    return _x.CLIPVisionConfig(**_vision(), projection_dim=16)


def _siglip(**more: Any) -> Any:
    return _x.SiglipVisionConfig(**_vision(**more), vision_use_head=False)


def _chat(template: str, picture: str) -> str:
    return template.replace("PICTURE", picture)


SQUARE = {"height": 56, "width": 56}


# LLaVA: one centre crop


def llava_config(text: str, **more: Any) -> Callable[[Ids], Any]:
    """Of a LLaVA with a decoder of the configuration ``text``; ``more`` are sizes of it."""
    return lambda ids: _x.LlavaConfig(
        vision_config=_clip(),
        text_config=getattr(_x, text)(**_text(ids, **more)),
        image_token_index=ids("<image>"),
        image_seq_length=16,
    )


def _vipllava_config(ids: Ids) -> Any:
    return _x.VipLlavaConfig(
        vision_config=_clip(),
        text_config=_x.LlamaConfig(**_text(ids)),
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
        chat_template=_chat(_USER, "<image>"),
    )


# LLaVA-NeXT and OneVision: a thumbnail, tiles, an embedding after each row

_PINPOINTS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]


def _llava_next_config(ids: Ids) -> Any:
    return _x.LlavaNextConfig(
        vision_config=_clip(),
        text_config=_x.MistralConfig(**_text(ids)),
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
        chat_template=_chat(_INST, "<image>\n"),
    )


def _llava_onevision_config(ids: Ids) -> Any:
    return _x.LlavaOnevisionConfig(
        vision_config=_siglip(),
        text_config=_x.Qwen2Config(**_text(ids)),
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
        chat_template=_chat(_CHATML, "<image>\n"),
    )


# Qwen-VL and GLM-V: one grid that follows the picture, patches merged in twos

_QWEN = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
_GLM = {"image_token": "<|image|>", "video_token": "<|video|>"}


def _qwen_ids(ids: Ids) -> dict[str, int]:
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def _rope(**more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0} | more


def _tower(**more: Any) -> dict[str, Any]:
    return {"depth": 3, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32} | more


def _qwen2_vl_config(ids: Ids) -> Any:
    return _x.Qwen2VLConfig(
        vision_config={"depth": 3, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        text_config=_text(ids, rope_parameters=_rope()),
        **_qwen_ids(ids),
    )


def _qwen2_5_vl_config(ids: Ids) -> Any:
    return _x.Qwen2_5_VLConfig(
        vision_config=_tower(fullatt_block_indexes=[1], window_size=56),
        text_config=_text(ids, rope_parameters=_rope()),
        **_qwen_ids(ids),
    )


def _qwen3_vl_config(ids: Ids) -> Any:
    return _x.Qwen3VLConfig(
        vision_config=_tower(num_position_embeddings=64, deepstack_visual_indexes=[0, 1]),
        text_config=_text(ids, head_dim=8, rope_parameters=_rope(mrope_interleaved=True)),
        **_qwen_ids(ids),
    )


def _qwen3_vl_moe_config(ids: Ids) -> Any:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    return _x.Qwen3VLMoeConfig(
        vision_config=_tower(num_position_embeddings=64, deepstack_visual_indexes=[0, 1]),
        text_config=_text(ids, head_dim=8, rope_parameters=_rope(mrope_interleaved=True), **experts),
        **_qwen_ids(ids),
    )


def _qwen3_5_config(ids: Ids) -> Any:
    linear = {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    rope = _rope(mrope_interleaved=True, partial_rotary_factor=1.0)
    return _x.Qwen3_5Config(
        vision_config=_tower(num_position_embeddings=64),
        text_config=_text(ids, head_dim=8, rope_parameters=rope, **linear),
        **_qwen_ids(ids),
    )


def _qwen_processor(kind: str, patch: int) -> Callable[[Any], Any]:
    side = 2 * patch
    return lambda tokenizer: getattr(_x, kind)(
        image_processor=_x.Qwen2VLImageProcessor(
            patch_size=patch, size={"shortest_edge": 4 * side * side, "longest_edge": 64 * side * side}
        ),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        chat_template=_chat(_CHATML, "<|vision_start|><|image_pad|><|vision_end|>"),
    )


def _glm4v_config(ids: Ids) -> Any:
    return _x.Glm4vConfig(
        vision_config=_tower(image_size=112),
        text_config=_text(ids, rope_parameters=_rope(partial_rotary_factor=1.0)),
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        image_start_token_id=ids("<|begin_of_image|>"),
        image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"),
        video_end_token_id=ids("<|end_of_video|>"),
    )


def _glm4v_processor(tokenizer: Any) -> Any:
    return _x.Glm4vProcessor(
        image_processor=_x.Glm4vImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 64}),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        chat_template=_chat(_CHATML, "<|begin_of_image|><|image|><|end_of_image|>"),
    )


def _exaone4_5_config(ids: Ids) -> Any:
    return _x.Exaone4_5_Config(
        vision_config=_tower(fullatt_block_indexes=[1], window_size=56, num_key_value_heads=2),
        text_config=_x.Exaone4Config(**_text(ids)),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
    )


def _hyperclovax_config(ids: Ids) -> Any:
    return _x.HyperCLOVAXVisionV2Config(
        vision_config=_tower(fullatt_block_indexes=[1], window_size=56, model_type="qwen2_5_vl_vision"),
        text_config=_text(ids, model_type="hyperclovax"),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
    )


def _paddleocr_vl_config(ids: Ids) -> Any:
    return _x.PaddleOCRVLConfig(
        vision_config=_vision(image_size=112),
        text_config=_text(ids, head_dim=8, rope_parameters=_rope()),
        **_qwen_ids(ids),
    )


def _paddleocr_vl_processor(tokenizer: Any) -> Any:
    size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 64}
    return _x.PaddleOCRVLProcessor(
        image_processor=_x.PaddleOCRVLImageProcessor(patch_size=14, merge_size=2, size=size),
        tokenizer=tokenizer,
        chat_template=_chat(_CHATML, "<|vision_start|><|image_pad|><|vision_end|>"),
    )


def _glm46v_config(ids: Ids) -> Any:
    made = _glm4v_config(ids)
    tokens = {f"{media}_{part}token_id" for media in ("image", "video") for part in ("", "start_", "end_")}
    parts = {"text_config": made.text_config, "vision_config": made.vision_config}
    return _x.Glm46VConfig(**parts, **{name: getattr(made, name) for name in tokens})


def _glm46v_processor(tokenizer: Any) -> Any:
    return _x.Glm46VProcessor(
        image_processor=_x.Glm46VImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 64}),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        chat_template=_chat(_CHATML, "<|begin_of_image|><|image|><|end_of_image|>"),
    )


# Gemma: a square into which the picture is stretched (3, PaliGemma), or its own shape (4)

_GEMMA = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
_GEMMA4 = _GEMMA | {"audio_token": "<audio>", "boa_token": "<|begin_of_video|>", "eoa_token": "<|end_of_video|>"}


def _gemma3_config(ids: Ids) -> Any:
    sizes = _text(ids, num_hidden_layers=6, head_dim=8, query_pre_attn_scalar=8, sliding_window=64)
    return _x.Gemma3Config(
        vision_config=_siglip(image_size=112),
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
        chat_template=_chat(_USER, "<start_of_image>"),
    )


def _gemma4_config(**wide: Any) -> Callable[[Ids], Any]:
    def make(ids: Ids) -> Any:
        text = _text(
            ids,
            head_dim=8,
            global_head_dim=8,
            hidden_size_per_layer_input=8,
            vocab_size_per_layer_input=VOCABULARY,
            layer_types=["sliding_attention", "full_attention", "full_attention"],
            sliding_window=64,
            **wide,
        )
        vision = _vision(patch_size=16, num_key_value_heads=2, head_dim=8, position_embedding_size=64)
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


def _gemma4_processor(tokenizer: Any) -> Any:
    return _x.Gemma4Processor(
        feature_extractor=_x.Gemma4AudioFeatureExtractor(),
        image_processor=_x.Gemma4ImageProcessor(max_soft_tokens=70),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        image_seq_length=70,
        chat_template=_chat(_USER, "<image_soft_token>"),
    )


def _paligemma_config(ids: Ids) -> Any:
    return _x.PaliGemmaConfig(
        vision_config=_siglip(),
        text_config=_x.GemmaConfig(**_text(ids, head_dim=8)),
        image_token_index=ids("<image>"),
        vocab_size=VOCABULARY,
        projection_dim=32,
        hidden_size=32,
    )


def _paligemma_processor(tokenizer: Any) -> Any:
    images = _x.SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = 16
    return _x.PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer, chat_template=_chat(_BARE, "<image>"))


# InternVL, Idefics3, SmolVLM, Aya Vision, Ovis2: tiles with a thumbnail before or after them

_INTERN = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


def _internvl_config(ids: Ids) -> Any:
    return _x.InternVLConfig(
        vision_config=_x.InternVLVisionConfig(**_vision(image_size=[56, 56], patch_size=[14, 14])),
        text_config=_x.Qwen2Config(**_text(ids)),
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
        chat_template=_chat(_CHATML, "<IMG_CONTEXT>\n"),
    )


def _idefics3_config(ids: Ids) -> Any:
    return _x.Idefics3Config(
        vision_config=_vision(image_size=64, patch_size=8),
        text_config=_x.LlamaConfig(**_text(ids)),
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


def _smolvlm_config(ids: Ids) -> Any:
    return _x.SmolVLMConfig(
        vision_config=_vision(image_size=64, patch_size=8),
        text_config=_x.LlamaConfig(**_text(ids)),
        image_token_id=ids("<image>"),
        scale_factor=4,
    )


def _smolvlm_processor(tokenizer: Any) -> Any:
    return _x.SmolVLMProcessor(
        image_processor=_x.SmolVLMImageProcessor(size={"longest_edge": 192}, max_image_size={"longest_edge": 64}),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        image_seq_len=4,
        chat_template=_chat(_USER, "<image>"),
    )


def _aya_vision_config(ids: Ids) -> Any:
    return _x.AyaVisionConfig(
        vision_config=_siglip(),
        text_config=_x.Cohere2Config(**_text(ids)),
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
        chat_template=_chat(_USER, "<image>"),
    )


def _ovis2_config(ids: Ids) -> Any:
    indicators = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    return _x.Ovis2Config(
        vision_config=_x.Ovis2VisionConfig(**_vision(), vocab_size=64, hidden_stride=2),
        text_config=_x.Qwen2Config(**_text(ids)),
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
        chat_template=_chat(_CHATML, "<image>\n"),
    )


# Mistral 3 with Pixtral's tower: rows that end in a token of their own. DeepSeek-VL: padded to a square


def _mistral3_config(ids: Ids) -> Any:
    tower = _vision(image_size=112)
    return _x.Mistral3Config(
        vision_config=_x.PixtralVisionConfig(**tower),
        text_config=_x.MistralConfig(**_text(ids, head_dim=8)),
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
        chat_template=_chat(_INST, "[IMG]"),
    )


def _deepseek_vl_config(ids: Ids) -> Any:
    return _x.DeepseekVLConfig(
        vision_config=_siglip(), text_config=_x.LlamaConfig(**_text(ids)), image_token_id=ids("<image>")
    )


def _deepseek_vl_processor(tokenizer: Any) -> Any:
    return _x.DeepseekVLProcessor(
        image_processor=_x.DeepseekVLImageProcessor(size=SQUARE),
        tokenizer=tokenizer,
        num_image_tokens=16,
        chat_template=_chat(_USER, "<image>"),
    )


def _granite_docling_config(ids: Ids) -> Any:
    return _x.GraniteDoclingConfig(
        vision_config=_vision(image_size=64, patch_size=8, out_hidden_size=32, scale_factor=2),
        text_config=_text(ids),
        image_token_id=ids("<image>"),
        pad_token_id=ids("<pad>"),
    )


def _granite_docling_processor(tokenizer: Any) -> Any:
    return _x.GraniteDoclingProcessor(
        image_processor=_x.GraniteDoclingImageProcessor(size={"height": 64, "width": 64}),
        tokenizer=tokenizer,
        image_seq_len=16,
        chat_template=_chat(_USER, "<image>"),
    )


_LIGHTON = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}


def _lighton_ocr_config(ids: Ids) -> Any:
    return _x.LightOnOcrConfig(
        vision_config=_x.PixtralVisionConfig(**_vision(image_size=112)),
        text_config=_x.Qwen3Config(**_text(ids, head_dim=8)),
        image_token_id=ids("[IMG]"),
    )


def _lighton_ocr_processor(tokenizer: Any) -> Any:
    return _x.LightOnOcrProcessor(
        image_processor=_x.PixtralImageProcessor(size={"longest_edge": 112}, patch_size={"height": 14, "width": 14}),
        tokenizer=tokenizer,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=_chat(_CHATML, "[IMG]"),
    )


def _janus_config(ids: Ids) -> Any:
    codes = {"embed_dim": 8, "num_embeddings": 16, "latent_channels": 8, "base_channels": 32, "num_patches": 4}
    sizes = {"channel_multiplier": [1, 1], "projection_dim": 32, "image_token_embed_dim": 32}
    return _x.JanusConfig(
        vision_config=_vision(mlp_ratio=2.0, projection_dim=32, num_image_tokens=16, model_type="janus_vision_model"),
        vq_config=codes | sizes,
        text_config=_x.LlamaConfig(**_text(ids)),
        image_token_id=ids("<image>"),
    )


def _janus_processor(tokenizer: Any) -> Any:
    return _x.JanusProcessor(
        image_processor=_x.JanusImageProcessor(size=SQUARE),
        tokenizer=tokenizer,
        num_image_tokens=16,
        chat_template=_chat(_USER, "<image>"),
    )


# What cannot be scanned


def _mllama_config(ids: Ids) -> Any:
    vision = _vision(attention_heads=2, num_global_layers=1, intermediate_layers_indices=[0, 1], vision_output_dim=48)
    del vision["num_attention_heads"]
    return _x.MllamaConfig(
        vision_config=vision,
        text_config=_text(ids, cross_attention_layers=[1]),
        image_token_index=ids("<image>"),
    )


def _mllama_processor(tokenizer: Any) -> Any:
    return _x.MllamaProcessor(
        image_processor=_x.MllamaImageProcessor(size=SQUARE),
        tokenizer=tokenizer,
        chat_template=_chat(_USER, "<image>"),
    )


_IDEFICS2 = {"image_token": "<image>", "image_boundary_token": "<fake_token_around_image>"}


def _idefics2_config(ids: Ids) -> Any:
    queries = {"resampler_n_latents": 4, "resampler_depth": 2, "resampler_n_heads": 2, "resampler_head_dim": 8}
    return _x.Idefics2Config(
        vision_config=_vision(),
        perceiver_config=queries | {"num_key_value_heads": 1, "hidden_size": 32},
        text_config=_x.MistralConfig(**_text(ids)),
        image_token_id=ids("<image>"),
    )


def _idefics2_processor(tokenizer: Any) -> Any:
    return _x.Idefics2Processor(
        image_processor=_x.Idefics2ImageProcessor(
            size={"longest_edge": 112, "shortest_edge": 56}, do_image_splitting=False
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=_chat(_USER, "<image>"),
    )


def _encoder_decoder_config(ids: Ids) -> Any:
    text = {"hidden_size": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": VOCABULARY}
    vision = {"hidden_size": 16, "d_ff": 32, "d_kv": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    return _x.Pix2StructConfig(
        text_config=text | {"pad_token_id": ids("<pad>"), "eos_token_id": ids("</s>")}, vision_config=vision
    )


def _encoder_decoder_processor(tokenizer: Any) -> Any:
    return _x.Pix2StructProcessor(image_processor=_x.Pix2StructImageProcessor(), tokenizer=tokenizer)


_PAN = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 40}
_MOE = "is a mixture of experts: a neuron there has an activation only for tokens sent to its expert"

#: What ``make_family`` makes.
FAMILIES: dict[str, Family] = {
    "llava": Family(llava_config("LlamaConfig"), _llava_processor),
    "llava_phi3": Family(llava_config("Phi3Config"), _llava_processor),
    "vipllava": Family(_vipllava_config, _llava_processor),
    "llava_next": Family(_llava_next_config, _llava_next_processor, covers=2),
    "llava_onevision": Family(_llava_onevision_config, _llava_onevision_processor, covers=2),
    "qwen2_vl": Family(_qwen2_vl_config, _qwen_processor("Qwen2VLProcessor", 14), _QWEN),
    "qwen2_5_vl": Family(_qwen2_5_vl_config, _qwen_processor("Qwen2_5_VLProcessor", 14), _QWEN),
    "qwen3_vl": Family(_qwen3_vl_config, _qwen_processor("Qwen3VLProcessor", 16), _QWEN),
    "qwen3_5": Family(_qwen3_5_config, _qwen_processor("Qwen3VLProcessor", 16), _QWEN),
    "glm4v": Family(_glm4v_config, _glm4v_processor, _GLM),
    "glm46v": Family(_glm46v_config, _glm46v_processor, _GLM),
    "exaone4_5": Family(_exaone4_5_config, _qwen_processor("Exaone4_5_Processor", 14), _QWEN),
    "hyperclovax_vision_v2": Family(_hyperclovax_config, _qwen_processor("HyperCLOVAXVisionV2Processor", 14), _QWEN),
    "paddleocr_vl": Family(_paddleocr_vl_config, _paddleocr_vl_processor, _QWEN),
    "gemma3": Family(_gemma3_config, _gemma3_processor, _GEMMA, ("mm_input_projection_weight",)),
    "gemma3_pan_and_scan": Family(
        _gemma3_config, _gemma3_processor, _GEMMA, ("mm_input_projection_weight",), options=_PAN, covers=2
    ),
    "gemma4": Family(_gemma4_config(), _gemma4_processor, _GEMMA4, ("position_embedding",)),
    "paligemma": Family(_paligemma_config, _paligemma_processor),
    "internvl": Family(_internvl_config, _internvl_processor, _INTERN, covers=2),
    "idefics3": Family(_idefics3_config, _idefics3_processor, covers=2),
    "smolvlm": Family(_smolvlm_config, _smolvlm_processor, covers=2),
    "aya_vision": Family(_aya_vision_config, _aya_vision_processor, covers=2),
    "ovis2": Family(_ovis2_config, _ovis2_processor, covers=2),
    "mistral3": Family(_mistral3_config, _mistral3_processor),
    "deepseek_vl": Family(_deepseek_vl_config, _deepseek_vl_processor),
    "granite_docling": Family(_granite_docling_config, _granite_docling_processor, covers=2),
    "lighton_ocr": Family(_lighton_ocr_config, _lighton_ocr_processor, _LIGHTON),
    "janus": Family(_janus_config, _janus_processor, _GEMMA | {"image_token": "<image>"}),
    "mllama": Family(_mllama_config, _mllama_processor, refused="no token of its sequence comes from the picture"),
    "idefics2": Family(_idefics2_config, _idefics2_processor, _IDEFICS2, refused="visual tokens are not places"),
    "qwen3_vl_moe": Family(_qwen3_vl_moe_config, _qwen_processor("Qwen3VLProcessor", 16), _QWEN, refused=_MOE),
    "gemma4_double_wide": Family(
        _gemma4_config(use_double_wide_mlp=True, num_kv_shared_layers=1),
        _gemma4_processor,
        _GEMMA4,
        refused=r"its layers have FFNs of different widths \(48, 96\)",
    ),
    "pix2struct": Family(
        _encoder_decoder_config, _encoder_decoder_processor, refused="is not a decoder-only language model"
    ),
}
SCANNED = tuple(name for name, family in FAMILIES.items() if family.refused is None)
REFUSED = tuple(name for name, family in FAMILIES.items() if family.refused is not None)
