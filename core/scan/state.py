"""The running state of a scan on the model's device, and its conversion to and from the arrays of a store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.errors import SamplesError
from vlmscope.core.method.distribution import BINS
from vlmscope.core.method.labels import label_neurons
from vlmscope.core.scan.panel import PanelState
from vlmscope.core.scan.top_samples import EMPTY, Pending, TopMaps, TopSamples, key_sample, merge_pending, order_key
from vlmscope.core.store.arrays import NO_PEAK, SMALL_TEXT, SMALL_VISUAL, layer_shapes, layers_of
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.reader import ScanStore


@dataclass
class Totals:
    """Sums over all tokens of a kind (0 visual, 1 text), and maxima.

    Attributes:
        maximum: float32 (L, F), over all tokens. content_maximum: float32 (L, F), over visual and text tokens.
        sums: float64 (2, 2, L, F), by kind: of the activation and of its square.
        histogram: int64 (2, L, F, 32). tokens: how many of each kind.
    """

    maximum: Tensor
    content_maximum: Tensor
    sums: Tensor
    histogram: Tensor
    tokens: list[int] = field(default_factory=lambda: [0, 0])


class ScanState:
    """The running state of a scan, or of some of its layers, on one device."""

    def __init__(
        self, manifest: Manifest, pending: int, device: torch.device | str = "cpu", layers: int | None = None
    ) -> None:
        """Make an empty state.

        Args:
            manifest: of the scan; has the sizes.
            pending: samples gathered before each merge into the top N; at least one batch.
            layers: how many; None for all.
        """
        size = (manifest.model.layers if layers is None else layers, manifest.neurons)
        self.top = TopSamples.empty(*size, manifest.top_n, device)
        values = (manifest.visual_tokens_max, manifest.text_tokens_max)
        self.maps = TopMaps.empty(*size, manifest.maps, *values, device)
        shapes = layer_shapes(manifest)
        cells, words = (shapes[name][1][-1] if name in shapes else 0 for name in (SMALL_VISUAL, SMALL_TEXT))
        self.small = TopMaps.empty(*size, manifest.small_kept, cells, words, device)
        self.totals = Totals(
            torch.full(size, -torch.inf, device=device),
            torch.full(size, -torch.inf, device=device),
            torch.zeros((2, 2, *size), dtype=torch.float64, device=device),
            torch.zeros((2, *size, BINS), dtype=torch.int64, device=device),
        )
        self.panel = PanelState(manifest, size[0], device)
        self.pending = Pending.empty(size[0], pending, size[1], device)
        self.waiting = 0
        self.poles = manifest.poles  #: BOTH: activations come once for each unit, and count twice
        self.map_cells = manifest.map_cells  #: rows and columns that maps are pooled to, or None
        self.small_cells = None if manifest.small is None else manifest.small.cells  #: the same of small maps

    @classmethod
    def of_layers(
        cls, manifest: Manifest, pending: int, device: torch.device | str, layers: range, store: ScanStore | None = None
    ) -> Self:
        """The state of layers that follow each other: empty, or that of the checkpoint ``store``."""
        state = cls(manifest, pending, device, len(layers))
        if store is not None:
            state._read(store, layers)
        return state

    def _read(self, store: ScanStore, layers: range) -> None:
        manifest = store.manifest

        def tensor(name: str) -> Tensor:
            # On the host: the device's memory may be full.
            return torch.from_numpy(np.array(layers_of(name, store.arrays[name], layers)))

        visual, text = tensor("top_visual"), tensor("top_text")
        sample = tensor("top_sample").to(torch.int64)
        key = order_key(torch.maximum(visual[0], text[0]), sample)
        self.top.key[:] = torch.where(sample < 0, EMPTY, key)
        self.top.visual[:] = visual.permute(1, 2, 3, 0)
        self.top.text[:] = text.permute(1, 2, 3, 0)
        for kind, name in enumerate(("peak_visual", "peak_text")):
            peak = tensor(name).to(torch.int32)
            self.top.peak[..., kind] = torch.where(peak == NO_PEAK, -1, peak)
        # The maps are those of the best M, and the entries are ordered best first.
        for maps, names in ((self.maps, ("maps_visual", "maps_text")), (self.small, (SMALL_VISUAL, SMALL_TEXT))):
            if kept := maps.key.shape[-1]:
                maps.key[:] = self.top.key[..., :kept]
                maps.visual[:], maps.text[:] = (tensor(name) for name in names)
        self.panel.read(store, layers)
        totals = self.totals
        totals.maximum[:] = tensor("maximum")
        totals.content_maximum[:] = tensor("content_maximum")
        totals.sums[:] = tensor("sums")
        totals.histogram[:] = tensor("histogram").to(torch.int64)
        totals.tokens = [manifest.visual_tokens, manifest.text_tokens]

    def snapshot_maps(self) -> None:
        """Copy all maps, for ``restore_maps``."""
        for maps in (self.maps, self.small):
            maps.snapshot()

    def restore_maps(self) -> None:
        """Return to the maps' last snapshot, if there is one."""
        for maps in (self.maps, self.small):
            maps.restore()

    def threshold_key(self, layer: int) -> Tensor:
        """The key that a sample must exceed to be among the top N as of the last merge: int64 (F,)."""
        return self.top.key[layer, :, -1]

    def flush(self) -> None:
        """Merge what is pending into the top N."""
        if self.waiting:
            merge_pending(self.top, self.pending, self.waiting)
            self.waiting = 0

    def arrays(self, manifest: Manifest) -> dict[str, NDArray[Any]]:
        """The arrays of a store with this manifest (``core/store/reader.py``), without those that have no layers."""
        self.flush()
        for maps in (self.maps, self.small):
            maps.sort()
        small = {SMALL_VISUAL: self.small.visual, SMALL_TEXT: self.small.text} if self.small.key.shape[-1] else {}
        # Transposed on the host: the device's memory may be full.
        visual = self.top.visual.cpu().permute(3, 0, 1, 2).contiguous().numpy()  # (8, L, F, N)
        text = self.top.text.cpu().permute(3, 0, 1, 2).contiguous().numpy()
        peaks = self.top.peak.cpu().numpy()
        peaks = np.where(peaks < 0, NO_PEAK, peaks).astype(np.uint16)
        totals = self.totals
        return finished(
            manifest,
            {
                "top_sample": key_sample(self.top.key).to(torch.int32).cpu().numpy(),
                "top_visual": visual,
                "top_text": text,
                "peak_visual": np.ascontiguousarray(peaks[..., 0]),
                "peak_text": np.ascontiguousarray(peaks[..., 1]),
                "maps_visual": self.maps.visual.cpu().numpy(),
                "maps_text": self.maps.text.cpu().numpy(),
                **{name: maps.cpu().numpy() for name, maps in small.items()},
                "maximum": totals.maximum.cpu().numpy(),
                "content_maximum": totals.content_maximum.cpu().numpy(),
                "sums": totals.sums.cpu().numpy(),
                "histogram": totals.histogram.cpu().numpy().astype(np.uint32),
                **self.panel.arrays(),
            },
        )


def check_scanned(manifest: Manifest) -> None:
    """Raises SamplesError if no sample of a whole scan counts."""
    if not manifest.scanned:
        first = manifest.skipped[0]
        raise SamplesError(
            f"No sample of {manifest.data} can be scanned; the first, {first.image}: {first.reason}.",
            "Check the images and descriptions.",
        )


def finished(manifest: Manifest, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays with those that follow from them: moments, and votes at the manifest's thresholds."""
    thresholds = manifest.thresholds.value()
    labels = label_neurons(
        arrays["top_visual"][thresholds.n_v - 1],
        arrays["top_text"][thresholds.n_t - 1],
        arrays["maximum"],
        manifest.valid,
        thresholds,
    )
    counts = np.array([manifest.visual_tokens, manifest.text_tokens], dtype=np.float64)[:, None, None, None]
    with np.errstate(invalid="ignore"):
        moments = (arrays["sums"] / counts).astype(np.float32)
    return {**arrays, "moments": moments, "votes": labels.votes}
