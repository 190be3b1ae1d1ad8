"""Tiny random models of many families: taps, tokens, batches, and a scan that is opened and shown. No weights of a
published model are loaded. Where the visual tokens look is checked by test_layouts.py."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.activations import ACT2FN

from tests.support.families import FAMILIES, LAYERS, NEURONS, REFUSED, SCANNED, SHAPES, make_pictures
from vlmscope.core.base.errors import ModelError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.base.options import written_options
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.ffn import FfnKind
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Encoded, Hook, Vlm
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.tui.__main__ import main

WORDS = ("A cake stands on a wooden table.", "Three blue cars and a house at night, under the stars.", "A dog.")
PICTURES = (*SHAPES, (100, 100))
CLOSE = 1e-6  #: of the largest activation: float32 rounding of passes of other lengths
#: Image tokens of the two pictures that are no places: the embeddings after each row of tiles.
PLACELESS = {"llava_next": (6, 8), "llava_onevision": (6, 8)}
Values = NDArray[np.float32]


Key = TypeVar("Key")


def keeping(kept: dict[Key, Tensor], key: Key) -> Hook:
    """A hook that keeps what it takes."""

    def take(taken: Tensor) -> None:
        kept[key] = taken.clone()

    return take


@dataclass(frozen=True)
class Loaded:
    """A family's model, with three samples of pictures of different shapes."""

    name: str
    vlm: Vlm
    encoded: tuple[Encoded, ...]

    def activations(self, chosen: list[int], hook: HookPoint = HookPoint.GATE) -> list[Values]:
        """Of each chosen sample, in one batch: float32 (L, T, F), without its padding."""
        images = make_pictures(PICTURES)
        encoded = [self.encoded[index] for index in chosen]
        kept: dict[int, Tensor] = {}
        hooks = {layer: keeping(kept, layer) for layer in range(self.vlm.layers)}
        self.vlm.forward(self.vlm.inputs(encoded, [images[index] for index in chosen]), hooks, hook)
        stacked = np.stack([kept[layer].numpy() for layer in range(self.vlm.layers)])
        return [stacked[:, row, : len(one.input_ids)] for row, one in enumerate(encoded)]


@pytest.fixture(scope="module", params=SCANNED)
def loaded(request: pytest.FixtureRequest, family_folder: Callable[[str], Path]) -> Loaded:
    name: str = request.param
    options = written_options(FAMILIES[name].options)
    vlm = load(ModelSpec(str(family_folder(name)), device="cpu", image_options=options))
    prompt = vlm.prompt("Could you describe the image?")
    return Loaded(
        name, vlm, tuple(vlm.encode(prompt, words, size) for words, size in zip(WORDS, PICTURES, strict=True))
    )


def activation_of(vlm: Vlm) -> Callable[[Tensor], Tensor]:
    """The activation function that the configuration names."""
    text: Any = vlm.model.config.get_text_config()
    name = getattr(text, "hidden_activation", None) or text.hidden_act
    function: Callable[[Tensor], Tensor] = ACT2FN[name]
    return function


def test_taps_are_what_the_weights_make_of_the_blocks_input(loaded: Loaded) -> None:
    vlm = loaded.vlm
    taken: dict[tuple[int, str], Tensor] = {}
    takes = [keeping(taken, (layer, "in")) for layer in range(vlm.layers)]
    handles = [
        ffn.block.register_forward_pre_hook(lambda _, args, take=take: take(args[0]))
        for ffn, take in zip(vlm.ffns, takes, strict=True)
    ]
    inputs = vlm.inputs(loaded.encoded[:1], make_pictures(PICTURES[:1]))
    for hook in HookPoint:
        vlm.forward(inputs, {layer: keeping(taken, (layer, hook)) for layer in range(vlm.layers)}, hook)
    for handle in handles:
        handle.remove()
    activation = activation_of(vlm)
    for layer, ffn in enumerate(vlm.ffns):
        x = taken[layer, "in"]
        weights: Any = [part and part.weight for part in (ffn.gate, ffn.up)]
        gate, up = (weights[0][:NEURONS], weights[0][NEURONS:]) if ffn.kind is FfnKind.FUSED else weights
        with torch.inference_mode():
            expected = activation(torch.nn.functional.linear(x, gate))
            assert torch.equal(taken[layer, HookPoint.GATE], expected) or ffn.kind is FfnKind.FUSED
            # A product with the half of a matrix may round otherwise than that with the whole.
            assert torch.allclose(taken[layer, HookPoint.GATE], expected, rtol=1e-5, atol=1e-6)
            expected = expected * torch.nn.functional.linear(x, up)
            assert torch.allclose(taken[layer, HookPoint.GATE_UP], expected, rtol=1e-5, atol=1e-6)
            assert torch.equal(taken[layer, HookPoint.GATE_UP], expected) or ffn.kind is FfnKind.FUSED
        assert float(taken[layer, HookPoint.GATE].std()) > 1e-4  # activations differ


def test_the_model_is_as_large_as_its_configuration(loaded: Loaded) -> None:
    layers = 6 if loaded.name.startswith("gemma3") else LAYERS
    assert (loaded.vlm.layers, loaded.vlm.neurons) == (layers, NEURONS)


