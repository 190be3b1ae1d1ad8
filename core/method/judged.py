"""How well answers tell two groups of samples apart: the AUC, its interval, chance, and the share of fakes that pass.

Of yes and no, the AUC with ties by half is the balanced accuracy: the mean of the shares of either group that are
answered rightly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.correlation import COVERAGE, LEAST_SHARE
from vlmscope.core.method.rank_sum import auc_intervals, aucs

CHANCE = 0.5  #: of balanced accuracy and AUC
DEALS = 1000  #: fake neurons
_Z = NormalDist().inv_cdf((1 + COVERAGE) / 2)


@dataclass(frozen=True)
class Judged:
    """One metric of a judge's answers.

    Attributes:
        value: None where it does not exist, with the ``reason``.
        interval: 95 %, lower and upper end; None with the value.
        chance: what guessing reaches.
        fakes: the share of fake neurons that pass: whose interval is above chance.
        deals: how many fake neurons there are.
        planned, counted: samples to be judged, and those that were.
    """

    value: float | None
    reason: str
    interval: tuple[float, float] | None
    chance: float
    fakes: float | None
    deals: int
    planned: int
    counted: int

    @property
    def passes(self) -> bool:
        """Whether the interval is above chance."""
        return self.interval is not None and self.interval[0] > self.chance


def judged(
    truth: NDArray[np.bool_], answers: NDArray[np.float32], planned: tuple[int, int], seed: int, what: str = "samples"
) -> Judged:
    """The AUC of ``answers``.

    A fake neuron has the same activations dealt to other samples: the answers stay, the truth is permuted. So the share
    of fakes that pass is what the test lets through where an explanation has nothing to do with the neuron.

    Args:
        truth: bool (n,), whether the neuron activates. answers: float32 (n,), larger for a yes.
        planned: samples that were to be judged, of those that activate and of the others.
        seed: of the deals.
        what: what is counted, for the reason.
    """
    a, b = int(truth.sum()), int((~truth).sum())
    for count, of in ((a, planned[0]), (b, planned[1])):
        if not of or count < LEAST_SHARE * of:
            reason = f"{count} of {of} {what} of one group have an answer"
            return Judged(None, reason, None, CHANCE, None, 0, sum(planned), a + b)
    found = aucs(answers[None, truth], answers[None, ~truth])
    low, high = auc_intervals(found)
    dealt = np.random.default_rng(seed).permuted(np.tile(answers, (DEALS, 1)), axis=1)
    fake_low, _ = auc_intervals(aucs(dealt[:, :a], dealt[:, a:]))
    return Judged(
        value=float(found.value[0]),
        reason="",
        interval=(float(low[0]), float(high[0])),
        chance=CHANCE,
        fakes=float((fake_low > CHANCE).mean()),
        deals=DEALS,
        planned=sum(planned),
        counted=a + b,
    )


def picked(places: Sequence[int], answers: Sequence[int], options: int, planned: int, seed: int) -> Judged:
    """The share of rounds in which the intruder was picked, with Wilson's interval.

    A fake neuron has the same answers, and its intruders at places that are drawn again from the rounds' options.

    Source: Wilson 1927, "Probable inference".

    Args:
        places: of the intruder in each round that has an answer, from 0. answers: the places that were picked.
        options: samples of a round. planned: rounds that were to be judged. seed: of the draws.
    """
    count = len(places)
    if count < LEAST_SHARE * planned or not count:
        return Judged(None, f"{count} of {planned} rounds have an answer", None, 1 / options, None, 0, planned, count)
    chosen = np.array(answers)
    hits = int(np.count_nonzero(chosen == np.array(places)))
    drawn = np.random.default_rng(seed).integers(options, size=(DEALS, count))
    fakes = [wilson(int(found), count)[0] > 1 / options for found in np.count_nonzero(drawn == chosen, axis=1).tolist()]
    return Judged(
        value=hits / count,
        reason="",
        interval=wilson(hits, count),
        chance=1 / options,
        fakes=float(np.mean(fakes)),
        deals=DEALS,
        planned=planned,
        counted=count,
    )


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson; ``count`` is at least 1."""
    share, square = hits / count, _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
