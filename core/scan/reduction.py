"""Reduces a layer's activation (B, T, F) to what a scan keeps, in one pass, while the activation is in memory.

A batch is a transaction. Until ``BatchReduction.commit`` it writes only into pending entries that do not count yet, and
into the maps, of which there is a snapshot. So a sample with a non-finite activation in the last layer leaves no trace
in the first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vlmscope.core.base.neuron import Poles
from vlmscope.core.method.distribution import BINS, BITS_OFFSET, BITS_SHIFT
from vlmscope.core.model.vlm import Encoded
from vlmscope.core.scan.kernels import Reduced, insert_maps_fused, insert_maps_torch, reduce_fused
from vlmscope.core.scan.panel import PanelOfBatch
from vlmscope.core.scan.positions import Positions, columns, map_slots
from vlmscope.core.scan.state import ScanState
from vlmscope.core.scan.top_samples import EMPTY, order_key


@dataclass(frozen=True)
class Batch:
    """Samples that go through the model together.

    Attributes:
        samples: int64 (B,), their indices in the data.
        encoded: B sequences, which may differ in everything.
    """

    samples: Tensor
    encoded: tuple[Encoded, ...]

    def without(self, dropped: set[int]) -> "Batch":
        """The batch without the samples at these places."""
        keep = [i for i in range(len(self.encoded)) if i not in dropped]
        return Batch(self.samples[keep], tuple(self.encoded[i] for i in keep))


class BatchReduction:
    """What one batch adds to the state. ``hooks`` go to ``Vlm.forward``; then ``non_finite``, then ``commit``.

    Two implementations give the same result. On a GPU the fused kernels of ``kernels.py`` read each activation once and
    never wait for the host; they take the order statistics of every sample. On the CPU those cost most. There torch
    takes them only where the sample can enter the neuron's top N: after N samples, a few per cent of all pairs.
    """

    def __init__(self, state: ScanState, batch: Batch, fused: bool = False) -> None:
        """Begin a batch of at most as many samples as ``state.pending`` holds; ``fused``: reduce by the kernels."""
        self.state = state
        self.size = len(batch.encoded)
        device = state.top.key.device
        layers, pending, neurons = state.pending.key.shape
        if state.waiting + self.size > pending:
            state.flush()
        state.snapshot_maps()
        self.places = slice(state.waiting, state.waiting + self.size)
        visual = [e.visual for e in batch.encoded]
        self.positions = Positions.of(
            visual,
            [np.arange(e.text.start, e.text.stop) for e in batch.encoded],
            [len(e.input_ids) for e in batch.encoded],
            [map_slots(e.layout, state.map_cells) for e in batch.encoded],
            state.maps.visual.shape[-1],
            device,
        )
        values = 2 * state.small.visual.shape[-1]
        slots = [map_slots(e.layout, state.small_cells) for e in batch.encoded] if values else []
        #: The same with the cells of small maps; None where the scan keeps none.
        self.small = self.positions.pooled(visual, slots, values) if values else None
        self.tokens = (
            sum(len(e.visual) for e in batch.encoded),
            sum(e.text.stop - e.text.start for e in batch.encoded),
        )
        self.samples = batch.samples.to(device)
        self.panel = PanelOfBatch(state.panel, batch.samples.tolist())
        self.maximum = torch.empty((layers, neurons), device=device)
        self.content_maximum = torch.empty((layers, neurons), device=device)
        self.sums = torch.empty((2, 2, layers, neurons), dtype=torch.float64, device=device)
        # The kernels count in int32; bincount does in int64, and adding it to another type takes twice as long.
        counter = torch.int32 if fused else torch.int64
        self.histogram = torch.zeros((2, layers, neurons, BINS), dtype=counter, device=device)
        self.finite = torch.ones(self.size, dtype=torch.bool, device=device)
        self.reached = [False] * layers
        self.fused = fused
        if fused:
            self.highest = torch.empty((self.size, neurons), device=device)
            self.sums_of = torch.empty((self.size, 2, 2, neurons), device=device)

    def hooks(self) -> dict[int, Callable[[Tensor], None]]:
        return {layer: partial(self._reduce, layer) for layer in range(len(self.reached))}

    def non_finite(self) -> set[int]:
        """The places in the batch of samples with a non-finite activation; if there are any, call ``rollback``."""
        return {i for i, finite in enumerate(self.finite.tolist()) if not finite}

    def commit(self) -> None:
        """Add the batch to the state; only if all layers are ``reached``, without non-finite activations."""
        assert all(self.reached)
        totals = self.state.totals
        torch.maximum(totals.maximum, self.maximum, out=totals.maximum)
        torch.maximum(totals.content_maximum, self.content_maximum, out=totals.content_maximum)
        totals.sums += self.sums
        totals.histogram += self.histogram
        for kind in (0, 1):
            totals.tokens[kind] += self.tokens[kind]
        self.panel.commit()
        self.state.waiting += self.size

    def rollback(self) -> None:
        """Leave the state as it was before the batch."""
        self.state.restore_maps()

    def _reduce(self, layer: int, activation: Tensor) -> None:
        activation = activation.to(self.samples.device)  # there already, unless the layer's weights are kept elsewhere
        if self.state.poles is Poles.BOTH:
            activation = both_poles(activation)
        if self.fused:
            self._reduce_fused(layer, activation)
        else:
            self._reduce_torch(layer, activation)
        self.reached[layer] = True

    def _reduce_fused(self, layer: int, activation: Tensor) -> None:
        pending, maps = self.state.pending, self.state.maps
        visual, text = pending.visual[layer, self.places], pending.text[layer, self.places]
        peak = pending.peak[layer, self.places]
        histogram = self.histogram[:, layer]
        reduced = Reduced(self.highest, visual, text, peak, self.sums_of, histogram, self.finite)
        reduce_fused(activation, self.positions, reduced)
        content = torch.maximum(visual[:, 0], text[:, 0])
        pending.key[layer, self.places] = order_key(content, self.samples[:, None])
        for kind, largest_of in enumerate((visual, text)):
            self.panel.put_batch(kind, layer, largest_of[:, 0])
        self.maximum[layer] = self.highest.amax(dim=0)
        self.content_maximum[layer] = content.amax(dim=0)
        self.sums[:, :, layer] = self.sums_of.double().sum(dim=0)
        of_samples = (content, self.samples, self.finite)
        insert_maps_fused(activation, self.positions, *of_samples, maps.of_layer(layer))
        if self.small is not None:
            insert_maps_fused(activation, self.small, *of_samples, self.state.small.of_layer(layer), packed=True)

    def _reduce_torch(self, layer: int, activation: Tensor) -> None:
        """Sample by sample, each kind of token by itself: padding is not read."""
        a = activation.float()  # bfloat16 and float16 values are kept without loss
        content = torch.full((self.size, a.shape[2]), -torch.inf, device=a.device)
        highest = content.clone()
        total = torch.zeros_like(content)
        sums = torch.zeros((2, 2, a.shape[2]), dtype=torch.float64, device=a.device)
        of_visual = torch.zeros_like(content)
        kinds = (self.positions.visual, self.positions.text)
        for at, sequence in enumerate(a):
            for kind, places in enumerate(kinds):
                part = sequence[places[at]]
                if not len(part):
                    continue
                top = part.amax(dim=0)
                self.panel.put(kind, layer, at, top)
                torch.maximum(content[at], top, out=content[at])
                summed = part.sum(dim=0)
                total[at] += summed
                if kind == 0:
                    of_visual[at] = summed
                else:
                    sums[1, 0] += summed
                sums[kind, 1] += part.square().sum(dim=0)
                self.histogram[kind, layer] += histogram(part)
            for places_of_part in self.positions.template[at]:
                part = sequence[places_of_part]
                torch.maximum(highest[at], part.amax(dim=0), out=highest[at])
                total[at] += part.sum(dim=0)
        sums[0, 0] = of_visual.sum(dim=0, dtype=torch.float64)
        torch.maximum(highest, content, out=highest)
        # A sum is finite only if all its terms are: NaN and infinities reach it.
        self.finite &= total.isfinite().all(dim=1)
        self.maximum[layer] = highest.amax(dim=0)
        self.sums[:, :, layer] = sums
        self.content_maximum[layer] = content.amax(dim=0)
        self._find(layer, a, content)
        of_samples = (content, self.samples, self.finite)
        insert_maps_torch(a, self.positions, *of_samples, self.state.maps.of_layer(layer))
        if self.small is not None:
            insert_maps_torch(a, self.small, *of_samples, self.state.small.of_layer(layer), packed=True)

    def _find(self, layer: int, a: Tensor, content: Tensor) -> None:
        """Order statistics of the candidates: of ``a``, float32 (B, T, F), with the scores ``content``, (B, F)."""
        pending = self.state.pending
        key = order_key(content, self.samples[:, None])  # (B, F)
        candidate = key > self.state.threshold_key(layer)
        pending.key[layer, self.places] = key.where(candidate, EMPTY)
        _, neurons = candidate.nonzero(as_tuple=True)
        of_sample: list[int] = candidate.sum(dim=1).tolist()
        for at, neuron in enumerate(torch.split(neurons, of_sample)):
            for kind, (places, kept) in enumerate(
                ((self.positions.visual, pending.visual), (self.positions.text, pending.text))
            ):
                top, peak = largest(columns(a[at], places[at], neuron), kept.shape[2])
                kept[layer, self.places.start + at, :, neuron] = top.T
                pending.peak[layer, self.places.start + at, kind, neuron] = peak


def both_poles(activation: Tensor) -> Tensor:
    """The activations of both poles of each unit: (B, T, F) to (B, T, 2F), positive and negative in turn."""
    # 0 - a, not -a: a negative pole has no -0.0, of which devices choose differently as the largest of equal zeros.
    return torch.stack((activation, 0 - activation), dim=-1).flatten(start_dim=-2)


def largest(rows: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The ``keep`` largest of each row, padded with -inf, and the place of the first largest (-1 if it is -inf).

    Args:
        rows: float32 (K, n), without NaN; n may be 0.

    Returns:
        float32 (K, keep) in descending order, int32 (K,).
    """
    if not rows.shape[1]:
        return rows.new_full((len(rows), keep), -torch.inf), rows.new_full((len(rows),), -1, dtype=torch.int32)
    # On the CPU a whole sort by numpy takes a fifth of the time of torch's topk.
    top, first = by_numpy(rows, keep) if rows.device.type == "cpu" else by_topk(rows, keep)
    first = first.where(top[:, 0] > -torch.inf, -1)
    return torch.nn.functional.pad(top, (0, keep - top.shape[1]), value=-torch.inf), first


