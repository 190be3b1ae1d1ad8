"""Tiny LLaVAs with random weights, saved as real model folders: real arithmetic, nothing to download."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

MODELS = ("llama", "qwen2")  #: what ``make_model`` makes; the tests of what differs between families take each

TEXTS = [
    "The image shows a red train on the left and two small dogs.",
    "A cake stands on a wooden table in the middle of the picture.",
    "In the top right corner there is a large airplane above the sea.",
    "Three blue cars and a house at night, under the stars.",
    "USER: Could you describe the image? ASSISTANT:",
]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %} "
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def make_tokenizer(end: bool = False) -> Any:
    """A Metaspace BPE as Llama's, with BOS in front, and with ``end`` EOS behind."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    tokenizer.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if end else "<s> $A", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    fast: Any = PreTrainedTokenizerFast  # untyped in transformers
    return fast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )


def make_model(
    folder: Path,
    decoder: str = "llama",
    seed: int = 0,
    strategy: Literal["default", "full"] = "default",
    end: bool = False,
) -> Path:
    """Save a random LLaVA of 3 layers, 48 neurons and a 3 x 3 patch grid; ``decoder`` is one of ``MODELS``."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(end)
    size: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    text = {"llama": LlamaConfig, "qwen2": Qwen2Config}[decoder](**size)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=24,
        patch_size=8,
        projection_dim=16,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=4,
        image_seq_length=9,
        vision_feature_select_strategy=strategy,
    )
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        # Wider weights than the initialiser's, so that activations differ from token to token.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    model.generation_config.max_new_tokens = 12
    image_processor = CLIPImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    make: Any = LlavaProcessor
    processor = make(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_images(folder: Path, count: int, seed: int = 0, descriptions: bool = True) -> Path:
    """Write ``count`` random pictures and a ``samples.jsonl`` with texts of many lengths; returns the latter."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    words = " ".join(TEXTS[:4]).split()
    for index in range(count):
        pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 30)).save(folder / f"{index:03}.png")
        line = {"image": f"{index:03}.png"}
        if descriptions:
            line["description"] = " ".join(rng.choice(words, int(rng.integers(1, 14))))
        lines.append(json.dumps(line))
    path = folder / "samples.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path
