"""How firm a label is: its margin, a sign test, an interval of the leading share, and whether it is fragile.

A label is the argmax over some 50 votes. The argmax alone hides how close the vote was, and the four thresholds are
arbitrary. The numbers here describe the vote. They are not a test of significance, which would need independent draws:
the votes are those of a neuron's *top* samples, selected by its own activation, and the tokens behind a sample's vote
belong to one image. (For the same reason a permutation test over tokens gives far too small p-values.) A small p of
the sign test means that the vote was not close, and nothing more.

Formulas, for a label with ``a`` votes, the second most frequent class with ``b``, out of ``n`` valid top samples:

- margin: (a - b) / n.
- sign test: two-sided and exact, of a against b. Votes for the two other classes are left out, as a sign test leaves
  out ties (Dixon and Mood, 1946): ``min(1, 2 * P(X <= b))`` with X binomial(a + b, 1/2). The second class is the
  largest of three, chosen after the vote, so p is too large rather than too small.
- interval: the 95 % interval of a / n by Clopper and Pearson (1934): the shares p at which P(X >= a) = 0.025 and
  P(X <= a) = 0.025, X binomial(n, p); 0 below a = 0 and 1 above a = n.
- fragile: the label changes when T_v or T_t alone moves by 10 % up or down, clipped to 0..10. A label is also fragile
  if the leading class has no more votes than the second: then the order of the classes decided (method.md). A threshold
  of 0 cannot move, one of 10 only down. n_v and n_t do not move: they are whole numbers, of which a scan keeps at most
  8 and 4, and 10 % of 8 is less than one.

Without valid samples (n = 0) the margin is 0, p is 1, the interval is 0 to 1, and the label, a tie, is fragile. With
one vote p is 1. A neuron whose maximum is not positive votes unknown at any threshold, so its label is not fragile.
Pure numpy.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import BoolArray, CountArray, FloatArray, Labels, Thresholds, label_neurons
from vlmscope.core.store.reader import ScanStore

STEP = 0.1  #: by how much a threshold moves, as a share of itself
TAIL = 0.025  #: probability that the 95 % interval leaves out on either side
_BISECTIONS = 60  #: halvings of [0, 1]: below float64's resolution of a share

_Where = tuple[int | slice, slice]  #: layers and neurons, as an array's first two indices


@dataclass(frozen=True)
class NeuronFirmness:
    """How firm one neuron's label is; shares from 0 to 1. ``share`` is the leading class's, None without samples."""

    share: float | None
    margin: float
    sign_p: float
    low: float
    high: float
    fragile: bool


@dataclass(frozen=True)
class Firmness:
    """How firm the labels of a set of neurons are; all arrays of the labels' shape, (L, F) for a whole scan.

    Attributes:
        share: float32, the leading class's share of the valid top samples; nan without samples.
        margin: float32, the leading share minus the second's.
        sign_p: float32, the sign test's two-sided p; 0 stands for anything below 1e-45.
        low, high: float32, the 95 % interval of the leading share.
        fragile: bool, whether a threshold's move by 10 % changes the label, or it is a tie.
    """

    share: FloatArray
    margin: FloatArray
    sign_p: FloatArray
    low: FloatArray
    high: FloatArray
    fragile: BoolArray

    def of(self, neuron: Neuron) -> NeuronFirmness:
        """One neuron of a whole scan."""
        at = (neuron.layer, neuron.index)
        share, margin, p, low, high = (
            float(column[at]) for column in (self.share, self.margin, self.sign_p, self.low, self.high)
        )
        return NeuronFirmness(None if math.isnan(share) else share, margin, p, low, high, bool(self.fragile[at]))


def firmness(store: ScanStore, labels: Labels) -> Firmness:
    """How firm the scan's labels are.

    Args:
        labels: of all its neurons, at any thresholds.
    """
    return _of_votes(labels, fragile(store, labels))


def neuron_firmness(store: ScanStore, neuron: Neuron, thresholds: Thresholds) -> NeuronFirmness:
    """How firm one neuron's label is, without reading the others."""
    at = (slice(neuron.layer, neuron.layer + 1), slice(neuron.index, neuron.index + 1))
    labels = _relabelled(store, at, thresholds)
    return _of_votes(labels, _fragile_at(store, at, labels)).of(Neuron(0, 0))


def fragile(store: ScanStore, labels: Labels) -> BoolArray:
    """The fragile marks alone: bool (L, F).

    Args:
        labels: of all the scan's neurons, at any thresholds.
    """
    found = np.empty(labels.label.shape, dtype=np.bool_)
    for layer in range(store.layers):  # layer by layer: intermediate arrays take a few MB, not hundreds
        part = replace(labels, votes=labels.votes[layer], label=labels.label[layer])
        found[layer] = _fragile_at(store, (layer, slice(None)), part)
    return found