def by_numpy(rows: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """``largest`` on the CPU, without padding."""
    values = rows.numpy()
    rising = np.sort(values, axis=1)[:, -keep:]
    first = values.argmax(axis=1).astype(np.int32)  # numpy documents that it is the first of equals
    return torch.from_numpy(rising[:, ::-1].copy()), torch.from_numpy(first)


def by_topk(rows: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """``largest`` on any device, without padding."""
    top = rows.topk(min(keep, rows.shape[1]), dim=1).values
    places = torch.arange(rows.shape[1], device=rows.device, dtype=torch.int32)
    # torch's topk and argmax may return any of equal values' places; here it is the first.
    return top, torch.where(rows == top[:, :1], places, rows.shape[1]).amin(dim=1).to(torch.int32)


def histogram(a: Tensor) -> Tensor:
    """Tokens per bin of ``core/method/distribution.py``.

    Args:
        a: float32 (n, F).

    Returns:
        int64 (F, 32).
    """
    neurons = a.shape[1]
    upper = a.view(torch.int32) >> BITS_SHIFT
    positive = upper.clamp(0, 1)  # numbers: a comparison's booleans are slow to multiply with
    bins = upper.sub_(BITS_OFFSET).clamp_(1, BINS - 1).mul_(positive)
    bins += torch.arange(0, neurons * BINS, BINS, device=a.device, dtype=torch.int32)
    return torch.bincount(bins.flatten(), minlength=neurons * BINS).view(neurons, BINS)
