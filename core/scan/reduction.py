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

from vlmscope.core.method.distribution import BINS, BITS_OFFSET, BITS_SHIFT
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT
from vlmscope.core.model.vlm import Encoded
from vlmscope.core.scan.kernels import Reduced, Spans, insert_maps_fused, insert_maps_torch, reduce_fused
from vlmscope.core.scan.state import ScanState
from vlmscope.core.scan.top_samples import EMPTY, order_key


@dataclass(frozen=True)
class Batch:
    """Samples that go through the model together.

    Attributes:
        samples: int64 (B,), their indices in the data.
        encoded: B sequences with the same prompt, whose descriptions start at the same token.
    """

    samples: Tensor
    encoded: tuple[Encoded, ...]

    def __post_init__(self) -> None:
        """Check that the kinds of tokens have the same positions in all sequences.

        Raises:
            ValueError: if they do not.
        """
        if len({(int(e.visual[0]), int(e.visual[-1]), e.text.start) for e in self.encoded}) > 1:
            raise ValueError("the descriptions of a batch start at different tokens")

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
        state.maps.snapshot()
        self.places = slice(state.waiting, state.waiting + self.size)
        first = batch.encoded[0]
        self.visual = slice(int(first.visual[0]), int(first.visual[-1]) + 1)
        self.text_start = first.text.start
        lengths = torch.tensor([len(e.input_ids) for e in batch.encoded], dtype=torch.int32)
        ends = torch.tensor([e.text.stop for e in batch.encoded], dtype=torch.int32)
        self.tokens = (self.size * (self.visual.stop - self.visual.start), int((ends - self.text_start).sum()))
        self.samples = batch.samples.to(device)
        self.maximum = torch.empty((layers, neurons), device=device)
        self.content_maximum = torch.empty((layers, neurons), device=device)
        self.sums = torch.empty((2, 2, layers, neurons), dtype=torch.float64, device=device)
        # The kernels count in int32; bincount does in int64, and adding it to another type takes twice as long.
        counter = torch.int32 if fused else torch.int64
        self.histogram = torch.zeros((2, layers, neurons, BINS), dtype=counter, device=device)
        self.finite = torch.ones(self.size, dtype=torch.bool, device=device)
        self.reached = [False] * layers
        self.fused = fused
        self.spans = Spans(self.visual, self.text_start, ends.to(device), lengths.to(device))
        if fused:
            self.highest = torch.empty((self.size, neurons), device=device)
            self.sums_of = torch.empty((self.size, 2, 2, neurons), device=device)
        else:
            self.texts = [slice(e.text.start, e.text.stop) for e in batch.encoded]
            self.lengths = lengths.tolist()
            self.width = int(ends.max()) - self.text_start
            at = torch.arange(self.text_start, self.text_start + self.width)
            self.no_text = (at >= ends[:, None]).to(device)  # (B, longest description)

    def hooks(self) -> dict[int, Callable[[Tensor], None]]:
        return {layer: partial(self._reduce, layer) for layer in range(len(self.reached))}

    def non_finite(self) -> set[int]:
        """The places in the batch of samples with a non-finite activation; if there are any, call ``rollback``."""
        return {i for i, finite in enumerate(self.finite.tolist()) if not finite}

    def commit(self) -> None:
        """Add the batch to the state; only for a batch without non-finite activations."""
        if not all(self.reached):
            raise RuntimeError(f"the pass did not reach layer {self.reached.index(False)}")
        totals = self.state.totals
        torch.maximum(totals.maximum, self.maximum, out=totals.maximum)
        torch.maximum(totals.content_maximum, self.content_maximum, out=totals.content_maximum)
        totals.sums += self.sums
        totals.histogram += self.histogram
        for kind in (0, 1):
            totals.tokens[kind] += self.tokens[kind]
        self.state.waiting += self.size

    def rollback(self) -> None:
        """Leave the state as it was before the batch."""
        self.state.maps.restore()

    def _reduce(self, layer: int, activation: Tensor) -> None:
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
        reduce_fused(activation, self.spans, reduced)
        content = torch.maximum(visual[:, 0], text[:, 0])
        pending.key[layer, self.places] = order_key(content, self.samples[:, None])
        self.maximum[layer] = self.highest.amax(dim=0)
        self.content_maximum[layer] = content.amax(dim=0)
        self.sums[:, :, layer] = self.sums_of.double().sum(dim=0)
        insert_maps_fused(activation, self.spans, content, self.samples, self.finite, maps.of_layer(layer))

    def _reduce_torch(self, layer: int, activation: Tensor) -> None:
        """Visual and template tokens of all samples at once, the descriptions one by one: padding is not read."""
        a = activation.float()  # bfloat16 and float16 values are kept without loss
        visual = a[:, self.visual]
        sums = torch.zeros((2, 2, a.shape[2]), dtype=torch.float64, device=a.device)
        content = visual.amax(dim=1)
        highest = content.clone()
        of_visual = visual.sum(dim=1)
        total = of_visual.clone()
        sums[0, 0] = of_visual.sum(dim=0, dtype=torch.float64)
        for template in (a[:, : self.visual.start], a[:, self.visual.stop : self.text_start]):
            if template.shape[1]:
                torch.maximum(highest, template.amax(dim=1), out=highest)
                total += template.sum(dim=1)
        for place, (text, length) in enumerate(zip(self.texts, self.lengths, strict=True)):
            patches, words, rest = visual[place], a[place, text], a[place, text.stop : length]
            sums[0, 1] += patches.square().sum(dim=0)
            self.histogram[0, layer] += histogram(patches)
            if len(words):
                torch.maximum(content[place], words.amax(dim=0), out=content[place])
                summed = words.sum(dim=0)
                total[place] += summed
                sums[1, 0] += summed
                sums[1, 1] += words.square().sum(dim=0)
                self.histogram[1, layer] += histogram(words)
            if len(rest):  # a tokenizer may end with a special token
                torch.maximum(highest[place], rest.amax(dim=0), out=highest[place])
                total[place] += rest.sum(dim=0)
        torch.maximum(highest, content, out=highest)
        # A sum is finite only if all its terms are: NaN and infinities reach it.
        self.finite &= total.isfinite().all(dim=1)
        self.maximum[layer] = highest.amax(dim=0)
        self.sums[:, :, layer] = sums
        self.content_maximum[layer] = content.amax(dim=0)
        self._find(layer, visual, a[:, self.text_start : self.text_start + self.width], content)
        insert_maps_torch(a, self.spans, content, self.samples, self.finite, self.state.maps.of_layer(layer))

    def _find(self, layer: int, visual: Tensor, text: Tensor, content: Tensor) -> None:
        """Order statistics of the candidates.

        Args:
            visual: float32 (B, V, F). text: float32 (B, longest description, F), any value after a description's end.
            content: float32 (B, F), the scores.
        """
        pending = self.state.pending
        key = order_key(content, self.samples[:, None])  # (B, F)
        candidate = key > self.state.threshold_key(layer)
        pending.key[layer, self.places] = key.where(candidate, EMPTY)
        place, neuron = candidate.nonzero(as_tuple=True)
        patches = visual.transpose(1, 2)[place, neuron]  # (K, V)
        words = text.transpose(1, 2)[place, neuron]  # (K, longest description)
        words.masked_fill_(self.no_text[place], -torch.inf)
        visual_top, visual_peak = largest(patches, VISUAL_KEPT)
        text_top, text_peak = largest(words, TEXT_KEPT)
        at = self.places.start + place
        pending.visual[layer][at, :, neuron] = visual_top
        pending.text[layer][at, :, neuron] = text_top
        pending.peak[layer][at, :, neuron] = torch.stack([visual_peak, text_peak], dim=1)


def largest(rows: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The ``keep`` largest of each row, padded with -inf, and the place of the first largest (-1 if it is -inf).

    Args:
        rows: float32 (K, n), without NaN; n at least 1.

    Returns:
        float32 (K, keep) in descending order, int32 (K,).
    """
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
