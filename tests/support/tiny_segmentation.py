"""Tiny Grounding DINO and SAM 2 with random weights, saved as real model folders: nothing to download."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    PreTrainedTokenizerFast,
    Sam2Config,
    Sam2Model,
    Sam2VideoConfig,
    Sam2VideoModel,
    SwinConfig,
)
from transformers.models.sam2.configuration_sam2 import (
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

SIDE = 64  #: pixels of SAM 2's square picture
TEXT_LENGTH = 16  #: tokens of a prompt to Grounding DINO
WORDS = ("a", "red", "train", "dog", "cat", "cake", "sky", "water")


def make_bert_tokenizer() -> Any:
    """Whole words, with the ids that Grounding DINO has in its code: [CLS] 101, [SEP] 102, "." 1012, "?" 1029."""
    vocabulary = {f"[unused{at}]": at for at in range(1030)}
    for token, at in {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}.items():
        del vocabulary[f"[unused{at}]"]
        vocabulary[token] = at
    for word in WORDS:
        vocabulary[word] = len(vocabulary)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    fast: Any = PreTrainedTokenizerFast  # untyped in transformers
    return fast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")


def make_detector(folder: Path, seed: int = 0) -> Path:
    """Save a random Grounding DINO of 12 queries; at least 2 decoder layers are needed."""
    torch.manual_seed(seed)
    swin: Any = SwinConfig  # what says which maps it gives is not among its typed arguments
    backbone = swin(
        image_size=32,
        patch_size=2,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    tokenizer = make_bert_tokenizer()
    text = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=2 * TEXT_LENGTH,
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=12,
        encoder_layers=1,
        decoder_layers=2,
        d_model=32,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_text_len=TEXT_LENGTH,
    )
    model = GroundingDinoForObjectDetection(config)
    with torch.no_grad():
        # Scores are dot products of normed vectors: random ones are 0 or 1 but for a smaller scale.
        model.model.decoder.layer_norm.weight.mul_(0.1)
    model.save_pretrained(folder)
    make: Any = GroundingDinoProcessor
    image_processor: Any = GroundingDinoImageProcessorPil
    size = {"shortest_edge": 64, "longest_edge": 128}  # its smallest map must have more than one place
    make(image_processor=image_processor(size=size), tokenizer=tokenizer).save_pretrained(folder)
    return folder


def make_segmenter(folder: Path, seed: int = 0, *, video: bool = False) -> Path:
    """Save a random SAM 2; ``video``: as the hub has them. Global attention not on a stage's first block."""
    torch.manual_seed(seed)
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[SIDE, SIDE],
        window_positional_embedding_background_size=[4, 4],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 2],
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    prompt = Sam2PromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=16, mask_input_channels=4)
    decoder = Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16)
    model: Any
    if video:
        model = Sam2VideoModel(
            Sam2VideoConfig(
                vision_config=vision.to_dict(),
                prompt_encoder_config=prompt.to_dict(),
                mask_decoder_config=decoder.to_dict(),
                image_size=SIDE,
                memory_attention_num_layers=1,
                memory_attention_hidden_size=32,
                memory_attention_feed_forward_hidden_size=32,
                memory_encoder_hidden_size=32,
                memory_encoder_output_channels=16,
            )
        )
    else:
        model = Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder))
    model.save_pretrained(folder)
    return folder
