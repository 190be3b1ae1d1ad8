"""Labels from order statistics: visual, text, multimodal or unknown (method.md, "Labels").

Source: arXiv 2502.18485. A sample is visual-activated when at least ``n_v`` of its visual tokens have
``norm > T_v``; because ``norm = clip(10 * a / gmax, 0, 10)``, that holds exactly when the ``n_v``-th largest visual
activation does. So the stored order statistics suffice. Pure numpy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron

VISUAL_KEPT = 8  #: largest visual activations kept with each top-N entry
TEXT_KEPT = 4  #: largest text activations kept with each top-N entry

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
CountArray = NDArray[np.uint16]
LabelWord = Literal["visual", "text", "multimodal", "unknown"]
_WORDS: tuple[LabelWord, ...] = get_args(LabelWord)


class Label(IntEnum):
    """A vote or a label. The order decides ties: on equality the first wins (method.md)."""

    VISUAL = 0
    TEXT = 1
    MULTIMODAL = 2
    UNKNOWN = 3

    @property
    def word(self) -> LabelWord:
        return _WORDS[self]

    @property
    def letter(self) -> str:
        return "VTM·"[self]


#: Safe for colour-blind eyes (Okabe and Ito, 2008): wherever there is a colour, the letter beside it means the same.
COLOURS = {Label.VISUAL: "#56B4E9", Label.TEXT: "#E69F00", Label.MULTIMODAL: "#009E73", Label.UNKNOWN: "#888888"}


@dataclass(frozen=True)
class Thresholds:
    """The method's four thresholds and the share above which a label counts as high-confidence.

    Raises:
        UsageError: if a value is not a number or is outside its range.
    """

    T_v: float = 2.0
    n_v: int = 4
    T_t: float = 3.0
    n_t: int = 2
    high_confidence: float = 0.8

    def __post_init__(self) -> None:
        for name, value, top in (
            ("Tv", self.T_v, 10.0),
            ("Tt", self.T_t, 10.0),
            ("high-confidence", self.high_confidence, 1.0),
        ):
            if not math.isfinite(value) or not 0 <= value <= top:
                raise UsageError(f"{name} is {value}, not a number from 0 to {top:g}.", "Defaults: Tv 2, Tt 3, 0.8.")
        for name, count, kept in (("nv", self.n_v, VISUAL_KEPT), ("nt", self.n_t, TEXT_KEPT)):
            if not 1 <= count <= kept:
                raise UsageError(
                    f"{name} is {count}, not a whole number from 1 to {kept}.",
                    f"A scan keeps the {kept} largest activations of that kind. Defaults: nv 4, nt 2.",
                )


def cutoff(maximum: FloatArray, threshold: float) -> FloatArray:
    """The largest float32 ``c`` for which ``float64(c) * 10 > T * gmax`` is false, so that ``a > c`` is the predicate.

    It lets millions of activations be compared as float32, exactly as the float64 predicate of method.md would.

    Args:
        maximum: gmax of each neuron, float32, any shape.
        threshold: T, 0 to 10.

    Returns:
        float32 of the same shape; +inf where ``gmax <= 0`` (nothing is above a threshold there).
    """
    bound = np.float64(threshold) * maximum.astype(np.float64)
    guess = (bound / 10).astype(np.float32)  # within one step of the answer: rounding is monotone
    too_high = guess.astype(np.float64) * 10 > bound
    guess = np.where(too_high, np.nextafter(guess, np.float32(-np.inf)), guess)
    higher = np.nextafter(guess, np.float32(np.inf))
    guess = np.where(higher.astype(np.float64) * 10 > bound, guess, higher)
    return np.where(maximum > 0, guess, np.float32(np.inf)).astype(np.float32)


@dataclass(frozen=True)
class Labels:
    """The labels of a set of neurons.

    Attributes:
        votes: uint16 (..., 4), how many of the top samples are visual, text, multimodal, unknown.
        valid: how many top samples each neuron has, min(N, samples).
        label: uint8 (...), a ``Label``.
        high_confidence: bool (...), whether the largest fraction exceeds ``thresholds.high_confidence``.
        thresholds: what they were computed with.
    """

    votes: CountArray
    valid: int
    label: NDArray[np.uint8]
    high_confidence: BoolArray
    thresholds: Thresholds

    @classmethod
    def from_votes(cls, votes: CountArray, valid: int, thresholds: Thresholds) -> "Labels":
        # One pass per class is several times faster than argmax over an axis of four. Ties: the first wins.
        best = votes[..., 0].copy()
        label = np.zeros(best.shape, dtype=np.uint8)
        for which in (Label.TEXT, Label.MULTIMODAL, Label.UNKNOWN):
            better = votes[..., which] > best
            label[better] = which
            np.maximum(best, votes[..., which], out=best)
        high_confidence = best.astype(np.float64) / max(valid, 1) > thresholds.high_confidence
        return cls(votes, valid, label, high_confidence, thresholds)

    @property
    def fractions(self) -> NDArray[np.float64]:
        """p_v, p_t, p_m, p_u: float64 (..., 4); 0 where there are no samples."""
        return self.votes / max(self.valid, 1)

    def of(self, neuron: Neuron) -> Label:
        """One neuron's label, of labels of shape (L, F)."""
        return Label(int(self.label[neuron.layer, neuron.index]))

    def counts(self) -> NDArray[np.int64]:
        """Neurons of each label, by the first axis: int64 (L, 4) for labels of shape (L, F)."""
        return np.stack([np.count_nonzero(self.label == which, axis=-1) for which in Label], axis=-1)


