"""Prompt, picture and description as one sequence, for every family: positions, spelling, batches, masks."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText

from tests.support import torchvision_stand_in
from tests.support.families import FAMILIES, SCANNED, make_family, make_pictures
from tests.support.tiny import make_model
from vlmscope.core.base.errors import ModelError, SamplesError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.model.checkpoint import try_out
from vlmscope.core.model.encode import Encoded
from vlmscope.core.model.layouts import Inputs
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Hook, Vlm
from vlmscope.core.store.manifest import make_scan_id
from vlmscope.core.worker.messages import ModelSpec

TEXTS = ("A red train.", "In the top right corner there is\na large 🚂, 日本 and é <b>.", "x")
_x: Any = transformers  # its classes are untyped


def wrapped(folder: Path, name: str, change: Callable[[Any], object] = lambda _: None) -> Vlm:
    torchvision_stand_in.install()
    auto: Any = AutoModelForImageTextToText
    processor = _x.AutoProcessor.from_pretrained(folder)
    change(processor)
    options = FAMILIES[name].options if name in FAMILIES else {}
    return Vlm(auto.from_pretrained(folder), processor, name, options)


@pytest.fixture(scope="module", params=SCANNED)
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    vlm = wrapped(make_family(tmp_path_factory.mktemp(request.param), request.param), request.param)
    try_out(vlm)
    return vlm


def prompt_of(vlm: Vlm) -> str:
    return vlm.prompt("What is it?", None if vlm.processor.chat_template else f"{vlm.placeholder}{{question}}")


def test_a_descriptions_tokens_are_found_and_spelled(vlm: Vlm) -> None:
    picture = make_pictures()[0]
    for words in TEXTS:
        encoded = vlm.encode(prompt_of(vlm), f" {words}\n", picture.size)
        assert "".join(encoded.tokens) == encoded.description == words
        assert len(encoded.tokens) == encoded.text.stop - encoded.text.start
        assert vlm.processor.tokenizer.decode(encoded.input_ids[encoded.text]).strip() == words
        assert encoded.text.start > encoded.visual[-1]
        after = encoded.input_ids[encoded.text.stop :].tolist()
        assert all(token in vlm.processor.tokenizer.all_special_ids for token in after)


def test_a_space_stands_where_generation_would_put_one(vlm: Vlm) -> None:
    encoded = vlm.encode(prompt_of(vlm), "A red train.", (64, 48))
    first = vlm.processor.tokenizer.decode(encoded.input_ids[encoded.text.start - 1 : encoded.text.start + 1])
    assert first.removesuffix("A").endswith(" ") == prompt_of(vlm).endswith("ASSISTANT:")
    assert vlm.name != "paligemma" or first.removesuffix("A").endswith("\n")


def test_the_ids_are_the_processors_own(vlm: Vlm) -> None:
    """``inputs`` compares them, and refuses others."""
    pictures = make_pictures()
    encoded = [vlm.encode(prompt_of(vlm), words, one.size) for words, one in zip(TEXTS, pictures, strict=False)]
    inputs = vlm.inputs(encoded, pictures)
    assert ("attention_mask" in inputs) == (vlm.name == "paligemma")  # its prompt sees all tokens
    ids = inputs["input_ids"]
    for row, one in zip(ids, encoded, strict=True):
        assert row[: len(one.input_ids)].tolist() == one.input_ids.tolist()
    if len(encoded[0].visual) != len(encoded[1].visual):
        with pytest.raises(ModelError, match="other tokens of a picture"):
            vlm.inputs(encoded[::-1], pictures)


def activations(vlm: Vlm, inputs: Inputs) -> list[Tensor]:
    found: dict[int, Tensor] = {}
    hooks: dict[int, Hook] = {layer: partial(found.__setitem__, layer) for layer in range(vlm.layers)}
    vlm.forward(inputs, hooks, HookPoint.GATE)
    return [found[layer] for layer in range(vlm.layers)]


def test_a_batch_of_different_layouts_equals_single_samples(vlm: Vlm) -> None:
    pictures = make_pictures(((160, 120), (90, 150), (100, 100)))
    encoded = [vlm.encode(prompt_of(vlm), words, one.size) for words, one in zip(TEXTS, pictures, strict=True)]
    together = activations(vlm, vlm.inputs(encoded, pictures))
    for row, (one, picture) in enumerate(zip(encoded, pictures, strict=True)):
        positions = [*one.visual.tolist(), *range(one.text.start, one.text.stop)]
        for batch, alone in zip(together, activations(vlm, vlm.inputs([one], [picture])), strict=True):
            assert batch[row].shape[-1] == vlm.neurons
            difference = (batch[row, positions] - alone[0, positions]).abs().max()
            assert difference <= 2e-6 * alone.abs().max().clamp(min=1)


def test_descriptions_are_continued_from_pictures_of_any_shape(vlm: Vlm) -> None:
    pictures = make_pictures()
    both = vlm.describe(pictures, prompt_of(vlm))
    assert both == [vlm.describe([picture], prompt_of(vlm))[0] for picture in pictures]


def test_token_logits_are_the_models_own(vlm: Vlm) -> None:
    """Norm, head, scale and cap as in the model's forward."""
    picture = make_pictures()[0]
    inputs = vlm.inputs([vlm.encode(prompt_of(vlm), "A red train.", picture.size)], [picture])
    tokens = torch.tensor([300, 5, 77])
    whole = vlm.model(**inputs).logits[0][:, tokens].float()
    torch.testing.assert_close(vlm.logits.of_tokens(inputs, tokens), whole, rtol=1e-4, atol=1e-6)


