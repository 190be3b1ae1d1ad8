"""Which samples a judge is shown: some that activate the neuron, from its top and from the panel, and some that do not.

None is shown that the explanation was written from.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.panel import neuron_panel
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.method.norm import norm
from vlmscope.core.scoring.held_out import seed_of
from vlmscope.core.store.reader import ScanStore

RANKS = range(2, 47, 6)  #: of the top samples, from 1: across the list, and held out as all even ones
PANEL_ACTIVE, SILENT = 4, 10  #: samples of the panel, at most
ACTIVE_NORM = 5.0  #: a panel sample from here on activates: half of the neuron's maximum
SILENT_PLACE = 0.5  #: the panel's lower half does not activate
LEAST = 5  #: samples of either group that a score needs


@dataclass(frozen=True)
class ShownSample:
    """A sample to judge.

    Attributes:
        sample: its index in the data. rank: among the top samples, from 1; None for one of the panel.
        place: the share of the panel's samples that activate the neuron less; None for a top sample.
        norm: its activation, 0 to 10.
        activates: the truth; in fuzzing, whether the marked patches are the neuron's. There ``norm`` is the largest
            activation on them.
    """

    sample: int
    rank: int | None
    place: float | None
    norm: float
    activates: bool


@dataclass(frozen=True, eq=False)
class Question:
    """What a judge is asked about.

    Attributes:
        mask: bool (rows, columns), the patches that are marked; None for none.
        other: the neuron whose patches these are, where it is another one.
    """

    shown: ShownSample
    mask: NDArray[np.bool_] | None = None
    other: str | None = None


def detection_samples(
    store: ScanStore, neuron: Neuron, label: Label, written_from: Collection[int], what: str = "Detection"
) -> tuple[ShownSample, ...]:
    """Top samples of eight even ranks, up to four panel samples of half the maximum and more, ten silent panel samples.

    The activation is that of the tokens that the label names: a visual neuron's over visual tokens, a text neuron's
    over text tokens, else the largest of both. A top sample that activates the neuron no more than a silent one is left
    out. Silent samples are drawn by the scan's identity and the address.

    Args:
        what: needs the panel, for a message.

    Raises:
        StoreError: if the scan has no panel, or is damaged.
    """
    found = neuron_panel(store, store.panel_for(what), neuron)
    maximum = float(store.maximum[neuron.layer, neuron.index])
    activation = {Label.VISUAL: found.visual, Label.TEXT: found.text}.get(label, found.activation)
    place = _places(activation)
    usable = ~found.listed & ~np.isin(found.samples, list(written_from)) & np.isfinite(activation)
    norms = norm(activation, maximum)

    low = np.flatnonzero(usable & (place <= SILENT_PLACE))
    drawn = np.random.default_rng(seed_of(store.manifest.scan_id, neuron, "silent")).permutation(len(low))[:SILENT]
    silent = np.sort(low[drawn])
    most = float(activation[silent].max()) if len(silent) else 0.0
    high = np.flatnonzero(usable & (norms >= ACTIVE_NORM) & (activation > most))
    high = high[np.argsort(-activation[high], kind="stable")]
    spread = np.unique(np.linspace(0, len(high) - 1, PANEL_ACTIVE).round().astype(int)) if len(high) else high

    def of_panel(column: int, *, activates: bool) -> ShownSample:
        return ShownSample(
            int(found.samples[column]), None, float(place[column]), float(norms[column]), activates=activates
        )

    top_activation, top = _of_top(store, neuron, label), store.top_samples(neuron)
    top_norms = norm(top_activation, maximum)
    ranked = [
        ShownSample(top[rank - 1], rank, None, float(top_norms[rank - 1]), activates=True)
        for rank in RANKS
        if rank <= len(top) and top[rank - 1] not in written_from and top_activation[rank - 1] > max(most, 0.0)
    ]
    return (
        *ranked,
        *(of_panel(int(high[one]), activates=True) for one in spread),
        *(of_panel(column, activates=False) for column in silent.tolist()),
    )


def activations_of_top(store: ScanStore, neuron: Neuron, label: Label) -> NDArray[np.float32]:
    """The norms of the top samples' activations by the tokens that the label names, best first: float32 (valid,)."""
    maximum = float(store.maximum[neuron.layer, neuron.index])
    return norm(_of_top(store, neuron, label), maximum)[: store.valid]


def _of_top(store: ScanStore, neuron: Neuron, label: Label) -> NDArray[np.float32]:
    largest = [np.array(store.arrays[name][0, neuron.layer, neuron.index]) for name in ("top_visual", "top_text")]
    found: NDArray[np.float32] = {Label.VISUAL: largest[0], Label.TEXT: largest[1]}.get(label, np.maximum(*largest))
    return found


def too_few(samples: Collection[ShownSample]) -> str:
    """Why these samples cannot be judged; empty if they can."""
    active = sum(one.activates for one in samples)
    for count, what in ((active, "activate it"), (len(samples) - active, "do not activate it")):
        if count < LEAST:
            return f"{count} of its samples {what}, of which a judge needs {LEAST}"
    return ""


def _places(activation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of the panel that is below each of these activations, ties by half: float64 (P,)."""
    ordered = np.sort(activation)
    less, most = (np.searchsorted(ordered, activation, side) for side in ("left", "right"))
    return np.asarray((less + most) / 2 / max(len(ordered), 1), dtype=np.float64)