def sample_votes(
    visual: FloatArray, text: FloatArray, maximum: FloatArray, thresholds: Thresholds
) -> NDArray[np.uint8]:
    """Each sample's own vote.

    Args:
        visual: the n_v-th largest visual activation of each top sample, float32 (..., N); -inf where it has none.
        text: the n_t-th largest text activation, of the same shape and filling.
        maximum: gmax of each neuron, float32 (...).

    Returns:
        uint8 (..., N), a ``Label`` each.
    """
    above_v = visual > cutoff(maximum, thresholds.T_v)[..., None]
    above_t = text > cutoff(maximum, thresholds.T_t)[..., None]
    vote = np.full(above_v.shape, Label.UNKNOWN, dtype=np.uint8)
    vote[above_t] = Label.TEXT
    vote[above_v] = Label.VISUAL
    vote[above_v & above_t] = Label.MULTIMODAL
    return vote


def label_neurons(
    visual: FloatArray, text: FloatArray, maximum: FloatArray, valid: int, thresholds: Thresholds
) -> Labels:
    """Votes, fractions and labels of many neurons.

    Arguments as in ``sample_votes``; the first ``valid`` of the N entries count.
    """
    above_v = visual[..., :valid] > cutoff(maximum, thresholds.T_v)[..., None]
    above_t = text[..., :valid] > cutoff(maximum, thresholds.T_t)[..., None]

    def count(mask: BoolArray) -> CountArray:
        # einsum sums bytes with SIMD: five times faster than count_nonzero over a short last axis.
        total: CountArray = np.einsum("...n->...", mask.view(np.uint8), dtype=np.uint8 if valid < 256 else np.uint16)
        return total.astype(np.uint16)

    both = count(above_v & above_t)
    only_v = count(above_v) - both
    only_t = count(above_t) - both
    unknown = (valid - both.astype(np.int64) - only_v - only_t).astype(np.uint16)
    return Labels.from_votes(np.stack([only_v, only_t, both, unknown], axis=-1), valid, thresholds)


def bar_cells(counts: Sequence[int], width: int) -> list[int]:
    """Cells for each part of a bar, ``width`` in all; a part that is there gets one at least, if that fits."""
    whole = sum(counts)
    if not whole:
        return [0] * len(counts)
    exact = [count * width / whole for count in counts]
    cells = [int(share) for share in exact]
    for which in sorted(range(len(counts)), key=lambda i: cells[i] - exact[i])[: width - sum(cells)]:
        cells[which] += 1
    for which, count in enumerate(counts):
        largest = max(range(len(counts)), key=cells.__getitem__)
        if count and not cells[which] and cells[largest] > 2:
            cells[which] += 1
            cells[largest] -= 1
    return cells
