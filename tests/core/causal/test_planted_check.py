"""The causal check on a neuron whose effect is known, planted into the demo's model, and on a dead one."""

import asyncio
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest
from torch import Tensor

from tests.support.encoding import encoded_sample
from tests.support.planted import demo_scenes, naming, planted, saying
from vlmscope.core.base.callbacks import not_cancelled
from vlmscope.core.base.demo import DEMO, demo_folder, scan_folder
from vlmscope.core.base.intervention import Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.ablation import NOTHING_TO_REMOVE, ablate
from vlmscope.core.causal.check import check
from vlmscope.core.causal.pictures import Described
from vlmscope.core.data.images import load_image
from vlmscope.core.model.engine import VlmEngine
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.notebook.check import CheckSettings
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import A, Lane
from vlmscope.core.worker.interventions import SampleRef
from vlmscope.core.worker.messages import ModelSpec, ModelStatus, Phase, Request

WORD, NEURON = "apple", Neuron(4, 100)
READ, PICTURES = 10, 3  #: samples that the direction is read from, and on which the effect is measured
SETTINGS = CheckSettings(at=Positions.ANSWER, controls=19)


class EngineHere:
    """The engine on a model that tests change: a new one keeps nothing of the model as it was before."""

    def __init__(self, vlm: Vlm) -> None:
        self.status = ModelStatus(Phase.READY)
        vlm.__dict__.pop("column_norms", None)
        self._handlers = VlmEngine(vlm, ModelSpec(DEMO, device="cpu")).handlers

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        return cast(A, self._handlers[type(request)](request, not_cancelled))


@dataclass(frozen=True)
class Ground:
    """A model to plant in: what the neuron reads, and pictures whose descriptions have the word."""

    vlm: Vlm
    reads: Tensor
    pictures: tuple[Described, ...]


@pytest.fixture(scope="module")
def store() -> ScanStore:
    return ScanStore(scan_folder(DEMO))


@pytest.fixture(scope="module")
def ground(store: ScanStore) -> Ground:
    vlm = load(ModelSpec(DEMO, device="cpu"))
    lines, objects = demo_scenes()
    pictures = [demo_folder() / line["image"] for line in lines]
    first = [encoded_sample(vlm, load_image(pictures[at]), lines[at]["description"]) for at in range(READ)]
    reads = naming(vlm, NEURON.layer, first, objects)
    said = ((at, saying(lines[at], WORD)) for at in range(READ, len(lines)))
    changed = [(at, words) for at, words in said if words is not None][:PICTURES]
    prompt = store.manifest.prompt
    described = []
    for at, words in changed:
        tokens = vlm.encode(prompt, words, load_image(pictures[at]).size).tokens
        described.append(Described(SampleRef(str(pictures[at]), prompt, words, None), tokens, lines[at]["image"]))
    return Ground(vlm, reads, tuple(described))


@pytest.mark.slow
@pytest.mark.parametrize(("strength", "least"), [(0.5, -0.3), (2, -1.5), (8, -5)])
def test_a_planted_neuron_is_beyond_all_its_controls(
    store: ScanStore, ground: Ground, strength: float, least: float
) -> None:
    with planted(ground.vlm, NEURON, ground.reads, WORD, strength):
        model = EngineHere(ground.vlm)
        found = asyncio.run(check(store, model, [NEURON], WORD, SETTINGS, pictures=ground.pictures))
    assert found.beyond_all and found.p == pytest.approx(0.1)
    assert found.effect is not None and found.effect < least
    assert np.abs([control.effect for control in found.matched]).max() < abs(found.effect) / 5
    assert found.token == f" {WORD}" and len(found.values) == PICTURES


@pytest.mark.slow
def test_a_dead_neuron_changes_nothing_and_is_silent(store: ScanStore, ground: Ground) -> None:
    with planted(ground.vlm, NEURON, ground.reads, WORD, 0):  # a column of zeros
        model = EngineHere(ground.vlm)
        found = asyncio.run(check(store, model, [NEURON], WORD, SETTINGS, pictures=ground.pictures[:1]))
        ablation = asyncio.run(ablate(store, model, [NEURON], ground.pictures[:1], word=WORD))
    assert (found.values, found.p, found.note) == ([0.0], None, NOTHING_TO_REMOVE)
    assert ablation.silent
    assert all(token.change == 0 and token.kl == 0 for picture in ablation.pictures for token in picture.tokens)
