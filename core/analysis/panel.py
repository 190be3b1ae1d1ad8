"""What a neuron does on the panel: samples across the range of its activations.

The panel (core/store/panel.py) was drawn before the scan, so that the neuron has not selected its samples. Top samples
alone hide what else a neuron responds to: they are the extreme end.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.panel import Panel
from vlmscope.core.store.reader import ScanStore

QUANTILES = (0.95, 0.75, 0.5, 0.25, 0.05)  #: of the panel, near which samples are shown
RANDOM = 5  #: samples shown besides, drawn at random


class Drawn(StrEnum):
    """How a sample across the range was chosen."""

    QUANTILE = "quantile"
    RANDOM = "random"


@dataclass(frozen=True, eq=False)
class NeuronPanel:
    """One neuron on the panel's P samples.

    Attributes:
        samples: int32 (P,), indices in the data, ascending.
        visual, text: float32 (P,), the largest activation over each one's visual and text tokens; -inf without any.
        listed: bool (P,), which of them are among the neuron's top samples.
    """

    neuron: Neuron
    samples: NDArray[np.int32]
    visual: NDArray[np.float32]
    text: NDArray[np.float32]
    listed: NDArray[np.bool_]

    @property
    def activation(self) -> NDArray[np.float32]:
        """The largest over both kinds, float32 (P,): by which samples are ranked."""
        return np.maximum(self.visual, self.text)

    @cached_property
    def place(self) -> NDArray[np.float64]:
        """The share of the panel's samples that activate the neuron less, ties by half: float64 (P,), 0 to 1.

        With one sample it is 0.5. Source: mid-ranks, as in the test of Mann and Whitney (1947).
        """
        ordered = np.sort(self.activation)
        less, most = (np.searchsorted(ordered, self.activation, side) for side in ("left", "right"))
        return np.asarray((less + most) / 2 / max(len(ordered), 1), dtype=np.float64)


@dataclass(frozen=True)
class RangeSample:
    """A panel sample that is not among the neuron's top samples.

    Attributes:
        sample: its index in the data.
        place: the share of the panel's samples that activate the neuron less, ties by half.
        drawn: why it is shown. quantile: the one that it stands for; None where it was drawn at random.
        visual, text: the largest activations, rounded to bfloat16; -inf without any such token.
    """

    sample: int
    place: float
    drawn: Drawn
    quantile: float | None
    visual: float
    text: float

    @property
    def activation(self) -> float:
        """The largest over both kinds."""
        return max(self.visual, self.text)


def neuron_panel(store: ScanStore, panel: Panel, neuron: Neuron) -> NeuronPanel:
    """One neuron on the panel.

    Raises:
        UsageError: if the neuron is outside the model.
        StoreError: if its top samples are damaged.
    """
    store.numbering.checked(neuron)
    at = (neuron.layer, neuron.index)
    listed = np.isin(panel.samples, store.top_samples(neuron))
    return NeuronPanel(neuron, panel.samples, panel.visual(at), panel.text(at), listed)


def across_range(store: ScanStore, panel: Panel, neuron: Neuron) -> tuple[RangeSample, ...]:
    """Panel samples at quantiles, the strongest first, then random ones by index; each once, no top sample.

    At each quantile it is the sample whose place is nearest; of equally near ones the lower index. The random ones are
    drawn by the scan's identity and the address: the same on every machine. There are fewer where the panel is small.

    Raises: as ``neuron_panel``.
    """
    found = neuron_panel(store, panel, neuron)
    left = np.flatnonzero(~found.listed)
    chosen: list[RangeSample] = []

    def take(column: int, drawn: Drawn, quantile: float | None) -> None:
        chosen.append(
            RangeSample(
                sample=int(found.samples[column]),
                place=float(found.place[column]),
                drawn=drawn,
                quantile=quantile,
                visual=float(found.visual[column]),
                text=float(found.text[column]),
            )
        )

    for quantile in QUANTILES:
        if len(left):
            at = int(np.abs(found.place[left] - quantile).argmin())
            take(int(left[at]), Drawn.QUANTILE, quantile)
            left = np.delete(left, at)

    def draw(column: int) -> bytes:
        return sha256(f"range {store.manifest.scan_id} {neuron} {found.samples[column]}".encode()).digest()

    for column in sorted(sorted(left.tolist(), key=draw)[:RANDOM]):
        take(column, Drawn.RANDOM, None)
    return tuple(chosen)
