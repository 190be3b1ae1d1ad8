"""Tiny models whose tokens follow the picture's own shape: Qwen-VL, GLM-V and their kin."""

from collections.abc import Callable
from typing import Any

import transformers

from tests.support.family_parts import CHATML, Family, Ids, chat, text_sizes, vision_sizes
from tests.support.torchvision_stand_in import StandInVideoProcessor

_x: Any = transformers  # its classes are untyped


# Qwen-VL and GLM-V: one grid that follows the picture, patches merged in twos

QWEN = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
_GLM = {"image_token": "<|image|>", "video_token": "<|video|>"}


def qwen_ids(ids: Ids) -> dict[str, int]:
    """The ids of Qwen's special tokens, as arguments of a configuration."""
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def rope(**more: Any) -> dict[str, Any]:
    """Positions in time, height and width."""
    return {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0} | more


def tower(**more: Any) -> dict[str, Any]:
    """The vision tower's size, in Qwen's words."""
    return {"depth": 3, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32} | more


def _qwen2_vl_config(ids: Ids) -> Any:
    return _x.Qwen2VLConfig(
        vision_config={"depth": 3, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        text_config=text_sizes(ids, rope_parameters=rope()),
        **qwen_ids(ids),
    )


def _qwen2_5_vl_config(ids: Ids) -> Any:
    return _x.Qwen2_5_VLConfig(
        vision_config=tower(fullatt_block_indexes=[1], window_size=56),
        text_config=text_sizes(ids, rope_parameters=rope()),
        **qwen_ids(ids),
    )


def _qwen3_vl_config(ids: Ids) -> Any:
    return _x.Qwen3VLConfig(
        vision_config=tower(num_position_embeddings=64, deepstack_visual_indexes=[0, 1]),
        text_config=text_sizes(ids, head_dim=8, rope_parameters=rope(mrope_interleaved=True)),
        **qwen_ids(ids),
    )


def qwen3_vl_moe_config(ids: Ids) -> Any:
    """A mixture of experts."""
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    return _x.Qwen3VLMoeConfig(
        vision_config=tower(num_position_embeddings=64, deepstack_visual_indexes=[0, 1]),
        text_config=text_sizes(ids, head_dim=8, rope_parameters=rope(mrope_interleaved=True), **experts),
        **qwen_ids(ids),
    )


def _qwen3_5_config(ids: Ids) -> Any:
    linear = {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    positions = rope(mrope_interleaved=True, partial_rotary_factor=1.0)
    return _x.Qwen3_5Config(
        vision_config=tower(num_position_embeddings=64),
        text_config=text_sizes(ids, head_dim=8, rope_parameters=positions, **linear),
        **qwen_ids(ids),
    )


def qwen_processor(kind: str, patch: int) -> Callable[[Any], Any]:
    """Makes the processor of class ``kind`` for patches of so many pixels."""
    side = 2 * patch
    return lambda tokenizer: getattr(_x, kind)(
        image_processor=_x.Qwen2VLImageProcessor(
            patch_size=patch, size={"shortest_edge": 4 * side * side, "longest_edge": 64 * side * side}
        ),
        tokenizer=tokenizer,
        video_processor=StandInVideoProcessor(),
        chat_template=chat(CHATML, "<|vision_start|><|image_pad|><|vision_end|>"),
    )


def _glm4v_config(ids: Ids) -> Any:
    return _x.Glm4vConfig(
        vision_config=tower(image_size=112),
        text_config=text_sizes(ids, rope_parameters=rope(partial_rotary_factor=1.0)),
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
        chat_template=chat(CHATML, "<|begin_of_image|><|image|><|end_of_image|>"),
    )


def _exaone4_5_config(ids: Ids) -> Any:
    return _x.Exaone4_5_Config(
        vision_config=tower(fullatt_block_indexes=[1], window_size=56, num_key_value_heads=2),
        text_config=_x.Exaone4Config(**text_sizes(ids)),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
    )


def _hyperclovax_config(ids: Ids) -> Any:
    return _x.HyperCLOVAXVisionV2Config(
        vision_config=tower(fullatt_block_indexes=[1], window_size=56, model_type="qwen2_5_vl_vision"),
        text_config=text_sizes(ids, model_type="hyperclovax"),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
    )


def _paddleocr_vl_config(ids: Ids) -> Any:
    return _x.PaddleOCRVLConfig(
        vision_config=vision_sizes(image_size=112),
        text_config=text_sizes(ids, head_dim=8, rope_parameters=rope()),
        **qwen_ids(ids),
    )


def _paddleocr_vl_processor(tokenizer: Any) -> Any:
    size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 64}
    return _x.PaddleOCRVLProcessor(
        image_processor=_x.PaddleOCRVLImageProcessor(patch_size=14, merge_size=2, size=size),
        tokenizer=tokenizer,
        chat_template=chat(CHATML, "<|vision_start|><|image_pad|><|vision_end|>"),
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
        chat_template=chat(CHATML, "<|begin_of_image|><|image|><|end_of_image|>"),
    )


#: One grid that follows the picture, patches merged in twos.
GRIDS: dict[str, Family] = {
    "qwen2_vl": Family(_qwen2_vl_config, qwen_processor("Qwen2VLProcessor", 14), QWEN),
    "qwen2_5_vl": Family(_qwen2_5_vl_config, qwen_processor("Qwen2_5_VLProcessor", 14), QWEN),
    "qwen3_vl": Family(_qwen3_vl_config, qwen_processor("Qwen3VLProcessor", 16), QWEN),
    "qwen3_5": Family(_qwen3_5_config, qwen_processor("Qwen3VLProcessor", 16), QWEN),
    "glm4v": Family(_glm4v_config, _glm4v_processor, _GLM),
    "glm46v": Family(_glm46v_config, _glm46v_processor, _GLM),
    "exaone4_5": Family(_exaone4_5_config, qwen_processor("Exaone4_5_Processor", 14), QWEN),
    "hyperclovax_vision_v2": Family(_hyperclovax_config, qwen_processor("HyperCLOVAXVisionV2Processor", 14), QWEN),
    "paddleocr_vl": Family(_paddleocr_vl_config, _paddleocr_vl_processor, QWEN),
}
