"""Fuzzing on patches: the marked patches of a picture are the neuron's strongest, or another neuron's.

Detection asks whether a sample activates the neuron at all; fuzzing asks where.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.scoring.held_out import held_out, seed_of
from vlmscope.core.scoring.judge_samples import Question, ShownSample
from vlmscope.core.scoring.protocol import HeldOut
from vlmscope.core.scoring.report import Failure
from vlmscope.core.scoring.true_activations import true_norms
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks

RANKS = range(2, 21, 2)  #: of the top samples, from 1
STRONG = 0.5  #: of the map's largest norm: patches from here on are marked
MOST = 0.25  #: of all patches are marked at most
OVERLAP = 0.5  #: of the marked patches that another neuron's may share
TRIES = 5  #: other neurons that are tried on a sample
TEXT_NEURON = "it is a text neuron: fuzzing marks patches"
SAME = "other neurons have the same patches there"
DARK = "none of its patches is active"


@dataclass(frozen=True, eq=False)
class Marked:
    """Questions in pairs, each of a sample's own and another neuron's patches; and samples that have none."""

    questions: tuple[Question, ...]
    failures: tuple[Failure, ...]


def fuzzing_samples(store: ScanStore, neuron: Neuron, written_from: Collection[int]) -> list[HeldOut]:
    """Top samples of the even ranks 2 to 20. Raises StoreError if the scan is damaged."""
    return [one for one in held_out(store, neuron, written_from) if one.rank in RANKS]


async def marked(store: ScanStore, neuron: Neuron, samples: Collection[HeldOut], model: Asks) -> Marked:
    """Both kinds of marks on each sample, as many patches of either.

    The other neuron is drawn, by the scan's identity and the address, from those of the layer that are not text
    neurons. It is drawn again where it shares more than half of the patches.

    Raises:
        Cancelled, WorkerError: if the model was stopped, or has gone.
    """
    layer = store.stored_labels().label[neuron.layer]
    others = [at for at in np.flatnonzero(np.asarray(layer) != Label.TEXT).tolist() if at != neuron.index]
    questions: list[Question] = []
    failures: list[Failure] = []
    for sample in samples:
        own = await _map(store, neuron, sample, model)
        if not isinstance(own, str) and own.max() <= 0:
            own = DARK
        if isinstance(own, str):
            failures += [Failure(sample.sample, sample.rank, None, own)] * 2
            continue
        count = min(int((own >= STRONG * own.max()).sum()), max(int(MOST * own.size), 1))
        mine = strongest(own, count)
        rng = np.random.default_rng(seed_of(store.manifest.scan_id, neuron, f"fuzzing {sample.sample}"))
        shown = ShownSample(sample.sample, sample.rank, None, float(own.max()), activates=True)
        theirs: Question | None = None
        for at in rng.permutation(len(others))[:TRIES].tolist():
            other = store.numbering.at(neuron.layer, others[at])
            found = await _map(store, other, sample, model)
            if isinstance(found, str) or found.max() <= 0:
                continue
            mask = strongest(found, count)
            if (mask & mine).sum() <= OVERLAP * count:
                there = ShownSample(sample.sample, sample.rank, None, float(own[mask].max()), activates=False)
                theirs = Question(there, mask, str(other))
                break
        if theirs is None:
            failures += [Failure(sample.sample, sample.rank, None, SAME)] * 2
        else:
            questions += [Question(shown, mine), theirs]
    return Marked(tuple(questions), tuple(failures))


async def _map(store: ScanStore, neuron: Neuron, sample: HeldOut, model: Asks) -> NDArray[np.float32] | str:
    """Norms on the sample's grid, or why there are none."""
    found = await true_norms(model, neuron, float(store.maximum[neuron.layer, neuron.index]), sample)
    return found if isinstance(found, str) else found.visual


def strongest(norms: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """The ``count`` largest of a map, bool of its shape; of equal ones the first in reading order."""
    mask = np.zeros(norms.size, dtype=np.bool_)
    mask[np.argsort(-norms.ravel(), kind="stable")[:count]] = True
    return mask.reshape(norms.shape)
