"""Restarts against full passes with hooks and against changed weights; what stays exact, and what is kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.families import NEURONS
from tests.support.loaded_family import TinyFamily, load_family
from vlmscope.core.base.errors import Cancelled, UsageError
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.model import intervene
from vlmscope.core.model import ways as ways_module
from vlmscope.core.model.arguments import Unlike
from vlmscope.core.model.clean import Sample, clean_pass
from vlmscope.core.model.ffn import decoder_of
from vlmscope.core.model.intervene import Interventions
from vlmscope.core.model.load import load
from vlmscope.core.model.readings import read
from vlmscope.core.model.restart import Restart, Ways
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.model.ways import MeasuredWays
from vlmscope.core.worker.interventions import InterventionAnswer
from vlmscope.core.worker.messages import ModelSpec

#: Families that change their FFN's output before they add it: a norm after it, or a factor.
NOT_ADDED = {"gemma3", "gemma3_pan_and_scan", "gemma4", "glm4v", "glm46v", "exaone4_5"}
NOT_ADDED |= {"hyperclovax_vision_v2", "granite_docling"}
#: Positions before the answer depend on it; layers without attention.
NOT_LAST = {"paligemma", "qwen3_5"}
INDEX = 7


def sample_of(vlm: Vlm, family: TinyFamily, number: int = 0) -> Sample:
    return Sample(family.images[number], family.encoded[number], clean_pass(vlm, family.inputs[number]))


def ways_of(vlm: Vlm, family: TinyFamily) -> Ways | None:
    two = vlm.inputs([family.encoded[0]] * 2, [family.images[0]] * 2)
    return MeasuredWays(vlm, Restart(vlm)).of(
        sample_of(vlm, family).clean, lambda: two, family.encoded[0].text.start - 1
    )


@pytest.fixture(scope="module")
def llava(family_folder: Callable[[str], Path]) -> TinyFamily:
    return load_family("llava", family_folder("llava"))


def rows_of(layers: int, factor: float = -3.0) -> list[tuple[Edit, ...]]:
    """One neuron of each layer; sets of one layer and of several; one that writes in another's place; nothing."""
    alone: list[tuple[Edit, ...]] = [(Edit(Neuron(layer, INDEX), factor),) for layer in range(layers)]
    set_of_one = tuple(Edit(Neuron(1, index), factor) for index in range(0, NEURONS, 2))
    set_of_all = tuple(Edit(Neuron(layer, index), factor) for layer in range(layers) for index in (3, 4))
    constant = (Edit(Neuron(0, INDEX), factor, 0.5, -0.5, times_up=True),)
    other = (Edit(Neuron(1, INDEX), source=9, source_factor=factor),)
    return [*alone, set_of_one, set_of_all, constant, other, ()]


def alike(one: InterventionAnswer, other: InterventionAnswer, close: float = 1e-5) -> None:
    for name in ("log_odds", "p", "changes", "p_after", "kl"):
        assert np.abs(getattr(one, name) - getattr(other, name)).max() < close, name
    assert (one.first == other.first).all() and (one.first_after == other.first_after).all()


def test_a_restart_equals_full_passes(family: TinyFamily) -> None:
    vlm = family.vlm
    rows = rows_of(vlm.layers, -300.0 if family.name == "granite_docling" else -3.0)  # its FFNs write little
    ways = ways_of(vlm, family)
    assert ways is not None and all(ways.starts)
    assert set(ways.adds) == {family.name not in NOT_ADDED}
    assert ways.last is (family.name not in NOT_LAST)
    interventions, sample = Interventions(vlm), sample_of(vlm, family)
    for at in Positions:
        full = interventions.intervene(sample, rows, at, full=True)
        alike(interventions.intervene(sample, rows, at), full)
        if at is not Positions.PICTURE:  # there the last layer reaches no word
            assert np.abs(full.changes[:-1]).max(axis=1).min() > 1e-4
    few = interventions.intervene(sample, rows, Positions.ALL, (2, 0))
    every = interventions.intervene(sample, rows, Positions.ALL)
    assert few.changes.shape == (len(rows), 2)
    assert np.abs(few.changes - every.changes[:, [2, 0]]).max() < 1e-5
    assert not every.changes[-1].any() and not every.kl[-1].any()


@contextmanager
def column(vlm: Vlm, layer: int, factor: float) -> Iterator[None]:
    """The neuron's column of the weights is multiplied while the block runs."""
    down = vlm.ffns[layer].down
    assert isinstance(down, nn.Linear)
    before = down.weight[:, INDEX].clone()
    with torch.no_grad():
        down.weight[:, INDEX] *= factor
        yield
        down.weight[:, INDEX] = before


