"""Requests of interventions through the engine, and the clean passes that it keeps."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.tiny import make_images, make_model
from vlmscope.core.base.callbacks import not_cancelled
from vlmscope.core.base.errors import SamplesError, UsageError
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.model.arguments import Unlike, batch_axes, repeated, shape_of, tensors
from vlmscope.core.model.clean import Samples
from vlmscope.core.model.engine import VlmEngine
from vlmscope.core.model.load import load
from vlmscope.core.worker.interventions import InterventionRequest, PeakRequest, SampleRef, WrittenRequest
from vlmscope.core.worker.messages import ModelSpec

WORDS = "A cake stands on a wooden table."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    make_model(folder / "model")
    make_images(folder, 3)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> VlmEngine:
    spec = ModelSpec(str(folder / "model"), device="cpu")
    return VlmEngine(load(spec), spec)


@pytest.fixture
def sample(folder: Path, engine: VlmEngine) -> SampleRef:
    return SampleRef(str(folder / "001.png"), engine.vlm.prompt("What?"), WORDS, 1)


def z_of(engine: VlmEngine, sample: SampleRef) -> tuple[Tensor, list[int], slice]:
    """Every neuron's z, (L, T, F), by hooks in a pass of its own; the visual positions; the description's."""
    vlm, image = engine.vlm, load_image(Path(sample.image))
    encoded = vlm.encode(sample.prompt, sample.description, image.size)
    kept: dict[int, Tensor] = {}
    hooks = {layer: (lambda z, layer=layer: kept.__setitem__(layer, z[0].clone())) for layer in range(vlm.layers)}
    vlm.forward(vlm.inputs([encoded], [image]), hooks, HookPoint.GATE_UP)  # type: ignore[arg-type]
    return torch.stack([kept[layer] for layer in range(vlm.layers)]), encoded.visual.tolist(), encoded.text


def test_written_sizes_and_peaks_are_those_of_a_pass_with_hooks(engine: VlmEngine, sample: SampleRef) -> None:
    z, visual, text = z_of(engine, sample)
    columns = torch.stack([ffn.down.weight.norm(dim=0) for ffn in engine.vlm.ffns])  # type: ignore[operator]
    of_at = {Positions.ALL: z, Positions.ANSWER: z[:, text.start - 1 :], Positions.PICTURE: z[:, visual]}
    for at, taken in of_at.items():
        answer = engine.written(WrittenRequest(sample, at), not_cancelled)
        size = taken.square().mean(dim=1).sqrt() * columns
        assert np.abs(answer.size - size.numpy()).max() < 1e-5 * float(size.max())
        assert np.abs(answer.mean - taken.mean(dim=1).numpy()).max() < 1e-5
        assert np.abs(answer.column - columns.numpy()).max() < 1e-5
    for neuron, visual_token, text_token in ((Neuron(0, 3), 4, None), (Neuron(2, 40), None, 5)):
        position = visual[visual_token] if visual_token is not None else text.start + (text_token or 0)
        peak = engine.peak(PeakRequest(sample, neuron, visual_token, text_token), not_cancelled).z
        assert peak == pytest.approx(float(z[neuron.layer, position, neuron.index]), rel=1e-5, abs=1e-6)


def test_what_the_model_does_not_have_is_refused(engine: VlmEngine, sample: SampleRef) -> None:
    outside = Neuron(1, engine.vlm.neurons)
    for edit in (Edit(outside), Edit(Neuron(1, 0), source=outside.index, source_factor=1.0)):
        with pytest.raises(UsageError, match="outside the model"):
            engine.intervene(InterventionRequest(sample, ((edit,),), Positions.ALL), not_cancelled)
    with pytest.raises(UsageError, match="outside the model"):
        engine.peak(PeakRequest(sample, outside, 0, None), not_cancelled)
    for visual, text in ((9, None), (None, 99), (None, None)):
        with pytest.raises(UsageError):
            engine.peak(PeakRequest(sample, Neuron(0, 0), visual, text), not_cancelled)
    gone = SampleRef(sample.image + "?", sample.prompt, WORDS, None)
    with pytest.raises(SamplesError):
        engine.intervene(InterventionRequest(gone, ((),), Positions.ALL), not_cancelled)


def test_clean_passes_are_kept_up_to_a_bound(
    folder: Path, engine: VlmEngine, sample: SampleRef, tmp_path: Path
) -> None:
    kept = Samples(engine.vlm)
    first = kept.get(sample)
    assert kept.get(sample) is first
    assert kept.bytes == first.bytes >= sum(one.nbytes for one in tensors([first.clean.left, first.clean.entered]))
    assert kept.get(SampleRef(sample.image, sample.prompt, "A dog.", 1)) is not first

    copy = shutil.copy(sample.image, tmp_path / "picture.png")
    ref = SampleRef(str(copy), sample.prompt, WORDS, None)
    before = kept.get(ref)
    shutil.copy(folder / "002.png", copy)  # another picture under the same name
    os.utime(copy, ns=(1, 1))
    after = kept.get(ref)
    assert not torch.equal(before.clean.hidden, after.clean.hidden)

    two = Samples(engine.vlm, first.bytes * 2)
    refs = [SampleRef(str(folder / f"00{number}.png"), sample.prompt, WORDS, number) for number in range(3)]
    found = [two.get(ref) for ref in refs]
    assert two.bytes <= first.bytes * 2
    assert two.get(refs[2]) is found[2] and two.get(refs[1]) is found[1]
    assert two.get(refs[0]) is not found[0]
    two.clear()
    assert two.bytes == 0

    none = Samples(engine.vlm, first.bytes - 1)  # a larger one still works
    assert torch.equal(none.get(sample).clean.hidden, first.clean.hidden)
    assert none.bytes == 0


def test_free_forgets_clean_passes(engine: VlmEngine, sample: SampleRef) -> None:
    request = InterventionRequest(sample, ((Edit(Neuron(1, 2)),),), Positions.ALL)
    before = engine.intervene(request, not_cancelled)
    assert engine._samples is not None and engine._samples.bytes > 0
    engine.free()
    assert engine._samples.bytes == 0
    assert np.array_equal(engine.intervene(request, not_cancelled).changes, before.changes)


def test_arguments_grow_along_the_dimension_that_a_batch_doubles() -> None:
    one = (
        (torch.arange(3)[None],),
        {"positions": torch.zeros(3, 1, 4), "parts": [torch.arange(5), None], "flag": True},
    )
    two = ((torch.zeros(2, 3),), {"positions": torch.zeros(3, 2, 4), "parts": [torch.zeros(10), None], "flag": 1})
    axes = batch_axes(one, two)
    (ids,), named = repeated(one, axes, 3)
    assert ids.tolist() == [[0, 1, 2]] * 3
    assert named["positions"].shape == (3, 3, 4)
    assert named["parts"][0].tolist() == [*range(5)] * 3
    assert named["parts"][1] is None and named["flag"] == 1
    assert shape_of(one) == shape_of(((ids,), named)) != shape_of(((ids,), {}))
    for other in (((torch.zeros(3, 3),), two[1]), (two[0], {}), (two[0], {**two[1], "flag": torch.zeros(1)})):
        with pytest.raises(Unlike):
            batch_axes(one, other)
