"""How well effects to first order agree with exact ablations, on the demo."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.bench.precision import NamedObject, named_objects
from vlmscope.core.causal.pictures import of_sample
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.interventions import AttributionRequest, InterventionRequest

OBJECTS = 12  #: whose words' log-odds are read, each in one picture
PLACES = (0, 1, 3, 10, 30, 100)  #: of a layer's neurons in the order of their effects' size: these are ablated


@dataclass(frozen=True)
class EffectAgreement:
    """Pairs of a neuron and a word.

    Attributes:
        pairs: how many. spearman: the rank correlation over all of them; layers: over those of each layer.
        same_sign: the share of the pairs of an exact change of at least 0.05 whose sign is the same. large: how many
            pairs that are.
    """

    pairs: int
    spearman: float
    layers: tuple[float, ...]
    same_sign: float
    large: int


async def effect_agreement(store: ScanStore, model: Asks, count: int = OBJECTS) -> EffectAgreement:
    """Ablate neurons of large, middle and small effect exactly.

    Raises:
        StoreError: if the demo is damaged. WorkerError: as ``Asks.ask``.
    """
    first, exact = [], []
    for one in named_objects(store, count):
        found = await _both(store, model, one)
        first.append(found[0])
        exact.append(found[1])
    return agreement(np.stack(first, axis=1), np.stack(exact, axis=1))


async def _both(store: ScanStore, model: Asks, one: NamedObject) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Effects to first order and exact changes: float32 (L, P), P neurons of each layer."""
    ref = of_sample(one.sample, store.manifest.prompt).ref
    effects = (await model.ask(AttributionRequest(ref, one.token), Lane.BACKGROUND)).effects
    chosen = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, PLACES]
    rows = tuple((Edit(Neuron(layer, index)),) for layer, line in enumerate(chosen.tolist()) for index in line)
    answer = await model.ask(InterventionRequest(ref, rows, Positions.ALL, (one.token,)), Lane.BACKGROUND)
    return np.take_along_axis(effects, chosen, axis=1), answer.changes[:, 0].reshape(chosen.shape)


def agreement(first: NDArray[np.float32], exact: NDArray[np.float32]) -> EffectAgreement:
    """The figures. Both float32 (L, ...): effects to first order, and exact changes."""
    large = np.abs(exact) >= 0.05
    same = np.sign(first[large]) == np.sign(exact[large])
    return EffectAgreement(
        pairs=first.size,
        spearman=_spearman(first.ravel(), exact.ravel()),
        layers=tuple(_spearman(one.ravel(), other.ravel()) for one, other in zip(first, exact, strict=True)),
        same_sign=float(same.mean()) if same.size else 0.0,
        large=int(large.sum()),
    )


def _spearman(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The correlation of ranks; of equal values each has the mean of their ranks. 0 for a constant."""
    ranks = [_ranks(one), _ranks(other)]
    return 0.0 if min(float(each.std()) for each in ranks) == 0 else float(np.corrcoef(ranks)[0, 1])


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place].astype(np.float64)
