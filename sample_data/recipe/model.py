"""The demo's LLaVA: tokenizer, configuration and processor. 5.6 million parameters, the genuine architecture."""

import json
from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from vlmscope.sample_data.recipe.backgrounds import SIDE

PATCH = 8
GRID = SIDE // PATCH  #: patches on a side
UNK, BOS, EOS, PAD, IMAGE = range(5)
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
BYTES = [f"<0x{value:02X}>" for value in range(256)]
VOCABULARY = 1024
#: That of llava-hf/llava-1.5-7b-hf, reduced to what the demo needs.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for content in message['content'] if content['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for content in message['content'] if content['type'] == 'text' %}{{ content['text'] }} {% endfor %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A BPE like Llama's: words begin with a mark for the space, unknown characters fall back to bytes."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = _pre_tokenizer()
    room = VOCABULARY - len(SPECIAL) - len(BYTES)
    raw.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=room, show_progress=False))
    learned = json.loads(raw.to_str())["model"]
    words = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *BYTES, *words])}
    merges = [(a, b) for a, b in learned["merges"]]
    # Rebuilt, so that the byte tokens are plain tokens and not among the added ones.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return tokenizer


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(r"[.,:?!\n]"), "isolated"),
        ]
    )


def make_processor(tokenizer: Tokenizer) -> Any:
    """A ``LlavaProcessor``; scenes have the model's own size, so that nothing is resized."""
    fast: Any = PreTrainedTokenizerFast
    make: Any = LlavaProcessor
    return make(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, resample=3
        ),
        tokenizer=fast(
            tokenizer_object=tokenizer,
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            padding_side="left",
            model_max_length=512,
            extra_special_tokens={"image_token": "<image>"},
        ),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def make_model(seed: int = 0) -> LlavaForConditionalGeneration:
    """The untrained model, float32."""
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        image_size=SIDE,
        patch_size=PATCH,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=3,
        projection_dim=192,
    )
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE,
        image_seq_length=GRID * GRID,
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
        tie_word_embeddings=True,
    )
    config._attn_implementation = "eager"  # faster than sdpa on the CPU at this size
    model = LlavaForConditionalGeneration(config)
    model.generation_config.bos_token_id = BOS
    model.generation_config.eos_token_id = EOS
    model.generation_config.pad_token_id = PAD
    return model
