"""What a neuron writes: against the formula written out, and in a real model process."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.model_here import ModelHere
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.model.load import load
from vlmscope.core.model.promoted import promoted
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.worker.messages import MapRequest, ModelSpec, PromotedRequest
from vlmscope.core.worker.wire import MAX_HEAD


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder / "model")
    make_images(folder, 1)
    return folder


@pytest.fixture(scope="module")
def vlm(folder: Path) -> Vlm:
    return load(ModelSpec(str(folder / "model"), device="cpu"))


def by_hand(vlm: Vlm, neuron: Neuron) -> list[tuple[float, str]]:
    """Every token that is text with its logit, one scalar product at a time."""
    text = vlm.model.model.language_model
    column = text.layers[neuron.layer].mlp.down_proj.weight.detach()[:, neuron.index]
    scale = text.norm.weight.detach()
    found = []
    tokenizer = vlm.processor.tokenizer
    for token, row in enumerate(vlm.model.lm_head.weight.detach()):
        if token >= len(tokenizer) or token in tokenizer.all_special_ids or token == 4:
            continue
        found.append((sum(float(h * c * s) for h, c, s in zip(row, column, scale, strict=True)), token))
    return [(logit, tokenizer.decode([token])) for logit, token in sorted(found, key=lambda one: (-one[0], one[1]))]


@pytest.mark.parametrize("neuron", [Neuron(0, 0), Neuron(2, 47)])
def test_the_extremes_are_those_of_the_formula(vlm: Vlm, neuron: Neuron) -> None:
    with torch.no_grad():
        vlm.model.model.language_model.norm.weight.copy_(torch.linspace(0.5, 2.0, 32))
    answer, slow = promoted(vlm, neuron, 5), by_hand(vlm, neuron)
    assert list(answer.top) == [word for _, word in slow[:5]]
    assert list(answer.bottom) == [word for _, word in slow[::-1][:5]]
    np.testing.assert_allclose(answer.top_logits, [logit for logit, _ in slow[:5]], rtol=1e-3)
    np.testing.assert_allclose(answer.bottom_logits, [logit for logit, _ in slow[::-1][:5]], rtol=1e-3)
    assert answer.top_logits[0] > 0 > answer.bottom_logits[0]


def test_special_tokens_are_never_named(vlm: Vlm) -> None:
    everything = promoted(vlm, Neuron(1, 1), 100_000)
    tokenizer = vlm.processor.tokenizer
    special = {tokenizer.decode([token]) for token in tokenizer.all_special_ids} | {"<image>"}
    assert len(everything.top) == len(everything.bottom) > 20
    assert not special & set(everything.top)


async def test_the_engine_answers_and_sends_the_crop_only_when_asked(folder: Path, vlm: Vlm) -> None:
    model = ModelHere(ModelSpec(str(folder / "model")))
    answer = await model.ask(PromotedRequest(Neuron(2, 3), 4))
    assert (answer.neuron, len(answer.top), len(answer.bottom_logits)) == (Neuron(2, 3), 4, 4)
    with pytest.raises(WorkerError, match="outside"):
        await model.ask(PromotedRequest(Neuron(3, 0), 4))
    picture = folder / "000.png"
    request = MapRequest(Neuron(1, 0), str(picture), vlm.prompt("What?"), "A red train.", 0)
    assert (await model.ask(request)).crop == b""
    crop = (await model.ask(msgspec.structs.replace(request, crop=True))).crop
    sent = load_image(_saved(folder / "crop.png", crop))
    assert sent.tobytes() == vlm.crop(load_image(picture)).tobytes()


async def test_a_photographs_crop_is_made_smaller_before_it_is_sent(folder: Path, vlm: Vlm) -> None:
    path = folder / "photograph.png"
    Image.effect_noise((3000, 2500), 80).convert("RGB").save(path)
    assert vlm.crop(load_image(path)).size == (2500, 2500)
    model = ModelHere(ModelSpec(str(folder / "model")))
    request = MapRequest(Neuron(1, 0), str(path), vlm.prompt("What?"), "A red train.", 0, crop=True)
    answer = await model.ask(request)
    assert load_image(_saved(folder / "crop.png", answer.crop)).size == (1024, 1024)
    assert len(answer.crop) < MAX_HEAD // 2  # as base64 it is larger by a third


def _saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
