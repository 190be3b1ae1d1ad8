"""Tiny models of many families with random weights, saved as real model folders: nothing to download.

Each has the geometry of its family in small: tiles, thumbnails, merged patches, newlines. Weights are three times wider
than transformers draws them, so that activations differ from token to token. The vision tower's attention adds little
(2 %), so that a visual token's features follow the pixels of its own box.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast

from tests.support import family_refused, torchvision_stand_in
from tests.support.family_grids import GRIDS
from tests.support.family_parts import LAYERS, NEURONS, SPECIAL, Family
from tests.support.family_squares import SQUARES
from tests.support.family_tiles import TILES
from tests.support.tiny import TEXTS

__all__ = ["FAMILIES", "LAYERS", "NEURONS", "REFUSED", "SCANNED", "SHAPES", "make_family", "make_pictures"]

FAMILIES: dict[str, Family] = {**SQUARES, **GRIDS, **TILES, **family_refused.REFUSED}  #: what ``make_family`` makes
REFUSED = tuple(family_refused.REFUSED)
SCANNED = tuple(name for name in FAMILIES if name not in REFUSED)
SHAPES = ((160, 120), (90, 150))  #: width and height of two pictures that most families process differently


@cache
def _trained() -> str:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = 400 + len(SPECIAL)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    bpe.train_from_iterator(TEXTS * 3, trainer)
    return bpe.to_str()


def make_tokenizer(tokens: dict[str, str]) -> Any:
    """A byte-level BPE of about 400 entries and the special tokens of all families; ``tokens`` names some of them."""
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=tokens,
    )


def make_family(folder: Path, name: str, seed: int = 0, tokenizer: Any = None) -> Path:
    """Save a tiny random model of the family ``name`` with its processor, as a folder that ``load`` takes.

    Args:
        tokenizer: of transformers, in place of the tests' own.
    """
    torchvision_stand_in.install()
    family = FAMILIES[name]
    tokenizer = make_tokenizer(family.tokens) if tokenizer is None else tokenizer
    config = family.config(tokenizer.convert_tokens_to_ids)
    text = config.get_text_config()
    text.vocab_size = max(text.vocab_size or 0, len(tokenizer))
    auto: Any = AutoModelForImageTextToText
    torch.manual_seed(seed)
    model = auto.from_config(config).train(False)
    _widen(model, family.drawn)
    model.generation_config.max_new_tokens = 12
    model.save_pretrained(folder)
    family.processor(tokenizer).save_pretrained(folder)
    return folder


def _widen(model: Any, drawn: tuple[str, ...]) -> None:
    """Make weights three times wider, and the output of attention in the vision tower small; draw what is zero."""
    decoder = {id(parameter) for parameter in model.get_decoder().parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in drawn):
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
