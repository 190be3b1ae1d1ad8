"""Modality preference: which side of panel samples makes a neuron fire, beside its label.

A label rests on four thresholds and on samples that the neuron has selected, and a test that finds no difference is not
evidence of multimodal. Here panel samples count, which the neuron has not selected, and both sides of a sample are held
against one norm: the largest of its visual tokens and the largest of its text tokens. A sample is one pair, however
many tokens it has: tokens of one image are not independent.

- visual, or text: the exact test of McNemar (1947) on the samples that pass by one side alone.
- multimodal: the rates of both sides are within a factor of each other, by two one-sided tests.
- undecided: neither is shown, or the neuron fires too rarely.

Both at a false discovery rate of 5 % over all neurons (Benjamini and Hochberg 1995).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.firmness import sign_test
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.bfloat16 import NO_TOKEN
from vlmscope.core.method.labels import cutoff
from vlmscope.core.method.paired_rates import equivalence_p, ratio_interval
from vlmscope.core.method.rank_test import q_array
from vlmscope.core.store.panel import Panel
from vlmscope.core.store.reader import ScanStore

NORM = 2.0  #: that a side must pass; the same for both
FACTOR = 1.25  #: rates within it are equivalent; the convention for two medicines
LEAST = 10  #: samples that pass by a side; a neuron with fewer is undecided
FALSE_DISCOVERIES = 0.05


class Preference(IntEnum):
    """Which side a neuron prefers."""

    VISUAL = 0
    TEXT = 1
    MULTIMODAL = 2
    UNDECIDED = 3

    @property
    def word(self) -> str:
        return self.name.lower()

    @property
    def letter(self) -> str:
        return "VTM?"[self]


@dataclass(frozen=True)
class NeuronPreference:
    """One neuron's: counts of panel samples, ``pairs`` in all.

    Attributes:
        visual_only, text_only, both, neither: how many pass by which side.
        ratio: of the visual rate to the text rate; None where no sample passes by the text side.
        interval: of the ratio, 90 %, by sample; its upper end is infinite where no text side passes.
        p, q: of the test that the sides differ. equivalence_p, equivalence_q: that their rates are within ``FACTOR``.
    """

    preference: Preference
    visual_only: int
    text_only: int
    both: int
    neither: int
    ratio: float | None
    interval: tuple[float, float]
    p: float
    q: float
    equivalence_p: float
    equivalence_q: float


@dataclass(frozen=True, eq=False)
class Preferences:
    """The modality preferences of all neurons; arrays (L, F).

    Attributes:
        norm: that a side must pass.
        pairs: panel samples that have both visual and text tokens.
        preference: uint8, a ``Preference``.
        visual_only, text_only, both: int32, samples.
        low, high: float64, the 90 % interval of the ratio of the visual rate to the text rate.
        p, q, equivalence_p, equivalence_q: float64.
    """

    norm: float
    pairs: int
    preference: NDArray[np.uint8]
    visual_only: NDArray[np.int32]
    text_only: NDArray[np.int32]
    both: NDArray[np.int32]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]
    q: NDArray[np.float64]
    equivalence_p: NDArray[np.float64]
    equivalence_q: NDArray[np.float64]

    def counts(self) -> NDArray[np.int64]:
        """Neurons of each preference, by layer: int64 (L, 4)."""
        return np.stack([np.count_nonzero(self.preference == which, axis=-1) for which in Preference], axis=-1)

    def of(self, neuron: Neuron) -> NeuronPreference:
        at = (neuron.layer, neuron.index)
        visual, text, both = (int(counts[at]) for counts in (self.visual_only, self.text_only, self.both))
        return NeuronPreference(
            preference=Preference(int(self.preference[at])),
            visual_only=visual,
            text_only=text,
            both=both,
            neither=self.pairs - visual - text - both,
            ratio=(visual + both) / (text + both) if text + both else None,
            interval=(float(self.low[at]), float(self.high[at])),
            p=float(self.p[at]),
            q=float(self.q[at]),
            equivalence_p=float(self.equivalence_p[at]),
            equivalence_q=float(self.equivalence_q[at]),
        )


def preferences(store: ScanStore, panel: Panel, norm: float = NORM) -> Preferences:
    """The modality preference of every neuron: 352,256 neurons on 256 samples take about a second.

    Args:
        norm: that a side must pass, 0 to 10.

    Raises:
        UsageError: if the norm is not from 0 to 10.
    """
    if not 0 <= norm <= 10:
        raise UsageError(f"--norm is {norm:g}, not a number from 0 to 10.", f"Default: {NORM:g}.")
    visual, text, both, pairs = _table(store, panel, norm)
    # All follows from three counts, and many neurons have the same: each table is computed once.
    width = pairs + 1
    tables, places = np.unique((visual.astype(np.int64) * width + text) * width + both, return_inverse=True)
    rest, xy = np.divmod(tables, width)
    x, y = np.divmod(rest, width)
    p = np.array([sign_test(a + b)[min(a, b)] for a, b in zip(x.tolist(), y.tolist(), strict=True)], dtype=np.float64)
    counts = x.astype(np.float64), y.astype(np.float64), xy.astype(np.float64)
    low, high = ratio_interval(*counts)
    equivalent = equivalence_p(counts[0], counts[1], counts[2], FACTOR)
    each = [values[places.reshape(visual.shape)] for values in (p, equivalent, low, high)]
    of_all = [q_array(values) for values in each[:2]]
    return Preferences(
        norm=norm,
        pairs=pairs,
        preference=_decided(visual, text, both, *of_all),
        visual_only=visual,
        text_only=text,
        both=both,
        low=each[2],
        high=each[3],
        p=each[0],
        q=of_all[0],
        equivalence_p=each[1],
        equivalence_q=of_all[1],
    )


def _decided(
    visual: NDArray[np.int32],
    text: NDArray[np.int32],
    both: NDArray[np.int32],
    q: NDArray[np.float64],
    equivalence_q: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """The preferences. Where rates differ, but are within the factor, the neuron is multimodal."""
    found = np.full(visual.shape, Preference.UNDECIDED, dtype=np.uint8)
    fires = visual + text + both >= LEAST
    differs = fires & (q <= FALSE_DISCOVERIES)
    found[differs & (visual > text)] = Preference.VISUAL
    found[differs & (visual < text)] = Preference.TEXT
    found[fires & (equivalence_q <= FALSE_DISCOVERIES)] = Preference.MULTIMODAL
    return found


def _table(
    store: ScanStore, panel: Panel, norm: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], int]:
    """Panel samples that pass by the visual side alone, by text alone, by both: int32 (L, F) each; and the pairs."""
    columns = np.arange(panel.drawn)[panel.columns]
    if store.layers * store.neurons:  # a sample without visual or text tokens has none for any neuron
        there = [array[0, 0, columns] != NO_TOKEN for array in panel.stored]
        columns = columns[there[0] & there[1]]
    counts = np.empty((3, store.layers, store.neurons), dtype=np.int32)
    for layer in range(store.layers):
        # Of bfloat16, a value is above a float32 that is not negative where its bits are above that one's upper 16.
        bits = (cutoff(np.asarray(store.maximum[layer]), norm).view(np.int32) >> 16).astype(np.int16)[:, None]
        visual, text = (array[layer].view(np.int16)[:, columns] > bits for array in panel.stored)
        for which, passes in enumerate((visual & ~text, text & ~visual, visual & text)):
            counts[which, layer] = np.count_nonzero(passes, axis=1)
    return counts[0], counts[1], counts[2], len(columns)