def test_a_logit_effect_is_a_derivative(vlm: Vlm) -> None:
    """Against a small step of the stream before the final norm, of the size and direction that the neuron writes."""
    from vlmscope.core.model.ffn import decoder_of

    norm, head = decoder_of(vlm.model).norm, vlm.model.get_output_embeddings()
    column = vlm.ffns[1].down_column(3)
    stream = torch.randn(column.shape, generator=torch.Generator().manual_seed(0))
    stream -= stream.mean()
    stream -= column * (stream @ column) / (column @ column)  # the norm's division then hardly changes
    stream /= stream.square().mean().sqrt()
    step = 1e-2
    with torch.no_grad():
        change = (head(norm(stream + step * column)) - head(norm(stream - step * column)))[: len(head.weight)] / (
            2 * step
        )
    torch.testing.assert_close(vlm.logits.effect(1, 3), change * vlm.logits.readout.scale, rtol=2e-2, atol=2e-4)


def test_image_tokens_in_a_description_are_refused(vlm: Vlm) -> None:
    for words in (f"an {vlm.placeholder} here", vlm.placeholder):
        with pytest.raises(SamplesError, match="image token"):
            vlm.encode(prompt_of(vlm), words, (64, 48))


def test_the_digest_is_of_what_the_processor_makes(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    first = wrapped(folder, "model").info.processor
    assert first is not None and len(first) == 64
    assert wrapped(folder, "again").info.processor == first
    other_size = lambda processor: setattr(processor.image_processor, "resample", 2)  # noqa: E731
    other_mean = lambda processor: setattr(processor.image_processor, "image_mean", [0.5, 0.5, 0.5])  # noqa: E731
    assert len({first, *(wrapped(folder, "x", change).info.processor for change in (other_size, other_mean))}) == 3
    nudged = wrapped(
        folder, "x", lambda p: setattr(p.image_processor, "image_mean", [0.48145466 + 1e-7, 0.4578275, 0.40821073])
    )
    assert nudged.info.processor == first


def test_a_tokenizer_without_offsets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a fast one") as caught:
        wrapped(make_model(tmp_path / "model"), "x", lambda p: setattr(p, "tokenizer", _Slow()))
    assert "tokenizer.json" in caught.value.hint


class _Slow:
    is_fast = False


def test_a_tokenizer_without_padding_pads_with_another_token(tmp_path: Path) -> None:
    vlm = wrapped(make_model(tmp_path / "model"), "x", lambda p: setattr(p.tokenizer, "pad_token", None))
    try_out(vlm)
    pictures = [Image.new("RGB", (40, 30))] * 2
    encoded = [vlm.encode(prompt_of(vlm), words, (40, 30)) for words in ("A red train on the left.", "cake")]
    ids = vlm.inputs(encoded, pictures)["input_ids"]
    assert 4 not in ids[1, len(encoded[1].input_ids) :]
    assert vlm.describe(pictures, prompt_of(vlm))


def test_samples_of_one_size_share_their_layout(vlm: Vlm) -> None:
    one, other = (vlm.encode(prompt_of(vlm), words, (160, 120)) for words in TEXTS[:2])
    assert one.layout is other.layout
    assert np.array_equal(one.visual, other.visual)


def test_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    vlm = wrapped(make_model(tmp_path / "model"), "x")
    encoded: Encoded = vlm.encode(prompt_of(vlm), "a train", (40, 30))
    assert len(encoded.input_ids) < 128
    with pytest.raises(SamplesError, match=r"too long: \d+ tokens, the model takes 128"):
        vlm.encode(prompt_of(vlm), "train " * 200, (40, 30))


def test_image_options_decide_pictures_and_identity(tmp_path: Path) -> None:
    """Gemma 3 cuts a picture into crops only where that is asked for; the model process does as the scan did."""
    folder = make_family(tmp_path / "gemma3", "gemma3")
    torchvision_stand_in.install()
    plain = load(ModelSpec(str(folder), device="cpu"))
    options = ("do_pan_and_scan=true", "pan_and_scan_min_crop_size=40")
    panned = load(ModelSpec(str(folder), device="cpu", image_options=options))
    layouts = [vlm.encode(prompt_of(vlm), "A red train.", (160, 120)).layout for vlm in (plain, panned)]
    assert [layout.covers for layout in layouts] == [1, 2]
    assert (plain.info.image_options, panned.info.image_options) == ((), options)
    assert "image_options" not in plain.info.model_dump()
    identities = [make_scan_id(vlm.info, HookPoint.GATE, "x", 5, "y") for vlm in (plain, panned)]
    assert identities[0] != identities[1]
    with pytest.raises(ModelError, match="takes no do_pan_scan") as caught:
        load(ModelSpec(str(folder), device="cpu", image_options=("do_pan_scan=true",)))
    assert "do_pan_and_scan" in caught.value.hint


def test_chat_options_reach_the_template(tmp_path: Path) -> None:
    def thinking(processor: Any) -> None:
        processor.chat_template += "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"

    folder = make_model(tmp_path / "model")
    processor = _x.AutoProcessor.from_pretrained(folder)
    thinking(processor)
    processor.save_pretrained(folder)
    plain = load(ModelSpec(str(folder), device="cpu"))
    told = load(ModelSpec(str(folder), device="cpu", chat_options=("enable_thinking=false",)))
    assert plain.prompt("What?") == f"{told.prompt('What?')}<think>"
    assert told.info.chat_options == ("enable_thinking=false",)
    with pytest.raises(ModelError, match="does not read enable_thoughts"):
        load(ModelSpec(str(folder), device="cpu", chat_options=("enable_thoughts=false",)))


def test_sizes_that_cannot_be_measured_are_samples_to_leave_out(tmp_path: Path) -> None:
    """One odd picture does not end a scan; tiny ones are measured enlarged where the model does not mind."""
    folder = make_family(tmp_path / "internvl", "internvl")
    vlm = wrapped(folder, "internvl")
    with pytest.raises(ModelError, match="cannot be measured"):  # nothing was measured yet: perhaps nothing can be
        vlm.encode(prompt_of(vlm), "A train.", (1, 1))
    large = vlm.encode(prompt_of(vlm), "A train.", (320, 240))
    with pytest.raises(SamplesError, match="cannot be measured"):
        vlm.encode(prompt_of(vlm), "A train.", (1, 1))
    assert vlm.encode(prompt_of(vlm), "A train.", (8, 6)).layout == large.layout

    class Refusing(type(vlm.processor.image_processor)):  # type: ignore[misc]
        def preprocess(self, images: Any, **named: Any) -> Any:
            if images[0][0].width == 33:
                raise ValueError("absolute aspect ratio must be smaller than 200")
            return super().preprocess(images, **named)

    vlm.processor.image_processor.__class__ = Refusing
    with pytest.raises(SamplesError, match=r"33 x 40 pixels: absolute aspect ratio"):
        vlm.encode(prompt_of(vlm), "A train.", (33, 40))
