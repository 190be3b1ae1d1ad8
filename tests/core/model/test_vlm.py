"""Loading, encoding and refusing models, on tiny ones with random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.encoding import encoded_sample
from tests.support.tiny import MODELS, make_model
from vlmscope.core.base.errors import Cancelled, ModelError, SamplesError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.model.devices import free_memory
from vlmscope.core.model.load import load
from vlmscope.core.model.maps import neuron_maps
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.worker.messages import ModelSpec

QUESTION = "Could you describe the image?"
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture(scope="module")
def vlm(folder: Path) -> Vlm:
    return load(ModelSpec(str(folder)))


def test_encoding_is_the_processors_own(vlm: Vlm) -> None:
    prompt = vlm.prompt(QUESTION)
    assert prompt == "USER: <image>\nCould you describe the image? ASSISTANT:"
    text = "The image shows a red train, on the left."
    encoded = vlm.encode(prompt, f"  {text}\n", PICTURE.size)
    whole = vlm.processor(text=f"{prompt} {text}", images=PICTURE, return_tensors="pt")
    assert encoded.input_ids.tolist() == whole["input_ids"][0].tolist()
    inputs = vlm.inputs([encoded], [PICTURE])
    assert torch.equal(inputs["input_ids"], whole["input_ids"])
    assert torch.equal(inputs["pixel_values"], whole["pixel_values"])
    assert encoded.input_ids[encoded.visual].tolist() == [4] * 9
    assert (encoded.layout, encoded.seen) == (VisualLayout.plain(3, 3), (0.125, 0.0, 0.875, 1.0))
    assert "".join(encoded.tokens) == text
    assert len(encoded.tokens) == encoded.text.stop - encoded.text.start
    spoken = vlm.processor.tokenizer.decode(encoded.input_ids[encoded.text]).strip()
    assert spoken.replace(" ", "") == text.replace(" ", "")


def test_a_batch_is_padded_on_the_right_without_a_mask(vlm: Vlm) -> None:
    other = PICTURE.resize((20, 50))
    long, alone = encoded_sample(vlm, PICTURE, "The image shows a red train, on the left.")
    short, lone = encoded_sample(vlm, other, "a cake")
    both = vlm.inputs([short, long], [other, PICTURE])
    assert set(both) == {"input_ids", "pixel_values"}
    assert torch.equal(both["pixel_values"], torch.cat([lone["pixel_values"], alone["pixel_values"]]))
    assert both["input_ids"][1].tolist() == long.input_ids.tolist()
    assert both["input_ids"][0, : len(short.input_ids)].tolist() == short.input_ids.tolist()
    assert 4 not in both["input_ids"][0, len(short.input_ids) :]


@pytest.mark.parametrize("text", ["é", "🚂 train", "[/bold] \x1b[31m", "日本語のテキスト"])
def test_tokens_of_any_text_join_to_it(vlm: Vlm, text: str) -> None:
    assert "".join(vlm.encode(vlm.prompt(QUESTION), text, PICTURE.size).tokens) == text


def test_descriptions_that_cannot_be_measured_are_refused(vlm: Vlm) -> None:
    prompt = vlm.prompt(QUESTION)
    for text, reason in ((" \n", "empty"), ("word " * 200, "too long"), ("an <image> here", "image token")):
        with pytest.raises(SamplesError, match=reason):
            vlm.encode(prompt, text, PICTURE.size)


def test_the_crop_is_what_the_model_sees(vlm: Vlm) -> None:
    """40 x 30 is resized to 32 x 24 and cropped to the middle 24 x 24, which shows the middle 30 x 30."""
    crop = vlm.crop(PICTURE)
    assert crop.size == (30, 30)
    assert crop.tobytes() == PICTURE.crop((5, 0, 35, 30)).tobytes()
    whole, part = (
        vlm.processor.image_processor(images=image, return_tensors="pt")["pixel_values"][0] for image in (PICTURE, crop)
    )
    assert (whole - part)[:, 2:-2, 2:-2].abs().max() < 0.05  # but for the rim, where resizing sees the rest


def test_a_literal_prompt_template(vlm: Vlm) -> None:
    assert vlm.prompt("What?", "Look: <image> {question} Say:") == "Look: <image> What? Say:"
    with pytest.raises(ModelError, match="0 times"):
        vlm.prompt("What?", "no image here")
    with pytest.raises(ModelError, match="2 times"):
        vlm.prompt("<image>?", "<image> {question}")


def test_info_names_a_folder_absolutely(vlm: Vlm, folder: Path) -> None:
    assert vlm.info.name == str(folder.resolve())
    assert (vlm.info.layers, vlm.info.neurons) == (3, 48)
    config = json.loads((folder / "config.json").read_text())
    assert vlm.info.architecture == f"{config['model_type']} + {config['text_config']['model_type']}"


def test_half_precision_is_kept_when_asked_for(folder: Path) -> None:
    loaded = load(ModelSpec(str(folder), dtype="bfloat16"))
    assert loaded.info.dtype == "bfloat16"
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}
    encoded, inputs = encoded_sample(loaded, PICTURE, "a red train")
    assert inputs["pixel_values"].dtype == torch.bfloat16
    visual, _ = neuron_maps(loaded, HookPoint.GATE, Neuron(1, 5), encoded, inputs)
    assert np.array_equal(visual, torch.from_numpy(visual).bfloat16().float().numpy())  # no digits made up


def test_a_pass_can_be_stopped(vlm: Vlm) -> None:
    encoded, inputs = encoded_sample(vlm, PICTURE, "a red train")
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        neuron_maps(vlm, HookPoint.GATE, Neuron(2, 0), encoded, inputs, after_two)
    assert len(asked) == 3
    visual, _ = neuron_maps(vlm, HookPoint.GATE, Neuron(2, 0), encoded, inputs)  # no hook is left behind
    assert visual.shape == (9,)


def test_describing_can_be_stopped(vlm: Vlm) -> None:
    with pytest.raises(Cancelled):
        vlm.describe([PICTURE], vlm.prompt(QUESTION), lambda: True)


def test_a_description_that_fills_the_context_can_be_encoded(vlm: Vlm) -> None:
    """Tokenised again it may be longer: it loses its last tokens."""
    context = vlm.encoder.context
    lengths = []
    for more in (0, 10, 20, 40, 60):
        prompt = vlm.prompt(QUESTION + " a" * more)
        description = vlm.describe([PICTURE], prompt)[0]
        lengths.append(len(vlm.encode(prompt, description, PICTURE.size).input_ids))
    assert max(lengths) == context == 128
    with pytest.raises(SamplesError, match="too long"):  # the prompt alone
        prompt = vlm.prompt(QUESTION + " a" * context)
        vlm.encode(prompt, vlm.describe([PICTURE], prompt)[0], PICTURE.size)


def test_a_model_that_does_not_fit_into_memory_is_refused_before_it_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load(ModelSpec(str(folder))).model.parameters()
    needed = sum(weight.numel() * 4 for weight in weights)
    monkeypatch.setattr("vlmscope.core.model.load.free_memory", lambda: needed - 1)
    with pytest.raises(ModelError, match=r"needs .* GB of memory as float32") as caught:
        load(ModelSpec(str(folder)))
    assert "--dtype bfloat16" in caught.value.hint
    assert load(ModelSpec(str(folder), dtype="bfloat16")).model.dtype == torch.bfloat16  # half of it
    with pytest.raises(ModelError, match=r"needs .* GB"):
        load(ModelSpec(str(folder)), seed=0)
    for enough in (needed, None):
        monkeypatch.setattr("vlmscope.core.model.load.free_memory", lambda enough=enough: enough)
        load(ModelSpec(str(folder)))


def test_free_memory_is_what_the_system_says() -> None:
    free = free_memory()
    assert free is None or 1e6 < free < 1e14


def test_what_is_no_model_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelSpec(str(tmp_path / "nothing")))
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (bare / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match=r"bare.*cannot be loaded"):
        load(ModelSpec(str(bare)))
    (bare / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match=r"bare.*cannot be loaded"):
        load(ModelSpec(str(bare)))
    (bare / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelSpec(str(bare)))


def test_a_class_token_has_no_place(tmp_path: Path) -> None:
    vlm = load(ModelSpec(str(make_model(tmp_path / "full", strategy="full"))))
    encoded = vlm.encode(vlm.prompt(QUESTION), "a red train", PICTURE.size)
    places = torch.nonzero(encoded.input_ids == 4).flatten()
    assert (len(places), encoded.visual.tolist()) == (10, places[1:].tolist())
    assert encoded.layout == VisualLayout.plain(3, 3)


@pytest.mark.parametrize(("device", "dtype"), [("cuda:7", "auto"), ("abacus", "auto"), ("cpu", "float12")])
def test_unknown_devices_and_dtypes_are_refused(folder: Path, device: str, dtype: str) -> None:
    with pytest.raises(ModelError, match=device if device != "cpu" else dtype):
        load(ModelSpec(str(folder), device=device, dtype=dtype))
