"""Effects of all neurons on a token, all neurons at one place, and captions, on a tiny model of each family."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.ablating import log_odds, scaled
from tests.support.families import NEURONS
from tests.support.loaded_family import TinyFamily
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.model.attribution import attribution
from vlmscope.core.model.captions import captions
from vlmscope.core.model.clean import clean_pass
from vlmscope.core.model.firing import firing, place_positions

TOKEN = 4
#: Half of all neurons write much more, in the other direction.
ROW = tuple(Edit(Neuron(layer, index), -400.0) for layer in range(3) for index in range(0, NEURONS, 2))


def test_effects_are_the_slopes_of_the_log_odds(family: TinyFamily) -> None:
    """Against finite differences: the neurons' columns 5 % longer and 5 % shorter."""
    vlm, encoded, inputs = family.vlm, family.encoded[1], family.inputs[1]
    effects = attribution(vlm, encoded, clean_pass(vlm, inputs), TOKEN)
    for layer in range(vlm.layers):
        neuron = Neuron(layer, int(np.abs(effects[layer]).argmax()))
        ends = []
        for factor in (1.05, 0.95):
            with scaled(vlm, neuron, factor):
                ends.append(log_odds(vlm, encoded, inputs, TOKEN))
        slope = (ends[0] - ends[1]) / 0.1
        assert effects[layer, neuron.index] == pytest.approx(-slope, abs=0.03 * float(np.abs(effects).max()))
    assert np.abs(effects).max() > 2e-4  # well above what float32 loses


@pytest.mark.parametrize("hook", HookPoint)
def test_all_neurons_at_a_place_are_the_activations_there(family: TinyFamily, hook: HookPoint) -> None:
    vlm, encoded, inputs = family.vlm, family.encoded[0], family.inputs[0]
    positions = place_positions(encoded, (0, 2), (1,), before=False)
    assert positions == [*encoded.visual[[0, 2]].tolist(), encoded.text.start + 1]
    activation, _, written = firing(vlm, hook, clean_pass(vlm, inputs), positions)
    for layer, ffn in enumerate(vlm.ffns):
        there, z = (taken(family, layer, point)[positions] for point in (hook, HookPoint.GATE_UP))
        lengths = torch.stack([ffn.down_column(index).norm() for index in range(NEURONS)])
        assert_close(activation[layer], there.amax(dim=0))
        assert_close(written[layer], z.abs().amax(dim=0) * lengths)


def taken(family: TinyFamily, layer: int, hook: HookPoint) -> torch.Tensor:
    """The activations of one layer in a pass over the first sample: (T, F)."""
    kept: list[torch.Tensor] = []
    family.vlm.forward(family.inputs[0], {layer: lambda each: kept.append(each[0].clone())}, hook)
    return kept[0]


def assert_close(found: NDArray[np.float32], expected: torch.Tensor) -> None:
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_captions_take_edits_while_the_prompt_is_read_and_after(
    family: TinyFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmscope.core.model.vlm.DESCRIPTION_TOKENS", 6)
    vlm, image = family.vlm, family.images[0]
    own, changed = captions(vlm, image, family.prompt, [(), ROW], Positions.ALL)
    assert own == vlm.describe([image], family.prompt)[0]
    with ExitStack() as stack:
        for edit in ROW:
            stack.enter_context(scaled(vlm, edit.neuron, edit.factor))
        assert changed == vlm.describe([image], family.prompt)[0]
