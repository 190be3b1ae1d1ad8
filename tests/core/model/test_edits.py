"""Edits in a pass: what the layers after it see is what the edited weights make; everything else stays."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.families import NEURONS
from tests.support.loaded_family import TinyFamily, load_family
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.model.edits import Places, edited, lowest
from vlmscope.core.model.ffn import Ffn, FfnKind
from vlmscope.core.model.vlm import Vlm

LAYER, INDEX, OTHER = 1, 7, 11
NEURON = Neuron(LAYER, INDEX)


def outputs(vlm: Vlm, family: TinyFamily, rows: Sequence[Sequence[Edit]], places: Places) -> Tensor:
    """The decoder's output (B, T, H) of the first sample, as many times as there are rows."""
    inputs = vlm.inputs([family.encoded[0]] * len(rows), [family.images[0]] * len(rows))
    with torch.inference_mode(), edited(vlm.ffns, rows, places):
        hidden: Tensor = vlm._decode(inputs).last_hidden_state
    return hidden


def written(vlm: Vlm, family: TinyFamily, rows: Sequence[Sequence[Edit]], places: Places) -> Tensor:
    """What the down projection of ``LAYER`` is given: (B, T, F). The hook is called after that of the edits."""
    inputs = vlm.inputs([family.encoded[0]] * len(rows), [family.images[0]] * len(rows))
    kept: list[Tensor] = []
    with edited(vlm.ffns, rows, places):
        vlm.forward(inputs, {LAYER: lambda z: kept.append(z.clone())}, HookPoint.GATE_UP)
    return kept[0]


def changed_column(vlm: Vlm, factor: float) -> Callable[[], None]:
    """Multiply the neuron's column of the weights; the result restores it."""
    down = vlm.ffns[LAYER].down
    assert isinstance(down, nn.Linear)
    before = down.weight[:, INDEX].clone()
    with torch.no_grad():
        down.weight[:, INDEX] *= factor

    def restore() -> None:
        with torch.no_grad():
            down.weight[:, INDEX] = before

    return restore


@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_scaling_a_neuron_is_scaling_its_column(family: TinyFamily, factor: float) -> None:
    vlm, places = family.vlm, Places.of_sample(Positions.ALL, family.encoded[0])
    clean, found = outputs(vlm, family, [[], [Edit(NEURON, factor)]], places)
    restore = changed_column(vlm, factor)
    try:
        by_weights = outputs(vlm, family, [[], []], places)[1]
    finally:
        restore()
    scale = clean.abs().max()
    assert (found - by_weights).abs().max() < 1e-5 * scale
    assert (found - clean).abs().max() > 1e-4 * scale


def test_constants_times_the_up_branch_and_another_neuron(family: TinyFamily) -> None:
    vlm, encoded = family.vlm, family.encoded[0]
    ffn = vlm.ffns[LAYER]
    taken: list[Tensor] = []
    handle = None if ffn.up_source is None else ffn.up_source.register_forward_hook(lambda *_: taken.append(_[2]))
    z = written(vlm, family, [[]], Places.of_sample(Positions.ALL, encoded))[0]
    if handle is not None:
        handle.remove()
    up = torch.ones_like(z) if ffn.up_source is None else by_hand_up(ffn, taken[0][0])
    edit = Edit(NEURON, 0.5, 2.0, -3.0, times_up=True, source=OTHER, source_factor=4.0)
    plain = Edit(NEURON, 0.5, 2.0, -3.0)
    for at in Positions:
        places = Places.of_sample(at, encoded)
        found = written(vlm, family, [[edit], [plain], [], [edit, Edit(Neuron(LAYER, OTHER))]], places)
        constant = torch.where(places.visual, 2.0, -3.0)
        new = 0.5 * z[:, INDEX] + constant * up[:, INDEX] + 4 * z[:, OTHER]
        assert torch.allclose(found[0, :, INDEX], torch.where(places.edited, new, z[:, INDEX]), rtol=1e-4, atol=1e-5)
        new = 0.5 * z[:, INDEX] + constant
        assert torch.allclose(found[1, :, INDEX], torch.where(places.edited, new, z[:, INDEX]), rtol=1e-4, atol=1e-5)
        other = (found[3, :, INDEX] - found[0, :, INDEX]).abs()  # the other's own z, not the edited one
        assert other.max() < 1e-4
        rest = [index for index in range(NEURONS) if index != INDEX]
        assert torch.equal(found[0][:, rest], found[2][:, rest])
        assert not found[3][places.edited][:, OTHER].any()


def by_hand_up(ffn: Ffn, out: Tensor) -> Tensor:
    return out[:, NEURONS:] if ffn.kind is FfnKind.FUSED else out


def test_positions_of_a_sample(family: TinyFamily) -> None:
    encoded = family.encoded[0]
    length = len(encoded.input_ids)
    found = {at: Places.of_sample(at, encoded) for at in Positions}
    assert found[Positions.ALL].edited.all() and len(found[Positions.ALL].edited) == length
    answer = torch.nonzero(found[Positions.ANSWER].edited).flatten().tolist()
    assert answer == list(range(encoded.text.start - 1, length))
    assert torch.nonzero(found[Positions.PICTURE].edited).flatten().tolist() == encoded.visual.tolist()
    assert [found[at].steps for at in Positions] == [True, True, False]
    assert found[Positions.ANSWER].at([0, length - 1]).edited.tolist() == [False, True]


@pytest.mark.parametrize("name", ["llava", "gemma3", "qwen3_vl"])
def test_generation_with_edits_writes_what_the_edited_weights_write(
    name: str, family_folder: Callable[[str], Path]
) -> None:
    family = load_family(name, family_folder(name))
    vlm, image = family.vlm, family.images[0]
    prompted = vlm.encoder.prompted(family.prompt, image.size)
    length = vlm.encoder.to_continue([family.prompt], [image])["input_ids"].shape[1]
    places = Places.of(Positions.ALL, length, prompted.visual, length - 1)
    with edited(vlm.ffns, [[Edit(NEURON, -40.0)]], places):
        found = vlm.describe([image], family.prompt)
    restore = changed_column(vlm, -40.0)
    try:
        assert vlm.describe([image], family.prompt) == found
    finally:
        restore()


def test_what_does_not_fit_is_refused(family_folder: Callable[[str], Path]) -> None:
    family = load_family("llava", family_folder("llava"))
    vlm, places = family.vlm, Places.of_sample(Positions.ALL, family.encoded[0])
    with pytest.raises(ValueError, match="twice"), edited(vlm.ffns, [[Edit(NEURON), Edit(NEURON, 2.0)]], places):
        pass
    with edited(vlm.ffns, [[Edit(NEURON)], []], places), pytest.raises(ValueError, match="rows"):
        vlm.forward(family.inputs[0], {}, HookPoint.GATE)
    with edited(vlm.ffns, [[Edit(NEURON)]], places), pytest.raises(ValueError, match="positions"):
        vlm.forward(family.inputs[1], {}, HookPoint.GATE)
    assert lowest([[], [Edit(Neuron(2, 0)), Edit(NEURON)]]) == LAYER
    assert lowest([[]]) is None
