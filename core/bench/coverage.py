"""How often the interval of a score holds the score that it is about, on the demo's own activations.

A neuron's population is its top samples of even ranks and 100 random samples: true maps by the model, predictions by
the oracle. Its score is that of the whole population, both strata weighed alike. Scores of draws with replacement, as
many top as random samples, have intervals: how many of them hold it?
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import ScoredGroup, ScoredSample, pool
from vlmscope.core.scoring.candidates import concept_explanation
from vlmscope.core.scoring.held_out import seed_of, to_predict
from vlmscope.core.scoring.protocol import HeldOut, NoPrediction
from vlmscope.core.scoring.simulators.oracle import Oracle
from vlmscope.core.scoring.true_activations import true_norms
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks

DRAWS, RANDOM = 200, 100
SIZES = (10, 20)  #: samples of either stratum


@dataclass(frozen=True)
class Coverage:
    """Of ``draws`` intervals of so many top and as many random samples the share that hold the population's score."""

    samples: int
    draws: int
    covered: float


async def bench_coverage(store: ScanStore, oracle: Oracle, model: Asks, neurons: Sequence[Neuron]) -> list[Coverage]:
    """The coverage for each of ``SIZES``, over these neurons of the demo.

    Raises:
        StoreError: if the demo is damaged.
        WorkerError: if the model process has ended.
    """
    held: dict[int, list[bool]] = {size: [] for size in SIZES}
    rng = np.random.default_rng(0)
    for neuron in neurons:
        explanation = concept_explanation(store, neuron, "")
        if explanation is None:
            continue
        strata: dict[bool, list[ScoredSample]] = {True: [], False: []}
        for sample in _population(store, neuron):
            truth = await true_norms(model, neuron, float(store.maximum[neuron.layer, neuron.index]), sample)
            predicted = await oracle.simulate(explanation, sample)
            if isinstance(truth, str) or isinstance(predicted, NoPrediction) or predicted.visual is None:
                continue
            strata[sample.rank is not None].append(
                ScoredSample(sample.sample, sample.rank, truth.visual, predicted.visual, holds=False)
            )
        top, others = strata[True], strata[False]
        whole = _score([*top * len(others), *others * len(top)])
        for size in SIZES:
            for _ in range(DRAWS):
                drawn = [one[at] for one in (top, others) for at in rng.integers(len(one), size=size).tolist()]
                found = _score(drawn)
                if whole is not None and found is not None and found[1] is not None:
                    held[size].append(found[1][0] <= whole[0] <= found[1][1])
    return [Coverage(2 * size, len(one), float(np.mean(one))) for size, one in held.items()]


def _population(store: ScanStore, neuron: Neuron) -> list[HeldOut]:
    top = store.top_samples(neuron)
    others = np.setdiff1d(np.arange(store.manifest.samples), top)
    drawn = np.random.default_rng(seed_of(store.manifest.scan_id, neuron, "coverage")).choice(others, RANDOM, False)
    ranked: list[tuple[int, int | None]] = [(top[rank - 1], rank) for rank in range(2, len(top) + 1, 2)]
    ranked += [(at, None) for at in sorted(drawn.tolist())]
    return [to_predict(store.sample(at), rank, store.manifest) for at, rank in ranked]


def _score(samples: list[ScoredSample]) -> tuple[float, tuple[float, float] | None] | None:
    top = sum(one.rank is not None for one in samples)
    planned = {ScoredGroup.TOP: top, ScoredGroup.TOP_AND_RANDOM: len(samples)}
    found = pool(samples, ScoredGroup.TOP_AND_RANDOM, planned)
    return None if found.score is None else (found.score, found.interval)
