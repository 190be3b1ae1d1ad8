"""Tiny models that cannot be scanned."""

from typing import Any

import transformers

from tests.support.family_grids import QWEN, qwen3_vl_moe_config, qwen_processor
from tests.support.family_parts import SQUARE, USER, VOCABULARY, Family, Ids, chat, text_sizes, vision_sizes
from tests.support.family_squares import GEMMA4, gemma4_config, gemma4_processor

_x: Any = transformers  # its classes are untyped


def _mllama_config(ids: Ids) -> Any:
    vision = vision_sizes(
        attention_heads=2, num_global_layers=1, intermediate_layers_indices=[0, 1], vision_output_dim=48
    )
    del vision["num_attention_heads"]
    return _x.MllamaConfig(
        vision_config=vision,
        text_config=text_sizes(ids, cross_attention_layers=[1]),
        image_token_index=ids("<image>"),
    )


def _mllama_processor(tokenizer: Any) -> Any:
    return _x.MllamaProcessor(
        image_processor=_x.MllamaImageProcessor(size=SQUARE),
        tokenizer=tokenizer,
        chat_template=chat(USER, "<image>"),
    )


_IDEFICS2 = {"image_token": "<image>", "image_boundary_token": "<fake_token_around_image>"}


def _idefics2_config(ids: Ids) -> Any:
    queries = {"resampler_n_latents": 4, "resampler_depth": 2, "resampler_n_heads": 2, "resampler_head_dim": 8}
    return _x.Idefics2Config(
        vision_config=vision_sizes(),
        perceiver_config=queries | {"num_key_value_heads": 1, "hidden_size": 32},
        text_config=_x.MistralConfig(**text_sizes(ids)),
        image_token_id=ids("<image>"),
    )


def _idefics2_processor(tokenizer: Any) -> Any:
    return _x.Idefics2Processor(
        image_processor=_x.Idefics2ImageProcessor(
            size={"longest_edge": 112, "shortest_edge": 56}, do_image_splitting=False
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=chat(USER, "<image>"),
    )


def _encoder_decoder_config(ids: Ids) -> Any:
    text = {"hidden_size": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": VOCABULARY}
    vision = {"hidden_size": 16, "d_ff": 32, "d_kv": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    return _x.Pix2StructConfig(
        text_config=text | {"pad_token_id": ids("<pad>"), "eos_token_id": ids("</s>")}, vision_config=vision
    )


def _encoder_decoder_processor(tokenizer: Any) -> Any:
    return _x.Pix2StructProcessor(image_processor=_x.Pix2StructImageProcessor(), tokenizer=tokenizer)


_MOE = "is a mixture of experts: a neuron there has an activation only for tokens sent to its expert"


#: Each with what its message says.
REFUSED: dict[str, Family] = {
    "mllama": Family(_mllama_config, _mllama_processor, refused="no token of its sequence comes from the picture"),
    "idefics2": Family(_idefics2_config, _idefics2_processor, _IDEFICS2, refused="visual tokens are not places"),
    "qwen3_vl_moe": Family(qwen3_vl_moe_config, qwen_processor("Qwen3VLProcessor", 16), QWEN, refused=_MOE),
    "gemma4_double_wide": Family(
        gemma4_config(use_double_wide_mlp=True, num_kv_shared_layers=1),
        gemma4_processor,
        GEMMA4,
        refused=r"its layers have FFNs of different widths \(48, 96\)",
    ),
    "pix2struct": Family(
        _encoder_decoder_config, _encoder_decoder_processor, refused="is not a decoder-only language model"
    ),
}