def test_image_tokens_are_visual_tokens_or_no_places(loaded: Loaded) -> None:
    token = loaded.vlm.model.config.image_token_id
    for index, (one, words) in enumerate(zip(loaded.encoded, WORDS, strict=True)):
        found = torch.nonzero(one.input_ids == token).flatten().numpy()
        assert set(one.visual) <= set(found)
        assert len(one.visual) == len(one.layout)
        if index < 2:
            assert len(found) - len(one.visual) == PLACELESS.get(loaded.name, (0, 0))[index]
        assert "".join(one.tokens) == words
        ids = one.input_ids[one.text]
        assert loaded.vlm.processor.tokenizer.decode(ids).strip() == words
    assert loaded.encoded[0].layout.covers == FAMILIES[loaded.name].covers


@pytest.mark.parametrize("hook", HookPoint)
def test_a_padded_batch_equals_its_samples_alone(loaded: Loaded, hook: HookPoint) -> None:
    together = loaded.activations([0, 1, 2], hook)
    assert len({values.shape[1] for values in together}) > 1  # some are padded
    for index, values in enumerate(together):
        alone = loaded.activations([index], hook)[0]
        assert np.abs(values - alone).max() < CLOSE * np.abs(alone).max()


def test_a_scan_keeps_the_largest_activations_of_each_sample(
    loaded: Loaded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for index, (image, words) in enumerate(zip(make_pictures(PICTURES), WORDS, strict=True)):
        image.save(tmp_path / f"{index}.png")
        lines.append(json.dumps({"image": f"{index}.png", "description": words}))
    (tmp_path / "samples.jsonl").write_text("\n".join(lines))
    out = tmp_path / "scan"
    options = ScanOptions(top_n=3, maps=3, batch=3)
    scan(loaded.vlm, read_data(str(tmp_path / "samples.jsonl")), out, options, lambda *_: None)
    store = ScanStore(out)
    alone = [loaded.activations([index])[0] for index in range(3)]
    scale = float(max(np.abs(values).max() for values in alone))
    largest = np.max([values.max(axis=1) for values in alone], axis=0)
    assert np.abs(store.maximum - largest).max() < CLOSE * scale
    for index, (one, values) in enumerate(zip(loaded.encoded, alone, strict=True)):
        assert store.layout(index) == one.layout
        assert store.sample(index).tokens == one.tokens
        for tokens, name in ((one.visual, "visual"), (np.arange(one.text.start, one.text.stop), "text")):
            _compare(store, index, values[:, tokens].astype(np.float64), name, CLOSE * scale)
    _shown(out, store, capsys)


def _compare(store: ScanStore, index: int, values: NDArray[np.float64], name: str, close: float) -> None:
    """Order statistics, peak and map of one sample, for every neuron. ``values`` (L, T, F)."""
    rank = np.argmax(store.arrays["top_sample"] == index, axis=-1)  # every sample is among the top 3
    kept = len(store.arrays[f"top_{name}"])
    ordered = -np.sort(-values, axis=1)[:, :kept].transpose(1, 0, 2)
    stored = np.take_along_axis(store.arrays[f"top_{name}"], rank[None, ..., None], axis=-1)[..., 0]
    assert np.abs(stored[: len(ordered)] - ordered).max() < close
    assert np.isneginf(stored[len(ordered) :]).all()
    peak = np.take_along_axis(store.arrays[f"peak_{name}"], rank[..., None], axis=-1)[..., 0].astype(int)
    at_peak = np.take_along_axis(values, peak[:, None], axis=1)[:, 0]
    assert np.abs(at_peak - ordered[0]).max() < close
    maps = np.take_along_axis(store.arrays[f"maps_{name}"], rank[..., None, None], axis=2)[:, :, 0]
    norms = maps[..., : values.shape[1]].transpose(0, 2, 1) / 255
    assert not maps[..., values.shape[1] :].any()
    positive = np.maximum(values, 0)
    # The sample's largest activation over visual and text tokens is 255: at least one of the two maps has it.
    share = positive / np.maximum(positive.max(axis=1, keepdims=True), 1e-30)
    largest = norms.max(axis=1, keepdims=True)
    assert np.abs(norms - share * largest).max() < 1.5 / 255


def _shown(out: Path, store: ScanStore, capsys: pytest.CaptureFixture[str]) -> None:
    """``show`` draws the map of a top sample, as text and as JSON."""
    neuron = Neuron(1, 5)
    example = store.example(neuron, 0)
    assert main(["show", str(out), "L1/N5", "--sample", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sample"]
    assert example.visual_map is not None
    assert np.allclose(found["visual_map"], example.visual_map)
    assert np.shape(found["visual_map"]) == store.layout(example.sample.index).grid
    assert main(["show", str(out), "L1/N5", "--sample", "1"]) == 0
    assert "L1/N5" in capsys.readouterr().out


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scanned_is_refused_with_the_reason(name: str, family_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=str(FAMILIES[name].refused)) as refused:
        load(ModelSpec(str(family_folder(name)), device="cpu"))
    assert refused.value.hint
