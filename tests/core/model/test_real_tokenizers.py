"""Descriptions through the tokenizers of published models: Mistral 7B's SentencePiece, as in LLaVA-1.6-Mistral, and
Qwen2-VL's byte-level BPE. The publishers' own encoders say which tokens are right."""

from dataclasses import dataclass
from itertools import accumulate

import pytest

from tests.support import real_tokenizers
from tests.support.families import make_family, make_pictures
from vlmscope.core.base.errors import SamplesError
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Encoded, Vlm
from vlmscope.core.worker.messages import ModelSpec

SIZE = (160, 120)
SPACE = 28705  #: Mistral's token of a lone space; Qwen's of this number is "Collider"
DESCRIPTIONS = (
    "A red train on the left.",
    "A 🚂 on rails, 🇩🇪 flags, a family 👨‍👩‍👧‍👦 and a ✈️",
    "一个红色的火车，两只小狗。桌子上有蛋糕。",
    "naïve café — “quotes” … ½ ™",
    "Line one.\nLine two.\r\n\tTabbed.\n\n- a list",
    "two  spaces   three",
    "𝔘𝔫𝔦 ﷽ ਪੰਜਾਬੀ e\u0301 ﬁ",
    "<b>HTML</b> &amp; [INST] [/INST] <0x41> <|extra|> ▁ Ġ",
    "1234567890 3.14 100%",
    "🙂",
)


@dataclass(frozen=True)
class Case:
    """A model with a real tokenizer.

    Attributes:
        encode: the publisher's encoder, of text without special tokens.
        last: the special token after which the prompt's last words and the description are plain text.
    """

    vlm: Vlm
    encode: real_tokenizers.Encoder
    last: str
    end: str  #: a special token that a description may spell out


@pytest.fixture(scope="module", params=["mistral", "qwen"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "mistral":
        make_family(folder, "llava_next", tokenizer=real_tokenizers.mistral())
        encode, last, end = real_tokenizers.mistral_ids(), "<image>", "</s>"
    else:
        make_family(folder, "qwen2_vl", tokenizer=real_tokenizers.qwen())
        encode, last, end = real_tokenizers.qwen_ids(), "<|im_start|>", "<|im_end|>"
    return Case(load(ModelSpec(str(folder), device="cpu")), encode, last, end)


def tail(case: Case, description: str) -> tuple[Encoded, str]:
    """The sample, and its plain text after the last special token: of the prompt, and the description."""
    prompt = case.vlm.prompt("Could you describe the image?")
    encoded = case.vlm.encode(prompt, description, SIZE)
    between = "" if prompt[-1].isspace() else " "
    return encoded, prompt.rpartition(case.last)[2] + between + description


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_the_tokens_are_the_publishers_spelled_and_at_their_positions(case: Case, description: str) -> None:
    encoded, text = tail(case, description)
    expected = case.encode(text)
    ids = encoded.input_ids.tolist()
    assert ids[-len(expected) :] == expected
    assert encoded.text.stop == len(ids)
    # The description begins with the first token that reaches into it: not with a space that is a token of its own.
    before = len(case.encode(text[: len(text) - len(description)].rstrip(" ")))
    before += expected[before] == SPACE
    assert encoded.text.start == len(ids) - len(expected) + before
    assert "".join(encoded.tokens) == description
    assert len(encoded.tokens) == encoded.text.stop - encoded.text.start
    tokenizer = case.vlm.processor.tokenizer
    for token, spelled in zip(ids[encoded.text], encoded.tokens, strict=True):
        alone = tokenizer.decode([token])
        # A token of a part of a character is decoded as "\ufffd"; one of whole characters is spelled as it is decoded.
        assert "\ufffd" in alone or alone.strip() == spelled.strip() or not spelled or not spelled.isascii()


def test_a_character_of_several_tokens_is_spelled_once(case: Case) -> None:
    encoded, _ = tail(case, "a 🚂 b")
    places = [at for at, token in enumerate(encoded.tokens) if "🚂" in token]
    assert len(places) == 1
    assert len(encoded.tokens) > len("a🚂b")  # some tokens are parts of it
    ends = list(accumulate(len(token) for token in encoded.tokens))
    assert ends[-1] == len("a 🚂 b")


def test_the_processor_makes_the_same_tokens(case: Case) -> None:
    """``inputs`` compares its ids with those of the samples."""
    picture = make_pictures((SIZE,))[0]
    encoded = [tail(case, description)[0] for description in DESCRIPTIONS]
    batch = case.vlm.inputs(encoded, [picture] * len(encoded))
    assert batch["input_ids"].shape == (len(encoded), max(len(one.input_ids) for one in encoded))


def test_special_tokens_in_a_description(case: Case) -> None:
    """One that is spelled out is what the model's own processor makes of it: the special token. The picture's own
    placeholder is refused."""
    words = f"a train {case.end} and dogs"
    encoded, _ = tail(case, words)
    ids = encoded.input_ids.tolist()[encoded.text]
    end = case.vlm.processor.tokenizer.convert_tokens_to_ids(case.end)
    assert "".join(encoded.tokens) == words
    assert encoded.tokens[ids.index(end)].strip() == case.end
    case.vlm.inputs([encoded], make_pictures((SIZE,)))
    with pytest.raises(SamplesError):
        tail(case, f"a {case.vlm.placeholder} of a train")
