"""The score of an explanation: the correlation of true and simulated activations, in float64.

Source: method.md, "Activation simulator and score". The pooling, the interval and the share of samples that a score
needs are our choice. A correlation that does not exist (a constant has none) is None with the reason, never 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.t_quantile import t_quantile

LEAST_SHARE = 0.6  #: of each group's samples that a score needs
LEAST_HOLDING = 5  #: samples with the concept that a score on them needs
INTERVAL_FROM = 20  #: samples that an interval of the score needs; fewer have the range of single samples
COVERAGE = 0.95

Values = NDArray[np.float32] | NDArray[np.float64]


class TokenKind(StrEnum):
    """Kinds of tokens. They are scored separately, as patches and words have different simulators."""

    VISUAL = "visual"
    TEXT = "text"


class ScoredGroup(StrEnum):
    """The samples that are scored. Only random ones separate a too broad explanation from a precise one.

    Those that hold the concept, top and random ones, tell how well its place and strength are predicted: that it is
    there at all is known.
    """

    TOP = "top"
    TOP_AND_RANDOM = "top+random"
    CONCEPT = "concept"


class IntervalKind(StrEnum):
    """How an interval was made."""

    JACKKNIFE = "jackknife"  #: 95 % of the pooled score, by leaving out one sample at a time
    STUDENT = "t"  #: Student's, of a mean over pictures, as checks have it
    BOOTSTRAP = "bootstrap"  #: by resampling, as earlier versions stored scores and checks
    RANGE = "range"  #: the least and the largest value of single samples: they are too few for another kind

    @property
    def words(self) -> str:
        """The kind for a person."""
        return "single samples" if self is IntervalKind.RANGE else self.value


@dataclass(frozen=True)
class Correlation:
    """A Pearson correlation, or why there is none (``reason`` is empty where there is one)."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class ScoredSample:
    """The truth and the prediction of one sample's tokens of one kind, both of the same size, in any shape.

    Attributes:
        sample: its index in the data.
        rank: among the neuron's top samples, from 1; None for a random one.
        holds: whether it holds the concept that is scored.
    """

    sample: int
    rank: int | None
    truth: Values
    prediction: Values
    holds: bool = False


@dataclass(frozen=True)
class Pooled:
    """The score of one kind of tokens over one group of samples.

    Attributes:
        score: Pearson correlation over all tokens of the samples that count; None where it is undefined.
        reason: why it is undefined; else empty.
        interval: lower and upper end; None where there is none.
        planned, counted: samples that were to be scored, and samples that were scored.
        tokens: of the samples that count.
        baseline: mean score of other neurons' explanations on the same samples; None where there is none.
        baselines: how many explanations that mean is over.
        ceiling: the correlation of the best weighted sum of all objects; None where their boxes are not known.
    """

    score: float | None
    reason: str
    interval: tuple[float, float] | None
    interval_kind: IntervalKind | None
    planned: int
    counted: int
    tokens: int
    baseline: float | None = None
    baselines: int = 0
    ceiling: float | None = None


def correlation(truth: Values, prediction: Values) -> Correlation:
    """Pearson's correlation of two arrays of one size, in float64.

    Constants are found by comparing values. Their deviations from the mean need not be 0, as the mean is rounded.
    """
    x, y = (np.asarray(values, dtype=np.float64).ravel() for values in (truth, prediction))
    if x.size != y.size:
        raise ValueError(f"{x.size} true values, {y.size} predicted ones")
    if x.size == 0:
        return Correlation(None, "there are no tokens")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return Correlation(None, "a value is not finite")
    for values, what in ((x, "true"), (y, "predicted")):
        if values.min() == values.max():
            return Correlation(None, _constant(what, float(values[0])))
    a, b = _scaled(x), _scaled(y)
    r = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    return Correlation(min(1.0, max(-1.0, r)))


def _constant(what: str, value: float) -> str:
    return f"the {what} activation is {'0' if value == 0 else 'the same'} everywhere"


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations from the mean, scaled so that no square overflows or vanishes; ``values`` must not be constant.

    Powers of two scale without rounding, and the difference of near values is exact: small differences in the input
    remain.
    """
    shares = _below_one(values)
    shifted = _below_one(shares - shares[0])
    return _below_one(shifted - shifted.mean())


def _below_one(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``values`` times the power of two that brings the largest magnitude to at least a half and below 1."""
    _, exponent = np.frexp(np.abs(values).max())
    scaled: NDArray[np.float64] = np.ldexp(values, -int(exponent))
    return scaled


def pool(
    samples: Sequence[ScoredSample],
    group: ScoredGroup,
    planned: Mapping[ScoredGroup, int],
    *,
    interval: bool = True,
) -> Pooled:
    """The score over all tokens of ``samples`` that belong to ``group``.

    Args:
        samples: those that have a prediction, of both groups, in any order.
        planned: how many were to be scored: the top samples, the top and random ones together, and those of both that
            hold the concept.
    """
    used = of_group(samples, group)
    top, others = ([one for one in used if (one.rank is None) is random] for random in (False, True))
    random = group is ScoredGroup.TOP_AND_RANDOM
    wanted_top, wanted_others = planned[ScoredGroup.TOP], planned[ScoredGroup.TOP_AND_RANDOM] - planned[ScoredGroup.TOP]
    wanted = wanted_top + (wanted_others if random else 0)
    tokens = sum(one.truth.size for one in used)
    if group is ScoredGroup.CONCEPT:
        wanted = planned.get(group, 0)
        reason = _too_few("held-out", len(used), wanted, " with the concept")
        if 0 < wanted < LEAST_HOLDING:
            reason = f"{wanted} held-out samples hold the concept, fewer than {LEAST_HOLDING}"
    else:
        reason = _too_few("top", len(top), wanted_top)
    if random:
        reason = reason or _too_few("random", len(others), wanted_others)
    if reason:
        return Pooled(None, reason, None, None, wanted, len(used), tokens)
    found = correlation(*(_joined(used, name) for name in ("truth", "prediction")))
    ends: tuple[float, float] | None = None
    kind: IntervalKind | None = None
    if found.value is not None and interval:
        if len(used) >= INTERVAL_FROM:
            kind, ends = IntervalKind.JACKKNIFE, _jackknife(found.value, top, others)
        else:
            kind, ends = IntervalKind.RANGE, _range(used)
    return Pooled(found.value, found.reason, ends, kind if ends else None, wanted, len(used), tokens)


