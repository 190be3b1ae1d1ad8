"""Effects of all neurons on a word, and all neurons at one place, on the demo."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.ablating import log_odds, without
from tests.support.encoding import encoded_sample
from vlmscope.core.base.callbacks import not_cancelled
from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import Cancelled, UsageError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.attribution import attribution
from vlmscope.core.model.clean import CleanPass, clean_pass
from vlmscope.core.model.engine import VlmEngine
from vlmscope.core.model.firing import firing, place_positions
from vlmscope.core.model.load import load
from vlmscope.core.model.maps import neuron_maps
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm
from vlmscope.core.worker.interventions import AttributionRequest, FiringRequest, SampleRef
from vlmscope.core.worker.messages import ModelSpec

TOKEN = 6  # " tulip" of the demo's first description


@dataclass(frozen=True)
class Demo:
    vlm: Vlm
    sample: SampleRef
    encoded: Encoded
    inputs: Inputs
    clean: CleanPass


@pytest.fixture(scope="module")
def demo() -> Demo:
    vlm = load(ModelSpec(DEMO, device="cpu"))
    data = read_data(DEMO, limit=1)
    picture, words = data.root / data.sources[0].image, data.sources[0].description or ""
    encoded, inputs = encoded_sample(vlm, load_image(picture), words)
    assert encoded.tokens[TOKEN] == " tulip"
    return Demo(vlm, SampleRef(str(picture), encoded.prompt, words, 0), encoded, inputs, clean_pass(vlm, inputs))


def test_the_effects_agree_with_exact_ablations(demo: Demo) -> None:
    effects = attribution(demo.vlm, demo.encoded, demo.clean, TOKEN)
    clean = log_odds(demo.vlm, demo.encoded, demo.inputs, TOKEN)
    found, exact = [], []
    for layer in range(demo.vlm.layers):
        order = np.argsort(-np.abs(effects[layer]))
        for index in order[[0, 1, 2, 5, 50, 400]]:
            with without(demo.vlm, Neuron(layer, int(index))):
                exact.append(log_odds(demo.vlm, demo.encoded, demo.inputs, TOKEN) - clean)
            found.append(effects[layer, index])
    assert np.corrcoef(ranks(found), ranks(exact))[0, 1] > 0.9  # Spearman's
    assert len(set(exact)) == len(exact)
    large = np.abs(exact) > 0.02
    assert large.sum() > 10
    assert (np.sign(found) == np.sign(exact))[large].all()


def ranks(values: list[float]) -> NDArray[np.int64]:
    return np.argsort(np.argsort(values))


def test_half_precision_gives_nearly_the_same_effects(demo: Demo) -> None:
    effects = attribution(demo.vlm, demo.encoded, demo.clean, TOKEN)
    for name in ("bfloat16", "float16"):
        vlm = load(ModelSpec(DEMO, device="cpu", dtype=name))
        encoded, inputs = encoded_sample(vlm, load_image(Path(demo.sample.image)), demo.sample.description)
        half = attribution(vlm, encoded, clean_pass(vlm, inputs), TOKEN)
        assert np.corrcoef(half.ravel(), effects.ravel())[0, 1] > 0.98


def test_the_model_is_left_as_it_was(demo: Demo) -> None:
    effects = attribution(demo.vlm, demo.encoded, demo.clean, TOKEN)
    before = state(demo.vlm)
    left = iter((False, False, True))
    with pytest.raises(Cancelled):
        attribution(demo.vlm, demo.encoded, demo.clean, TOKEN, lambda: next(left))
    stops_on_the_way_back = iter([False] * demo.vlm.layers + [True])
    with pytest.raises(Cancelled):
        attribution(demo.vlm, demo.encoded, demo.clean, TOKEN, lambda: next(stops_on_the_way_back))
    assert state(demo.vlm) == before
    assert np.array_equal(attribution(demo.vlm, demo.encoded, demo.clean, TOKEN), effects)


def state(vlm: Vlm) -> list[tuple[int, int, bool]]:
    """Of every module, how many hooks it has and whether its forward is replaced; transformers leaves its own."""
    return [
        (len(module._forward_pre_hooks), len(module._forward_hooks), "forward" in vars(module))
        for module in vlm.model.modules()
    ]


@pytest.mark.parametrize("hook", HookPoint)
def test_all_neurons_at_a_place_are_what_their_maps_show(demo: Demo, hook: HookPoint) -> None:
    patches, words = (3, 40, 41), (TOKEN,)
    visual, lowest, visual_written = firing(demo.vlm, hook, *one_place(demo, patches, ()))
    text, _, _ = firing(demo.vlm, hook, *one_place(demo, (), words))
    before, _, _ = firing(demo.vlm, hook, *one_place(demo, (), words, before=True))
    for neuron in (Neuron(0, 3), Neuron(3, 96), Neuron(5, 757)):
        on_patches, on_words = neuron_maps(demo.vlm, hook, neuron, demo.encoded, demo.inputs)
        z, _ = neuron_maps(demo.vlm, HookPoint.GATE_UP, neuron, demo.encoded, demo.inputs)
        at = (neuron.layer, neuron.index)
        assert visual[at] == pytest.approx(on_patches[list(patches)].max(), rel=1e-4, abs=1e-5)
        assert lowest[at] == pytest.approx(on_patches[list(patches)].min(), rel=1e-4, abs=1e-5)
        assert text[at] == pytest.approx(on_words[TOKEN], rel=1e-4, abs=1e-5)
        assert before[at] == pytest.approx(on_words[TOKEN - 1], rel=1e-4, abs=1e-5)
        length = np.linalg.norm(demo.vlm.ffns[neuron.layer].down_column(neuron.index).numpy())
        assert visual_written[at] == pytest.approx(np.abs(z[list(patches)]).max() * length, rel=1e-4)


def one_place(
    demo: Demo, visual: tuple[int, ...], text: tuple[int, ...], before: bool = False
) -> tuple[CleanPass, list[int]]:
    return demo.clean, place_positions(demo.encoded, visual, text, before)


def test_lengths_of_columns_that_cannot_be_read_are_computed(demo: Demo) -> None:
    ffn = demo.vlm.ffns[2]
    known = ffn.column_norms()
    assert float(known[7]) == pytest.approx(float(ffn.down_column(7).norm()))
    kind = type(ffn.down)
    try:
        ffn.down.__class__ = type("Quantised", (kind,), {})
        assert torch.allclose(ffn.column_norms(), known, rtol=1e-5)
    finally:
        ffn.down.__class__ = kind


def test_the_engine_answers_both_requests(demo: Demo) -> None:
    engine = VlmEngine(demo.vlm, ModelSpec(DEMO))
    told = engine.attribution(AttributionRequest(demo.sample, TOKEN), not_cancelled)
    assert np.array_equal(told.effects, attribution(demo.vlm, demo.encoded, demo.clean, TOKEN))
    at = engine.firing(FiringRequest(demo.sample, (), (TOKEN,), before=True), not_cancelled)
    activation, lowest, written = firing(demo.vlm, HookPoint.GATE, *one_place(demo, (), (TOKEN,), before=True))
    assert np.array_equal(at.activation, activation) and np.array_equal(at.written, written)
    assert np.array_equal(at.lowest, lowest)


def test_tokens_that_there_are_not(demo: Demo) -> None:
    tokens = len(demo.encoded.tokens)
    for token in (-1, tokens):
        with pytest.raises(UsageError, match=f"The description has {tokens} tokens"):
            attribution(demo.vlm, demo.encoded, demo.clean, token)
    with pytest.raises(UsageError, match="No place"):
        place_positions(demo.encoded, (), (), False)
    for visual, text in (((len(demo.encoded.visual),), ()), ((-1,), ()), ((), (tokens,))):
        with pytest.raises(UsageError, match="is not the number of one"):
            place_positions(demo.encoded, visual, text, False)
