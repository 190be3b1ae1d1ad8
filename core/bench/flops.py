"""The FLOP of one forward pass, counted from a model's configuration where that is known to describe it."""

from typing import Any

from torch import nn


def sample_flop(model: Any, tokens: int, visual: int) -> int | None:
    """``forward_flop`` of a sample; None where its formula does not describe the model.

    It describes a model whose picture becomes the patches of one square, and whose weights are as many as it counts.

    Args:
        model: as transformers has it, with its head. tokens: of the sequence, visual ones included. visual: of these.
    """
    config = model.config
    try:
        counted, patches = _weights(config), (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    except (AttributeError, TypeError):  # of a family that has other fields, or lists in them
        return None
    products = (module for module in model.model.modules() if isinstance(module, (nn.Linear, nn.Conv2d)))
    if visual != patches or sum(module.weight.numel() for module in products) != sum(counted):
        return None
    return forward_flop(config, tokens)


def _weights(config: Any) -> tuple[int, int, int, int]:
    """The weights of matrix products: of patches, tower, projector, decoder."""
    vision, text = config.vision_config, config.text_config
    width, hidden = vision.hidden_size, text.hidden_size
    tower = vision.num_hidden_layers * (4 * width**2 + 2 * width * vision.intermediate_size)
    queries, keys = _heads(text)
    layer = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * text.intermediate_size
    projector = width * hidden + hidden**2
    return 3 * vision.patch_size**2 * width, tower, projector, text.num_hidden_layers * layer


def _heads(text: Any) -> tuple[int, int]:
    """Heads times head size: of the queries, of the keys."""
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    keys = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return text.num_attention_heads * head, keys * head


def forward_flop(config: Any, tokens: int, causal: bool = True) -> int:
    """FLOP of one sample's pass: vision tower, projector and decoder layers, without the language-model head.

    Only matrix products are counted, a multiplication and an addition as two FLOP: 2 for each weight and token, and in
    attention 4 * T^2 * d per layer (queries by keys, then by values; T tokens, d = heads * head size). The vision
    tower's attention is counted whole, the decoder's by half, since a token does not attend to later ones. All layers
    of the vision tower run, also those after the one that is read. Source: Kaplan et al. 2020 (arXiv 2001.08361),
    section 2.1; the halving as in Dao 2023 (arXiv 2307.08691), section 4.

    Args:
        config: of a LLaVA-1.5: a CLIP tower, a projector of two matrices, a decoder with gated FFNs.
        tokens: prompt, patches and description; padding is not counted.
        causal: whether the decoder's attention is halved.
    """
    vision, text = config.vision_config, config.text_config
    patches = (vision.image_size // vision.patch_size) ** 2
    seen = patches + 1  # and the class token
    pixels, tower, projector, decoder = _weights(config)
    towers = tower * seen + vision.num_hidden_layers * 2 * seen**2 * vision.hidden_size
    attention = text.num_hidden_layers * (4 * tokens**2 * _heads(text)[0] // (2 if causal else 1))
    return int(2 * (pixels * patches + towers + projector * patches + decoder * tokens) + attention)
