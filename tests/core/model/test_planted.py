"""A neuron whose effect is known: what it does is found at every strength, and other neurons do nothing of it."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from tests.support.ablating import log_odds, without
from tests.support.encoding import encoded_sample
from tests.support.planted import demo_scenes, naming, planted, saying
from vlmscope.core.analysis.pointing import Rule, point_at_all
from vlmscope.core.base.demo import DEMO, demo_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.method.place import token_place
from vlmscope.core.model.attribution import attribution
from vlmscope.core.model.clean import clean_pass
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm
from vlmscope.core.store.reader import open_scan
from vlmscope.core.worker.messages import ModelSpec

WORD, NEURON = "apple", Neuron(4, 100)
READ, PICTURES = 10, 5  #: samples that the direction is read from, and on which the effect is measured


@dataclass(frozen=True)
class Ground:
    """A model to plant in: what the neuron reads, and samples with the place of the word in their descriptions."""

    vlm: Vlm
    reads: Tensor
    samples: tuple[tuple[Encoded, Inputs, int], ...]


@pytest.fixture(scope="module")
def ground() -> Ground:
    vlm = load(ModelSpec(DEMO, device="cpu"))
    lines, objects = demo_scenes()

    def encoded(line: int, words: str) -> tuple[Encoded, Inputs]:
        return encoded_sample(vlm, load_image(demo_folder() / lines[line]["image"]), words)

    reads = naming(vlm, NEURON.layer, [encoded(at, lines[at]["description"]) for at in range(READ)], objects)
    said = ((at, saying(lines[at], WORD)) for at in range(READ, len(lines)))
    changed = [(at, words) for at, words in said if words is not None][:PICTURES]
    samples = [encoded(at, words) for at, words in changed]
    return Ground(vlm, reads, tuple((*one, one[0].tokens.index(f" {WORD}")) for one in samples))


@pytest.mark.parametrize(("strength", "least"), [(0.5, -0.3), (2, -1.5), (8, -5)])
def test_a_planted_neuron_is_found(ground: Ground, strength: float, least: float) -> None:
    vlm = ground.vlm
    with planted(vlm, NEURON, ground.reads, WORD, strength):
        effects = np.mean([effects_on(vlm, *sample) for sample in ground.samples], axis=0)
        assert np.unravel_index(effects.argmin(), effects.shape) == (NEURON.layer, NEURON.index)
        store, place = open_scan(DEMO), token_place(ground.samples[0][2:], WORD)
        found = point_at_all(store, store.stored_labels(), None, place, Rule.EFFECT, None, None, effects, limit=3)
        assert found.neurons[0].neuron == NEURON
        planted_change, *others = (changed(ground, Neuron(NEURON.layer, NEURON.index + step)) for step in range(2))
    assert planted_change < least
    assert np.abs(others).max() < 0.02


def effects_on(vlm: Vlm, encoded: Encoded, inputs: Inputs, token: int) -> NDArray[np.float32]:
    return attribution(vlm, encoded, clean_pass(vlm, inputs), token)


def changed(ground: Ground, neuron: Neuron) -> float:
    """Mean change of the word's log-odds without the neuron."""
    clean = [log_odds(ground.vlm, *sample) for sample in ground.samples]
    with without(ground.vlm, neuron):
        return float(np.mean([log_odds(ground.vlm, *sample) for sample in ground.samples]) - np.mean(clean))


def test_the_model_is_the_same_afterwards(ground: Ground) -> None:
    before = [log_odds(ground.vlm, *sample) for sample in ground.samples[:1]]
    with planted(ground.vlm, NEURON, ground.reads, WORD, 8):
        assert [log_odds(ground.vlm, *sample) for sample in ground.samples[:1]] != before
    assert [log_odds(ground.vlm, *sample) for sample in ground.samples[:1]] == before
