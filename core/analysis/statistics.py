"""The paper's statistics of a scan: shares of the four labels by layer, of all neurons and of the high-confidence ones.

Source: arXiv 2502.18485, figures 5 (all neurons), 6 (high-confidence neurons) and 7 (several models). Fragile labels
(``firmness.py``) are counted as well, and so is the control (``control.py``) if there is one: without a control, shares
do not show what a model has learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.control import find_control
from vlmscope.core.base.demo import DEMO, demo_folder
from vlmscope.core.base.neuron import HookPoint, Poles, read_at
from vlmscope.core.method.labels import BoolArray, Label, Labels, Thresholds
from vlmscope.core.store.manifest import Progress
from vlmscope.core.store.reader import ScanStore

Counts = NDArray[np.int64]

Z = 1.959964  #: of the normal distribution, 2.5 % are above it

#: The message where a scan has no control.
NO_CONTROL = "No control to compare with: vlmscope scan --control SCAN makes one."


@dataclass(frozen=True)
class ScanStatistics:
    """Label counts of a scan, by layer. L layers; the four labels in their order.

    Attributes:
        name: of the scan's folder, or ``demo``.
        samples: scanned ones, without those skipped.
        neurons: of one layer.
        counts: int64 (L, 4), neurons of each label.
        high_confidence: int64 (L, 4), those of them whose label is high-confidence.
        fragile: int64 (L, 4), those of them whose label is fragile; None where that was not computed.
        seed: of a control's random weights; None for a scan.
        control: the control's statistics at the same thresholds, or None.
        progress: of an unfinished scan; None if it is whole.
    """

    name: str
    model: str
    hook: HookPoint
    samples: int
    neurons: int
    thresholds: Thresholds
    counts: Counts
    high_confidence: Counts
    fragile: Counts | None
    seed: int | None
    control: "ScanStatistics | None"
    progress: Progress | None = None
    poles: Poles = Poles.ONE

    @property
    def layers(self) -> int:
        return len(self.counts)

    @property
    def read_at(self) -> str:
        """Where activations are read, in words."""
        return read_at(self.hook, self.poles)

    @property
    def both(self) -> "tuple[ScanStatistics, ...]":
        """The scan, and its control if there is one."""
        return (self,) if self.control is None else (self, self.control)


def scan_statistics(store: ScanStore, labels: Labels, fragile: BoolArray | None = None) -> ScanStatistics:
    """The statistics of a scan and of its control.

    Args:
        labels: of all its neurons, at any thresholds; the control is labelled at the same.
        fragile: the fragile marks of these labels, bool (L, F), from ``vlmscope.core.analysis.firmness``.

    Raises:
        StoreError: if the control is damaged.
    """
    return replace(own_statistics(store, labels, fragile), control=control_statistics(store, labels.thresholds))


def own_statistics(store: ScanStore, labels: Labels, fragile: BoolArray | None = None) -> ScanStatistics:
    """The statistics of a scan alone, as if it had no control; arguments as in ``scan_statistics``."""
    manifest = store.manifest
    folder = store.folder.resolve()
    return ScanStatistics(
        name=DEMO if folder == (demo_folder() / "scan").resolve() else folder.name,
        model=manifest.model.name,
        hook=manifest.hook,
        poles=manifest.poles,
        samples=manifest.scanned,
        neurons=store.neurons,
        thresholds=labels.thresholds,
        counts=labels.counts(),
        high_confidence=count_labels(labels, labels.high_confidence),
        fragile=None if fragile is None else count_labels(labels, fragile),
        seed=None if manifest.control is None else manifest.control.seed,
        control=None,
        progress=manifest.progress,
    )


def control_statistics(store: ScanStore, thresholds: Thresholds) -> ScanStatistics | None:
    """The statistics of a scan's control, or None where it has none; its fragile labels are not counted.

    Raises:
        StoreError: if the control is damaged.
    """
    control = find_control(store)
    return None if control is None else own_statistics(control, labels_at(control, thresholds))


def labels_at(store: ScanStore, thresholds: Thresholds) -> Labels:
    """All labels; at the scan's own thresholds they come from its stored votes, which are faster to read."""
    return store.stored_labels() if thresholds == store.manifest.thresholds.value() else store.labels(thresholds)


def of_layer(counts: Counts, layer: int | None) -> Counts:
    """The counts of one layer, or of all together: int64 (4,) of (L, 4)."""
    row: Counts = counts.sum(axis=0) if layer is None else counts[layer]
    return row


def shares(counts: Counts, whole: Counts | None = None) -> NDArray[np.float64]:
    """Counts by label as shares of ``whole``, int64 (...), or of their sum: float64 (..., 4); nan where that is 0."""
    below = counts.sum(axis=-1, keepdims=True) if whole is None else whole[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = np.where(below > 0, counts / below, np.nan)
    return found


def share_intervals(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % intervals of the shares of ``counts`` by label, int64 (..., 4), as if neurons were independent draws.

    Source: Wilson, "Probable inference", 1927; for small numbers it covers better than mean and standard error.

    Returns:
        lower and upper end, float64 (..., 4); nan where the counts sum to 0.
    """
    whole = counts.sum(axis=-1, keepdims=True).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, square = shares(counts), Z * Z / np.where(whole > 0, whole, np.nan)
        middle = (share + square / 2) / (1 + square)
        half = np.sqrt(share * (1 - share) * square + square * square / 4) / (1 + square)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def named_apart(scans: Sequence[ScanStatistics], typed: Sequence[str]) -> list[ScanStatistics]:
    """The same statistics; where names are equal, what the user typed becomes the name."""
    names = [scan.name for scan in scans]
    return [
        scan if names.count(scan.name) == 1 else replace(scan, name=name)
        for scan, name in zip(scans, typed, strict=True)
    ]


def count_labels(labels: Labels, among: BoolArray) -> Counts:
    """Neurons of each label among those that are marked, by layer: int64 (L, 4)."""
    return np.stack([np.count_nonzero((labels.label == which) & among, axis=-1) for which in Label], axis=-1)
