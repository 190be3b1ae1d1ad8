"""A neuron whose effect is known: what it does is found at every strength, and other neurons do nothing of it."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from tests.support.ablating import log_odds
from tests.support.encoding import encoded_sample
from tests.support.model_here import ModelHere, engine_of
from tests.support.planted import demo_scenes, naming, planted, saying
from vlmscope.core.base.demo import DEMO, demo_folder, scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.check import check
from vlmscope.core.causal.pictures import Described
from vlmscope.core.data.images import load_image
from vlmscope.core.model.attribution import attribution
from vlmscope.core.model.clean import clean_pass
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm
from vlmscope.core.notebook.check import CheckSettings
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.interventions import SampleRef

WORD, NEURON = "apple", Neuron(4, 100)
READ, PICTURES = 10, 5  #: samples that the direction is read from, and on which the effect is measured


@dataclass(frozen=True)
class Ground:
    """A model to plant in: what the neuron reads, and samples with the place of the word in their descriptions."""

    vlm: Vlm
    reads: Tensor
    samples: tuple[tuple[Encoded, Inputs, int], ...]
    described: tuple[Described, ...]


@pytest.fixture(scope="module")
def ground() -> Ground:
    vlm = engine_of(DEMO).vlm
    lines, objects = demo_scenes()

    def encoded(line: int, words: str) -> tuple[Encoded, Inputs]:
        return encoded_sample(vlm, load_image(demo_folder() / lines[line]["image"]), words)

    reads = naming(vlm, NEURON.layer, [encoded(at, lines[at]["description"]) for at in range(READ)], objects)
    said = ((at, saying(lines[at], WORD)) for at in range(READ, len(lines)))
    changed = [(at, words) for at, words in said if words is not None][:PICTURES]
    samples = [encoded(at, words) for at, words in changed]
    placed = tuple((*one, one[0].tokens.index(f" {WORD}")) for one in samples)
    described = tuple(
        Described(
            SampleRef(str(demo_folder() / lines[at]["image"]), encoded.prompt, words, at), encoded.tokens, str(at)
        )
        for (at, words), (encoded, _) in zip(changed, samples, strict=True)
    )
    return Ground(vlm, reads, placed, described)


@pytest.mark.parametrize(("strength", "least"), [(0.5, -0.3), (2, -1.5), (8, -5)])
async def test_a_planted_neuron_is_found(ground: Ground, strength: float, least: float) -> None:
    """By its effect to first order among all neurons, and by a check against matched neurons."""
    engine = engine_of(DEMO)
    with planted(ground.vlm, NEURON, ground.reads, WORD, strength):
        effects = np.mean([effects_on(ground.vlm, *sample) for sample in ground.samples], axis=0)
        engine.free()  # it has clean passes of the model as it was
        settings = CheckSettings(controls=19)
        found = await check(
            ScanStore(scan_folder(DEMO)), ModelHere(engine.spec), [NEURON], WORD, settings, pictures=ground.described
        )
    engine.free()
    assert np.unravel_index(effects.argmin(), effects.shape) == (NEURON.layer, NEURON.index)
    assert found.beyond_all and found.p == pytest.approx(0.1)
    assert found.effect is not None and found.effect < least
    assert max(abs(control.effect) for control in found.matched) < 0.1 * abs(found.effect)
    assert len(found.pictures) == PICTURES and all(picture.change < 0 for picture in found.pictures)


def effects_on(vlm: Vlm, encoded: Encoded, inputs: Inputs, token: int) -> NDArray[np.float32]:
    return attribution(vlm, encoded, clean_pass(vlm, inputs), token)


def test_the_model_is_the_same_afterwards(ground: Ground) -> None:
    before = [log_odds(ground.vlm, *sample) for sample in ground.samples[:1]]
    with planted(ground.vlm, NEURON, ground.reads, WORD, 8):
        assert [log_odds(ground.vlm, *sample) for sample in ground.samples[:1]] != before
    assert [log_odds(ground.vlm, *sample) for sample in ground.samples[:1]] == before
