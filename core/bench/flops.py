"""The FLOP of one forward pass, counted from a model's configuration."""

from typing import Any


def forward_flop(config: Any, tokens: int, causal: bool = True) -> int:
    """FLOP of one sample's pass: vision tower, projector and decoder layers, without the language-model head.

    Only matrix products are counted, a multiplication and an addition as two FLOP: 2 for each weight and token, and in
    attention 4 * T^2 * d per layer (queries by keys, then by values; T tokens, d = heads * head size). The vision
    tower's attention is counted whole, the decoder's by half, since a token does not attend to later ones. All layers
    of the vision tower run, also those after the one that is read. Source: Kaplan et al. 2020 (arXiv 2001.08361),
    section 2.1; the halving as in Dao 2023 (arXiv 2307.08691), section 4.

    Args:
        config: a ``LlavaConfig`` whose decoder has gated FFNs.
        tokens: prompt, patches and description; padding is not counted.
        causal: whether the decoder's attention is halved.
    """
    vision, text = config.vision_config, config.text_config
    patches = (vision.image_size // vision.patch_size) ** 2
    seen = patches + 1  # and the class token
    width = vision.hidden_size
    tower = 2 * patches * 3 * vision.patch_size**2 * width
    layer = 2 * seen * (4 * width**2 + 2 * width * vision.intermediate_size) + 4 * seen**2 * width
    tower += vision.num_hidden_layers * layer

    hidden = text.hidden_size
    projector = 2 * patches * (width * hidden + hidden**2)

    head = getattr(text, "head_dim", None) or hidden // text.num_attention_heads
    queries = text.num_attention_heads * head
    keys = (getattr(text, "num_key_value_heads", None) or text.num_attention_heads) * head
    weights = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * text.intermediate_size
    attention = 4 * tokens**2 * queries // (2 if causal else 1)
    decoder = text.num_hidden_layers * (2 * tokens * weights + attention)
    return int(tower + projector + decoder)
