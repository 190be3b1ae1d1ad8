"""How well answers tell two groups of samples apart: the AUC, its interval, chance, and the share of fakes that pass.

Of yes and no, the AUC with ties by half is the balanced accuracy: the mean of the shares of either group that are
answered rightly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.correlation import LEAST_SHARE
from vlmscope.core.method.rank_sum import auc_intervals, aucs

CHANCE = 0.5  #: of balanced accuracy and AUC
DEALS = 1000  #: fake neurons


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