def log_p(vlm: Vlm, family: TinyFamily) -> Tensor:
    """Of all tokens at the positions that predict the description, by the model itself: float32 (K, V)."""
    encoded = family.encoded[0]
    with torch.inference_mode():
        logits: Tensor = vlm.model(**family.inputs[0], use_cache=False).logits[0].float()
    return logits[encoded.text.start - 1 : encoded.text.stop - 1].log_softmax(dim=-1)


def test_a_restart_equals_changed_weights(family: TinyFamily) -> None:
    vlm, encoded, layer = family.vlm, family.encoded[0], 1
    targets = encoded.input_ids[encoded.text]
    answer = Interventions(vlm).intervene(
        sample_of(vlm, family), [(Edit(Neuron(layer, INDEX)),), (Edit(Neuron(layer, INDEX), 3.0),)], Positions.ALL
    )
    before = log_p(vlm, family)
    for number, factor in enumerate((0.0, 3.0)):
        with column(vlm, layer, factor):
            after = log_p(vlm, family)
        by_hand = {
            "changes": log_odds(after, targets) - log_odds(before, targets),
            "p_after": after.exp().gather(1, targets[:, None])[:, 0],
            "kl": (before.exp() * (before - after)).sum(dim=1),
            "first_after": after.argmax(dim=1) == targets,
        }
        for name, expected in by_hand.items():
            assert np.abs(getattr(answer, name)[number] - expected.float().numpy()).max() < 2e-5, name
    assert np.abs(answer.log_odds - log_odds(before, targets).numpy()).max() < 2e-5


def log_odds(log_p: Tensor, targets: Tensor) -> Tensor:
    own = log_p.double().gather(1, targets[:, None])[:, 0]
    return (own - torch.log1p(-own.exp())).float()


@pytest.mark.parametrize("name", ["llava", "gemma3"])
def test_a_dead_neuron_changes_nothing_at_all(name: str, family_folder: Callable[[str], Path]) -> None:
    vlm = load(ModelSpec(str(family_folder(name)), device="cpu"))
    family = load_family(name, family_folder(name))
    rows: list[tuple[Edit, ...]] = [(Edit(Neuron(layer, INDEX), 7.0, 3.0),) for layer in range(vlm.layers)]
    rows.append(tuple(edit for row in rows for edit in row))
    for layer in range(vlm.layers):
        vlm.ffns[layer].down.weight[:, INDEX] = 0  # type: ignore[operator]
    for at in Positions:
        answer = Interventions(vlm).intervene(sample_of(vlm, family), rows, at)
        assert not answer.changes.any() and not answer.kl.any()
        assert (answer.p_after == answer.p).all()


def test_a_batch_of_one_equals_one_of_many(llava: TinyFamily, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(Edit(Neuron(1, index), -2.0),) for index in range(32)]
    sample, interventions = sample_of(llava.vlm, llava), Interventions(llava.vlm)
    monkeypatch.setattr(intervene, "_ROWS", 32)
    together = interventions.intervene(sample, rows, Positions.ALL)
    alone = [interventions.intervene(sample, [row], Positions.ALL).changes[0] for row in rows]
    assert np.abs(together.changes - np.stack(alone)).max() < 1e-5