def moved(thresholds: Thresholds) -> tuple[Thresholds, ...]:
    """These thresholds with T_v or T_t moved by 10 % down or up, within 0..10, for each move that changes them."""
    T_v, T_t = thresholds.T_v, thresholds.T_t
    others = [replace(thresholds, T_v=min(T_v * (1 + step), 10.0)) for step in (-STEP, STEP)]
    others += [replace(thresholds, T_t=min(T_t * (1 + step), 10.0)) for step in (-STEP, STEP)]
    return tuple(other for other in others if other != thresholds)


@lru_cache(maxsize=256)
def sign_test(total: int) -> NDArray[np.float64]:
    """The two-sided sign test's p for b of ``total`` votes in the smaller class: float64 (total // 2 + 1,), by b."""
    smaller = np.arange(total // 2 + 1)
    tails = np.cumsum(np.exp(_log_choose(total)[smaller] - total * math.log(2)))
    found: NDArray[np.float64] = np.minimum(2 * tails, 1.0)
    return found


@lru_cache(maxsize=16384)
def interval(votes: int, valid: int) -> tuple[float, float]:
    """The 95 % interval of ``votes / valid`` by Clopper and Pearson, by bisection; (0, 1) where ``valid`` is 0."""
    return _lower_end(votes, valid), 1 - _lower_end(valid - votes, valid)


def _lower_end(votes: int, valid: int) -> float:
    """The p at which P(X >= votes) = TAIL, X binomial(valid, p); 0 for no votes."""
    if votes == 0:
        return 0.0
    k = np.arange(votes, valid + 1)
    log_choose = _log_choose(valid)[votes:]
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        p = (low + high) / 2
        if p == 1.0:
            break
        tail = np.exp(log_choose + k * math.log(p) + (valid - k) * math.log1p(-p)).sum()
        low, high = (p, high) if tail < TAIL else (low, p)
    return low


@lru_cache(maxsize=256)
def _log_choose(n: int) -> NDArray[np.float64]:
    """ln C(n, k) for k = 0..n: fits a float for any n, with a relative error of C of 1e-13 at n = 50."""
    factorials = np.array([math.lgamma(k + 1) for k in range(n + 1)])
    found: NDArray[np.float64] = factorials[n] - factorials - factorials[::-1]
    return found


def _of_votes(labels: Labels, marks: BoolArray) -> Firmness:
    """The numbers that follow from the votes, with the fragile marks; each distinct vote is computed once."""
    valid = labels.valid
    first, second = _leaders(labels.votes)
    share = first / np.float32(valid) if valid else np.full(first.shape, np.nan, dtype=np.float32)
    leading = np.flatnonzero(np.bincount(first.ravel(), minlength=valid + 1))
    ends = np.empty((2, valid + 1), dtype=np.float32)
    for votes in leading.tolist():
        ends[:, votes] = interval(votes, valid)
    # p depends on total and second only: it is computed once for each pair that occurs.
    pairs, places = np.unique((first + second) * (valid + 1) + second, return_inverse=True)
    by_pair = [sign_test(total)[smaller] for total, smaller in (divmod(pair, valid + 1) for pair in pairs.tolist())]
    return Firmness(
        share=share.astype(np.float32),
        margin=((first - second) / np.float32(max(valid, 1))).astype(np.float32),
        sign_p=np.array(by_pair, dtype=np.float32)[places.reshape(first.shape)],
        low=ends[0][first],
        high=ends[1][first],
        fragile=marks,
    )


def _leaders(votes: CountArray) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The most and the second most votes of each neuron: int32 (...). Comparing pairs is faster than a sort of four."""
    v, t, m, u = (np.ascontiguousarray(votes[..., which], dtype=np.int32) for which in range(4))
    high, other = np.maximum(v, t), np.maximum(m, u)
    return np.maximum(high, other), np.maximum(np.minimum(high, other), np.maximum(np.minimum(v, t), np.minimum(m, u)))


def _fragile_at(store: ScanStore, at: _Where, labels: Labels) -> BoolArray:
    first, second = _leaders(labels.votes)
    marks: BoolArray = first == second
    for thresholds in moved(labels.thresholds):
        marks |= _relabelled(store, at, thresholds).label != labels.label
    return marks


def _relabelled(store: ScanStore, at: _Where, thresholds: Thresholds) -> Labels:
    return label_neurons(
        store.arrays["top_visual"][(thresholds.n_v - 1, *at)],
        store.arrays["top_text"][(thresholds.n_t - 1, *at)],
        store.maximum[at],
        store.valid,
        thresholds,
    )