def of_group(samples: Sequence[ScoredSample], group: ScoredGroup) -> list[ScoredSample]:
    """The samples of a group: top ones by rank, then random ones by index."""
    ordered = sorted(samples, key=lambda one: (one.rank is None, one.rank or 0, one.sample))
    if group is ScoredGroup.TOP:
        return [one for one in ordered if one.rank is not None]
    return [one for one in ordered if one.holds or group is ScoredGroup.TOP_AND_RANDOM]


def _joined(samples: Sequence[ScoredSample], name: str) -> NDArray[np.float64]:
    parts = [np.asarray(getattr(one, name), dtype=np.float64).ravel() for one in samples]
    return np.concatenate(parts) if parts else np.empty(0)


def _too_few(what: str, counted: int, planned: int, more: str = "") -> str:
    """The reason why there are too few samples for a score; empty if there are enough."""
    if not planned:
        return f"there are no {what} samples{more} to score on"
    if counted < LEAST_SHARE * planned:
        return f"{counted} of {planned} {what} samples{more} could be scored, less than {LEAST_SHARE:.0%}"
    return ""


def _range(samples: Sequence[ScoredSample]) -> tuple[float, float] | None:
    found = [correlation(one.truth, one.prediction).value for one in samples]
    values = [value for value in found if value is not None]
    return (min(values), max(values)) if len(values) > 1 else None


def _jackknife(score: float, top: Sequence[ScoredSample], others: Sequence[ScoredSample]) -> tuple[float, float] | None:
    """The interval of the pooled correlation, from the correlations without one sample each.

    A sample's tokens are left out together, as they are not independent. The variance is that of Fisher's z, which is
    nearer to normal than the correlation: the sum over both strata (top and random samples) of ``(n - 1) / n`` times
    the squared deviations of z from their mean. The t quantile has Satterthwaite's degrees of freedom, so that a
    stratum of few samples makes a wide interval. A stratum of one sample is counted with the other.

    Source: Jones 1974, "Jackknife estimation of functions of stratum means", for the strata; Satterthwaite 1946, "An
    approximate distribution of estimates of variance components", for the degrees of freedom.

    Returns:
        None if one sample alone varies: without it there is no correlation.
    """
    used = [*top, *others]
    kept = 1 - np.eye(len(used))
    n, sx, sy, sxx, syy, sxy = (kept @ _sums(used)).T
    vx, vy, cxy = sxx - sx * sx / n, syy - sy * sy / n, sxy - sx * sy / n
    if not (_varies(used, "truth", kept) & _varies(used, "prediction", kept) & (vx > 0) & (vy > 0)).all():
        return None
    without = _fisher(cxy / np.sqrt(vx * vy))
    strata = [without[: len(top)], without[len(top) :]]
    if min(map(len, strata)) < 2:
        strata = [without]
    parts = [float((len(one) - 1) / len(one) * np.square(one - one.mean()).sum()) for one in strata]
    variance = sum(parts)
    if variance == 0:
        return score, score
    freedom = variance**2 / sum(part**2 / (len(one) - 1) for part, one in zip(parts, strata, strict=True))
    half = t_quantile(COVERAGE, freedom) * math.sqrt(variance)
    z = float(_fisher(np.array(score)))
    return math.tanh(z - half), math.tanh(z + half)


def _fisher(correlations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fisher's z, finite also for 1 and -1."""
    least = np.nextafter(1.0, 0.0)
    z: NDArray[np.float64] = np.arctanh(np.clip(correlations, -least, least))
    return z


def _sums(samples: Sequence[ScoredSample]) -> NDArray[np.float64]:
    """For each sample: tokens, and the sums of x, y, x², y² and xy; float64 (S, 6)."""
    ends = np.cumsum([0, *(one.truth.size for one in samples)])
    x, y = (_scaled(_joined(samples, name)) for name in ("truth", "prediction"))
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    return np.stack([terms[a:b].sum(axis=0) for a, b in pairwise(ends)])


def _varies(samples: Sequence[ScoredSample], name: str, counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each row of ``counts``, whether the values of its samples differ: exactly, by the least and the largest."""
    parts = [np.asarray(getattr(one, name), dtype=np.float64) for one in samples]
    low = np.array([part.min() if part.size else np.inf for part in parts])
    high = np.array([part.max() if part.size else -np.inf for part in parts])
    drawn = counts > 0
    found: NDArray[np.bool_] = np.where(drawn, low, np.inf).min(axis=1) < np.where(drawn, high, -np.inf).max(axis=1)
    return found
