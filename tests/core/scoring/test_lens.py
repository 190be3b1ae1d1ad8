"""The lens in the model: against arithmetic written out, and in a real model process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.encoding import encoded_sample
from tests.support.model_here import ModelHere
from tests.support.tiny import MODELS, make_images, make_model
from vlmscope.core.base.errors import Cancelled, UsageError, WorkerError
from vlmscope.core.data.images import load_image
from vlmscope.core.model.lens import lens
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.worker.messages import LensRequest, ModelSpec

WORDS = ("train", "trains", "cake", "table", "dogs", "airplane")
DESCRIPTION = "A red train and two dogs."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder / "model")
    make_images(folder, 2)
    return folder


@pytest.fixture(scope="module")
def vlm(folder: Path) -> Vlm:
    found = load(ModelSpec(str(folder / "model"), device="cpu"))
    with torch.no_grad():  # a norm of ones would hide a norm that is left out, or taken twice
        found.model.model.language_model.norm.weight.copy_(torch.linspace(0.5, 2.0, 32))
    return found


def by_hand(vlm: Vlm, folder: Path) -> tuple[NDArray[np.float64], dict[str, str]]:
    """All logits of the whole model, float64 (T, V), and the first token of each word by the tokenizer's spelling."""
    image = load_image(folder / "000.png")
    prompt = vlm.prompt("What?")
    inputs: Any = vlm.processor(text=f"{prompt} {DESCRIPTION}", images=image, return_tensors="pt")
    with torch.no_grad():
        logits = vlm.model(**inputs).logits[0].double().numpy()
    tokenizer = vlm.processor.tokenizer
    return logits, {word: tokenizer.tokenize(word)[0] for word in WORDS}


def test_the_probabilities_are_those_of_the_whole_model_among_the_words(vlm: Vlm, folder: Path) -> None:
    logits, first = by_hand(vlm, folder)
    encoded, inputs = encoded_sample(vlm, load_image(folder / "000.png"), DESCRIPTION, vlm.prompt("What?"))
    columns, visual, text = lens(vlm, encoded, inputs, WORDS)
    tokenizer = vlm.processor.tokenizer
    spelled = list(dict.fromkeys(first[word] for word in WORDS))
    assert all(token.startswith("▁") for token in spelled)  # words of a sentence, not the ends of words
    assert columns == tuple(spelled.index(first[word]) for word in WORDS)
    assert len(set(columns)) < len(WORDS)  # "train" and "trains" share one, which counts once
    ids = tokenizer.convert_tokens_to_ids(spelled)
    chances = np.exp(logits[:, ids]) / np.exp(logits[:, ids]).sum(axis=1, keepdims=True)
    start = int(encoded.visual[0])
    for patch in range(9):
        np.testing.assert_allclose(visual[:, patch // 3, patch % 3], chances[start + patch], rtol=1e-4)
    for token in range(len(encoded.tokens)):
        np.testing.assert_allclose(text[:, token], chances[encoded.text.start + token - 1], rtol=1e-4)
    assert text.shape == (len(spelled), len(encoded.tokens))
    assert visual.std() > 0.01


def test_no_words_and_a_stop_end_it(vlm: Vlm, folder: Path) -> None:
    encoded, inputs = encoded_sample(vlm, load_image(folder / "000.png"), DESCRIPTION, vlm.prompt("What?"))
    with pytest.raises(UsageError):
        lens(vlm, encoded, inputs, ())
    with pytest.raises(Cancelled):
        lens(vlm, encoded, inputs, WORDS, lambda: True)


@pytest.mark.parametrize("decoder", MODELS)
async def test_the_engine_answers(decoder: str, tmp_path: Path) -> None:
    make_model(tmp_path / "model", decoder)
    make_images(tmp_path, 1)
    local = load(ModelSpec(str(tmp_path / "model"), device="cpu"))
    prompt = local.prompt("What?")
    expected = lens(local, *encoded_sample(local, load_image(tmp_path / "000.png"), DESCRIPTION, prompt), WORDS)
    model = ModelHere(ModelSpec(str(tmp_path / "model")))
    request = LensRequest(str(tmp_path / "000.png"), prompt, DESCRIPTION, 7, WORDS)
    answer = await model.ask(request)
    assert (answer.sample, answer.columns) == (7, expected[0])
    np.testing.assert_allclose(answer.visual, expected[1], rtol=1e-5)
    np.testing.assert_allclose(answer.text, expected[2], rtol=1e-5)
    with pytest.raises(WorkerError, match="words"):
        await model.ask(LensRequest(str(tmp_path / "000.png"), prompt, DESCRIPTION, 7, ()))
    with pytest.raises(WorkerError, match="does not exist"):
        await model.ask(LensRequest(str(tmp_path / "none.png"), prompt, DESCRIPTION, 7, WORDS))
