"""The real engine in a real model process, against the same arithmetic done here."""

import asyncio
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from transformers.utils import logging

from tests.support.encoding import encoded_sample
from tests.support.tiny import make_images, make_model
from tests.support.watched import Watched, watched
from vlmscope.core.base.errors import Cancelled, WorkerError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.engine import VlmEngine
from vlmscope.core.model.load import load
from vlmscope.core.model.maps import neuron_maps
from vlmscope.core.model.server import failure
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.worker.link import COMMAND
from vlmscope.core.worker.log import worker_log
from vlmscope.core.worker.messages import DescribeRequest, MapRequest, ModelSpec, Phase, Request

QUESTION = "Could you describe the image?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in ``model`` and pictures beside it."""
    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder / "model")
    make_images(folder, 2)
    return folder


@pytest.fixture(scope="module")
def vlm(folder: Path) -> Vlm:
    return load(ModelSpec(str(folder / "model"), device="cpu"))


async def test_the_model_process_answers_as_the_direct_computation_and_outlives_failures(
    folder: Path, vlm: Vlm
) -> None:
    async with watched(str(folder / "model"), command=COMMAND) as model:
        await map_and_describe(model, folder, vlm)
        await failures(model, folder, vlm)


async def map_and_describe(model: Watched, folder: Path, vlm: Vlm) -> None:
    picture = folder / "001.png"
    prompt = vlm.prompt(QUESTION)
    description = "A cake stands on a wooden table."
    encoded, inputs = encoded_sample(vlm, load_image(picture), description, prompt)
    for layer in range(vlm.layers):
        neuron = Neuron(layer, 47 - layer)
        answer = await model.ask(MapRequest(neuron, str(picture), prompt, description, 1))
        visual, text = neuron_maps(vlm, HookPoint.GATE, neuron, encoded, inputs)
        assert np.ptp(visual) > 0
        np.testing.assert_allclose(answer.visual, visual, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(answer.text, text, rtol=1e-5, atol=1e-6)
        assert answer.layout == encoded.layout and answer.fits(encoded.layout, len(encoded.tokens))
        assert len(answer.text) == len(encoded.tokens)

    told = await model.ask(DescribeRequest(str(picture), QUESTION))
    assert told.prompt == prompt
    assert told.description == vlm.describe([load_image(picture)], prompt)[0]
    assert "".join(told.tokens) == told.description
    assert told.crop.startswith(b"\xff\xd8")
    # Its own description can be used for a map.
    again = await model.ask(MapRequest(Neuron(1, 2), str(picture), told.prompt, told.description, None))
    assert len(again.text) == len(told.tokens)

    assert model.phases[:3] == [Phase.STARTING, Phase.LOADING, Phase.LOADING]
    fractions = [status.progress for status in model.seen if status.progress is not None]
    assert fractions == sorted(fractions)
    assert len(fractions) > 1 or not hasattr(logging, "set_tqdm_hook")  # older transformers report nothing
    assert all(0 <= fraction <= 1 for fraction in fractions)


async def failures(model: Watched, folder: Path, vlm: Vlm) -> None:
    prompt = vlm.prompt(QUESTION)
    picture = str(folder / "000.png")
    for request, title, reason in (
        (MapRequest(Neuron(3, 0), picture, prompt, "a cake", 0), "Wrong use", "L3/N0 lies outside the model"),
        (MapRequest(Neuron(0, 0), "gone.png", prompt, "a cake", 0), "The samples cannot be used", "does not exist"),
        (MapRequest(Neuron(0, 0), picture, prompt, " ", 0), "The samples cannot be used", "empty"),
    ):
        with pytest.raises(WorkerError, match=reason) as caught:
            await model.ask(request)
        assert caught.value.title == title
    assert model.status.phase is Phase.READY


async def test_a_model_that_does_not_exist(tmp_path: Path) -> None:
    async with watched(str(tmp_path / "gone"), command=COMMAND) as model:
        with pytest.raises(WorkerError, match="cannot be loaded") as caught:
            await model.ask(DescribeRequest("cat.png", QUESTION))
        assert caught.value.title == "The model cannot be used"
        assert caught.value.hint
        assert model.status.phase is Phase.FAILED
        assert "Traceback" in worker_log().read_text()


def test_every_kind_of_request_has_a_handler_that_gives_its_answer(vlm: Vlm) -> None:
    handlers = VlmEngine(vlm, ModelSpec("tiny")).handlers
    kinds = {kind for kind in Request.__subclasses__() if kind.__module__.startswith("vlmscope.core.worker")}
    assert set(handlers) == kinds
    assert len(handlers) >= 11
    for kind, handler in handlers.items():
        hints = get_type_hints(handler)
        assert (hints["request"], hints["return"]) == (kind, kind.answer_type())


def test_the_hook_point_is_the_specs(folder: Path, vlm: Vlm) -> None:
    prompt = vlm.prompt(QUESTION)
    request = MapRequest(Neuron(1, 5), str(folder / "000.png"), prompt, "a cake", 0)
    gate, gate_up = (
        VlmEngine(vlm, ModelSpec("tiny", hook=hook)).map(request, lambda: False)
        for hook in (HookPoint.GATE, HookPoint.GATE_UP)
    )
    assert not np.allclose(gate.visual, gate_up.visual)


def test_a_model_that_says_nothing_is_no_failure(folder: Path, vlm: Vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(*_: Any) -> list[str]:
        return [""]

    monkeypatch.setattr(vlm, "describe", silence)
    told = VlmEngine(vlm, ModelSpec("tiny")).describe(DescribeRequest(str(folder / "000.png"), QUESTION), lambda: False)
    assert (told.description, told.tokens) == ("", ())


def test_a_full_gpu_is_explained() -> None:
    told = failure(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."))
    assert told.title == "Out of memory"
    assert ":unload" in told.hint
    assert "float16" in told.hint or "dtype" in told.hint


@pytest.mark.slow
async def test_the_demo_model_describes_is_stopped_and_measured() -> None:
    data = read_data("demo", limit=1)
    picture = data.root / data.sources[0].image
    async with watched("demo", command=COMMAND) as model:
        told = await model.ask(DescribeRequest(str(picture), QUESTION))
        assert told.description
        assert "".join(told.tokens) == told.description

        again = asyncio.create_task(model.ask(DescribeRequest(str(picture), QUESTION)))
        await model.reach(Phase.BUSY)
        pid = model.process
        await model.stop()
        with pytest.raises(Cancelled):
            await again
        assert model.status.phase is Phase.READY
        assert model.process == pid

        demo = load(ModelSpec("demo", device="cpu"))
        neuron = Neuron(demo.layers - 1, 217)
        answer = await model.ask(MapRequest(neuron, str(picture), told.prompt, told.description, None))
        encoded, inputs = encoded_sample(demo, load_image(picture), told.description, told.prompt)
        visual, text = neuron_maps(demo, HookPoint.GATE, neuron, encoded, inputs)
        assert encoded.tokens == told.tokens
        np.testing.assert_allclose(answer.visual, visual, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answer.text, text, rtol=1e-4, atol=1e-5)
