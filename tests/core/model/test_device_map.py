"""A model whose layers are in several places. Two GPUs are not at hand: some layers' weights stay on disk instead, and
accelerate brings them for each pass, as it would bring activations from one GPU to the next."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModelForImageTextToText

from tests.support.families import make_pictures
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.model.attribution import attribution
from vlmscope.core.model.checkpoint import try_out
from vlmscope.core.model.clean import Sample, clean_pass
from vlmscope.core.model.encode import Encoded
from vlmscope.core.model.firing import firing
from vlmscope.core.model.intervene import Interventions
from vlmscope.core.model.load import load
from vlmscope.core.model.maps import neuron_maps
from vlmscope.core.model.vlm import Inputs, Vlm
from vlmscope.core.worker.interventions import InterventionAnswer
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.tui.__main__ import main

_x: Any = transformers  # its classes are untyped
PARTS = (
    *("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    *(f"model.language_model.{part}" for part in ("embed_tokens", "norm", "rotary_emb")),
    *(f"model.language_model.layers.{layer}" for layer in range(3)),
)
#: What stays on disk, as parts of the names.
OFFLOADED = {
    "a layer": ("layers.1",),
    "the head and the last layer": ("layers.2", "lm_head"),
    "the vision tower, the embedding and the norm": ("vision_tower", "projector", "embed_tokens", "norm"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def whole(folder: Path) -> Vlm:
    return load(ModelSpec(str(folder), device="cpu"))


@pytest.mark.parametrize("name", OFFLOADED)
def test_a_spread_model_gives_the_same(name: str, folder: Path, whole: Vlm, tmp_path: Path) -> None:
    auto: Any = AutoModelForImageTextToText
    places = {part: "disk" if part.endswith(OFFLOADED[name]) else "cpu" for part in PARTS}
    model = auto.from_pretrained(folder, device_map=places, offload_folder=tmp_path)
    assert any(parameter.is_meta for parameter in model.parameters())
    spread = Vlm(model, _x.AutoProcessor.from_pretrained(folder), str(folder))
    try_out(spread)
    assert (spread.device, spread.info) == (torch.device("cpu"), whole.info)
    picture = make_pictures()[0]
    one, other = (vlm.encode(vlm.prompt("What?"), "A red train.", picture.size) for vlm in (whole, spread))
    assert (one.layout, one.seen) == (other.layout, other.seen)
    inputs = spread.inputs([other], [picture])
    for layer in range(3):
        for expected, found in zip(
            neuron_maps(whole, HookPoint.GATE, Neuron(layer, 5), one, inputs),
            neuron_maps(spread, HookPoint.GATE, Neuron(layer, 5), other, inputs),
            strict=True,
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(spread.logits.effect(layer, 5), whole.logits.effect(layer, 5))
    tokens = torch.tensor([5, 77])
    torch.testing.assert_close(spread.logits.of_tokens(inputs, tokens), whole.logits.of_tokens(inputs, tokens))
    rows = [(Edit(Neuron(layer, 5), -3.0),) for layer in range(3)]
    for at in (Positions.ALL, Positions.ANSWER):
        usual, changed = (intervened(vlm, one, picture, rows, at).changes for vlm in (whole, spread))
        np.testing.assert_allclose(changed, usual, rtol=1e-4, atol=1e-5)
        assert np.abs(usual).max(axis=1).min() > 1e-4
    expected, found = (measured(vlm, one, inputs) for vlm in (whole, spread))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert spread.describe([picture], spread.prompt("What?")) == whole.describe([picture], whole.prompt("What?"))


def intervened(
    vlm: Vlm, encoded: Encoded, picture: Image.Image, rows: Sequence[Sequence[Edit]], at: Positions
) -> InterventionAnswer:
    sample = Sample(picture, encoded, clean_pass(vlm, vlm.inputs([encoded], [picture])))
    return Interventions(vlm).intervene(sample, rows, at)


def measured(vlm: Vlm, encoded: Encoded, inputs: Inputs) -> NDArray[np.float32]:
    """Of all neurons the effects on a token; the most, the least and the written size at two positions: (4, L, F)."""
    clean = clean_pass(vlm, inputs)
    return np.stack([attribution(vlm, encoded, clean, 1), *firing(vlm, HookPoint.GATE, clean, [3, 7])])


def test_activations_are_brought_to_where_the_scan_keeps_its_state(whole: Vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a layer on another device: here from the CPU to "meta", which is a device without numbers."""
    picture = Image.new("RGB", (40, 30))
    inputs = whole.inputs([whole.encode(whole.prompt("What?"), "A train.", picture.size)], [picture])
    taken: list[torch.device] = []
    brought = whole._brought
    monkeypatch.setattr(Vlm, "device", torch.device("meta"))
    hook = brought(lambda activation: taken.append(activation.device))
    monkeypatch.undo()
    whole.forward(inputs, {1: hook}, HookPoint.GATE)
    assert taken == [torch.device("meta")]


def test_auto_on_one_device_is_that_device(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(ModelSpec(str(folder), device_map="auto")).info == load(ModelSpec(str(folder))).info
    images = str(make_images(tmp_path / "images", 3))
    command = ["scan", "--model", str(folder), "--images", images, "--out", str(tmp_path / "scan")]
    for wrong, reason in (
        (["--device-map", "everywhere"], "not a way to spread"),
        (["--device-map", "auto", "--device", "cpu"], "does not go with --device"),
    ):
        assert main([*command, *wrong]) != 0
        assert reason in capsys.readouterr().err
    assert main([*command, "--device-map", "auto"]) == 0