@pytest.mark.parametrize("lost", ["arguments", "starts"])
def test_what_a_model_does_not_allow_is_done_by_longer_passes(
    lost: str, family_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    family = load_family("qwen3_vl", family_folder("qwen3_vl"))
    vlm, rows = family.vlm, rows_of(family.vlm.layers)
    sample = sample_of(vlm, family)
    expected = Interventions(vlm).intervene(sample, rows, Positions.ALL)
    if lost == "arguments":
        monkeypatch.setattr(ways_module, "batch_axes", unlike)
        assert ways_of(vlm, family) is None
    else:  # a layer that needs more than the stream: only what begins at the first one is right
        needs_the_first(decoder_of(vlm.model))
        ways = ways_of(vlm, family)
        assert ways is not None and ways.starts == (True, False, True, True)
    alike(Interventions(vlm).intervene(sample, rows, Positions.ALL), expected)


def unlike(_one: object, _two: object) -> None:
    raise Unlike


def needs_the_first(decoder: Any) -> None:
    """The second layer fails unless the first one has run in this pass."""
    ran: list[int] = []
    first, second = (layer.forward for layer in decoder.layers[:2])

    def runs(*args: object, **named: object) -> object:
        ran.append(1)
        return first(*args, **named)

    def needs(*args: object, **named: object) -> object:
        if not ran:
            raise KeyError("what the first layer hands on")
        return second(*args, **named)

    decoder.register_forward_pre_hook(lambda *_: ran.clear())
    decoder.layers[0].forward, decoder.layers[1].forward = runs, needs


def test_in_half_precision_a_row_is_compared_with_its_own_batch(family_folder: Callable[[str], Path]) -> None:
    vlm = load(ModelSpec(str(family_folder("llava")), device="cpu", dtype="bfloat16"))
    family = load_family("llava", family_folder("llava"))
    inputs = vlm.inputs(family.encoded[:1], family.images[:1])
    sample = Sample(family.images[0], family.encoded[0], clean_pass(vlm, inputs))
    rows = [(Edit(Neuron(layer, INDEX), -30.0),) for layer in range(3)]
    found = Interventions(vlm).intervene(sample, rows, Positions.ALL)
    full = Interventions(vlm).intervene(sample, rows, Positions.ALL, full=True)
    assert np.abs(found.changes).max() > 0.1
    assert np.abs(found.changes - full.changes).max() < 0.05


def test_in_half_precision_the_head_computes_in_float32(family_folder: Callable[[str], Path]) -> None:
    folder = str(family_folder("aya_vision"))  # with a factor of logits
    exact, half = (load(ModelSpec(folder, device="cpu", dtype=dtype)) for dtype in ("float32", "bfloat16"))
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    weights: Tensor = exact.model.get_output_embeddings().weight
    with torch.inference_mode():
        expected = exact.logits.readout.logits(hidden.float() @ weights.bfloat16().float().T)
        assert (half.logits.of_all(hidden) - expected).abs().max() < 1e-6
    with torch.enable_grad():  # as the model does
        rounded = half.logits.of_all(hidden).detach()
    assert 1e-4 < (rounded - expected).abs().max() < 0.02 * expected.abs().max()


def test_a_stop_ends_it_and_leaves_the_model_as_it_was(llava: TinyFamily) -> None:
    sample, interventions = sample_of(llava.vlm, llava), Interventions(llava.vlm)
    rows = rows_of(3)
    expected = interventions.intervene(sample, rows, Positions.ALL)
    for allowed in (0, 3, 9):
        asked: list[int] = []

        def stopped(asked: list[int] = asked, allowed: int = allowed) -> bool:
            asked.append(1)
            return len(asked) > allowed

        with pytest.raises(Cancelled):
            interventions.intervene(sample, rows, Positions.ANSWER if allowed else Positions.ALL, stopped=stopped)
        assert not any("forward" in layer.__dict__ for layer in decoder_of(llava.vlm.model).layers)
        assert not any(ffn.down._forward_pre_hooks for ffn in llava.vlm.ffns)
        assert llava.vlm.model.config.text_config._attn_implementation == "sdpa"
    alike(interventions.intervene(sample, rows, Positions.ALL), expected, close=1e-30)


def test_a_token_that_the_description_lacks_is_refused(llava: TinyFamily) -> None:
    for token in (-1, len(llava.encoded[0].tokens)):
        with pytest.raises(UsageError, match=f"tokens; {token} is not"):
            Interventions(llava.vlm).intervene(sample_of(llava.vlm, llava), [], Positions.ALL, (token,))


def test_readings_are_exact_where_a_probability_is_nearly_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 11)).astype(np.float32)
    logits[:, 1, 4] += 40  # p is 1 in float32
    logits[:, 2, 6] = -np.inf  # never said
    targets = np.array([4, 4, 2, 0, 10])
    wide = logits.astype(np.float64)
    whole = np.exp(wide - wide.max(axis=2, keepdims=True))
    p = whole / whole.sum(axis=2, keepdims=True)
    others = np.array([[np.log(np.exp(np.delete(row[k], t)).sum()) for k, t in enumerate(targets)] for row in wide])
    for most in (1, 1 << 26):  # a position at a time, and all
        monkeypatch.setattr("vlmscope.core.model.readings._NUMBERS", most)
        found = read(lambda hidden: hidden.clone(), torch.from_numpy(logits), torch.from_numpy(targets))
        expected = wide[:, range(5), targets] - others
        assert np.abs(found.log_odds.numpy() - expected).max() < 1e-5
        assert np.abs(found.p.numpy() - p[:, range(5), targets]).max() < 1e-6
        assert (found.first.numpy() == (wide.argmax(axis=2) == targets)).all()
        with np.errstate(divide="ignore", invalid="ignore"):
            kl = np.nansum(p[0] * np.log(p[0] / p), axis=2)
        assert np.abs(found.kl.numpy() - kl).max() < 1e-5
    assert found.log_odds[0, 1] > 30 and found.p[0, 1] == 1
