"""From a layer's activation (B, T, F) to what the scan keeps, in one pass, while the activation is there.

A batch is a transaction: its taps only read the running state and stage what they find; ``BatchReduction.commit``
writes it. So a sample with a non-finite activation in the last layer leaves no trace in the first.

Order statistics cost a ``topk`` over the tokens. They are computed only where the sample can enter the neuron's top N,
which after the first N samples is a few per cent of all pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.distribution import BINS, BITS_OFFSET, BITS_SHIFT
from core.errors import Cancelled
from core.labels import TEXT_KEPT, VISUAL_KEPT
from core.neuron import HookPoint, Neuron
from core.top_samples import TopMaps, TopSamples, merge, order_key
from core.vlm import Encoded, Vlm, never


@dataclass(frozen=True)
class Batch:
    """Samples that go through the model together.

    Attributes:
        samples: int64 (B,), their indices in the data.
        encoded: B sequences with the same prompt, so that ``visual`` and the start of ``text`` are the same in all.
    """

    samples: Tensor
    encoded: tuple[Encoded, ...]

    def input_ids(self) -> Tensor:
        """int64 (B, T), padded on the right with a word: none attends to it, but an image token would count."""
        word = int(self.encoded[0].input_ids[self.encoded[0].text.start])
        ids = [e.input_ids for e in self.encoded]
        return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=word)

    def without(self, dropped: set[int]) -> "Batch":
        """The same, less the samples at these places."""
        keep = [i for i in range(len(self.encoded)) if i not in dropped]
        return Batch(self.samples[keep], tuple(self.encoded[i] for i in keep))


@dataclass
class Totals:
    """Sums over all tokens of a kind (0 visual, 1 text), and maxima.

    Attributes:
        maximum, content_maximum: float32 (L, F), over all tokens; over visual and text tokens.
        sums: float64 (2, 2, L, F), by kind: of the activation and of its square.
        histogram: int64 (2, L, F, 32). tokens: how many of each kind.
    """

    maximum: Tensor
    content_maximum: Tensor
    sums: Tensor
    histogram: Tensor
    tokens: list[int] = field(default_factory=lambda: [0, 0])


class ScanState:
    """The running state of a scan, on the model's device."""

    def __init__(self, vlm: Vlm, top_n: int, maps: int, text_tokens: int, pending: int) -> None:
        """Make an empty state; ``pending`` samples are gathered before each merge into the top N."""
        device, shape = vlm.device, (vlm.layers, vlm.neurons)
        self.top_n = top_n
        self.top = TopSamples.empty(*shape, top_n, device)
        self.maps = TopMaps.empty(*shape, maps, vlm.grid[0] * vlm.grid[1], text_tokens, device)
        self.totals = Totals(
            torch.full(shape, -torch.inf, device=device),
            torch.full(shape, -torch.inf, device=device),
            torch.zeros((2, 2, *shape), dtype=torch.float64, device=device),
            torch.zeros((2, *shape, BINS), dtype=torch.int64, device=device),
        )
        self.pending = TopSamples.empty(*shape, pending, device)
        self.waiting = 0

    def worst(self, layer: int) -> Tensor:
        """The key that a sample must exceed to be among the top N as of the last merge: int64 (F,)."""
        return self.top.key[layer, :, -1]

    def flush(self) -> None:
        """Merge what is pending into the top N."""
        if self.waiting:
            self.top = merge(self.top, self.pending, self.top_n)
            self.pending.clear()
            self.waiting = 0


@dataclass(frozen=True)
class _Found:
    """Candidates of one layer: K pairs of a sample of the batch and a neuron."""

    place: Tensor  # int64 (K,), which of the batch
    neuron: Tensor  # int64 (K,)
    key: Tensor  # int64 (K,)
    visual: Tensor  # float32 (K, 8)
    text: Tensor  # float32 (K, 4)
    peak: Tensor  # int32 (K, 2)
    mapped: Tensor  # bool (K,), whether its maps are among the best M
    visual_map: Tensor  # uint8 (number mapped, V)
    text_map: Tensor  # uint8 (number mapped, T)


class BatchReduction:
    """Stages what one batch adds to the state. ``taps`` go to ``Vlm.forward``; then ``bad``, then ``commit``."""

    def __init__(self, state: ScanState, batch: Batch) -> None:
        self.state = state
        self.size = len(batch.encoded)
        device = state.top.key.device
        first = batch.encoded[0]
        self.visual, self.text_start = first.visual, first.text.start
        lengths = torch.tensor([len(e.input_ids) for e in batch.encoded])
        ends = torch.tensor([e.text.stop for e in batch.encoded])
        at = torch.arange(self.text_start, int(lengths.max()))
        self.text_width = int(ends.max()) - self.text_start
        self.is_text = (at < ends[:, None]).to(device)[..., None]  # (B, R, 1) over the positions from text_start on
        after = (at >= ends[:, None]) & (at < lengths[:, None])  # a tokenizer may end with a special token
        self.trailing = after.to(device)[..., None] if after.any() else None
        self.samples = batch.samples.to(device)
        self.tokens = (self.size * (self.visual.stop - self.visual.start), int((ends - self.text_start).sum()))
        layers, neurons = state.top.key.shape[:2]
        self.maximum = torch.empty((layers, neurons), device=device)
        self.content_maximum = torch.empty((layers, neurons), device=device)
        self.sums = torch.empty((2, 2, layers, neurons), device=device)
        self.histogram = torch.empty((2, layers, neurons, BINS), dtype=torch.int64, device=device)
        self.finite = torch.ones(self.size, dtype=torch.bool, device=device)
        self.found: list[_Found | None] = [None] * layers

    def taps(self) -> dict[int, Callable[[Tensor], None]]:
        return {layer: partial(self._reduce, layer) for layer in range(len(self.found))}

    def bad(self) -> set[int]:
        """The places in the batch of samples with a non-finite activation."""
        return {i for i, finite in enumerate(self.finite.tolist()) if not finite}

    def _reduce(self, layer: int, activation: Tensor) -> None:
        a = activation.float()  # bfloat16 and float16 values are kept without loss
        visual, tail = a[:, self.visual], a[:, self.text_start :]  # (B, V, F), (B, R, F)
        text = tail.masked_fill(~self.is_text, -torch.inf)
        words = tail.masked_fill(~self.is_text, 0)
        # What is neither, once for maxima and once for sums.
        template = [(part, part) for part in (a[:, : self.visual.start], a[:, self.visual.stop : self.text_start])]
        if self.trailing is not None:
            template.append((tail.masked_fill(~self.trailing, -torch.inf), tail.masked_fill(~self.trailing, 0)))
        content = torch.maximum(visual.amax(dim=1), text.amax(dim=1))  # (B, F)
        highest = content
        total = torch.zeros_like(content)
        for for_maximum, for_sum in template:
            if for_maximum.shape[1]:
                highest = torch.maximum(highest, for_maximum.amax(dim=1))
                total += for_sum.sum(dim=1)
        for kind, part in enumerate((visual, words)):
            sums = part.sum(dim=1)
            total += sums
            self.sums[kind, 0, layer] = sums.sum(dim=0)
            self.sums[kind, 1, layer] = (part * part).sum(dim=(0, 1))
            self.histogram[kind, layer] = histogram(part)
        # A sum is finite only if all its terms are: NaN and infinities reach it.
        self.finite &= total.isfinite().all(dim=1)
        # The zeros that stand for what is no text fell into bin 0.
        self.histogram[1, layer, :, 0] -= self.is_text.numel() - self.tokens[1]
        self.maximum[layer] = highest.amax(dim=0)
        self.content_maximum[layer] = content.amax(dim=0)
        self._find(layer, visual, text, content)

    def _find(self, layer: int, visual: Tensor, text: Tensor, content: Tensor) -> None:
        key = order_key(content, self.samples[:, None])  # (B, F)
        place, neuron = (key > self.state.worst(layer)).nonzero(as_tuple=True)
        key = key[place, neuron]
        patches = visual.transpose(1, 2)[place, neuron]  # (K, V)
        # (K, longest description), -inf where there is no word
        words = text[:, : self.text_width].transpose(1, 2)[place, neuron]
        score = content[place, neuron]
        mapped = key > self.state.maps.worst(layer)[neuron]
        scale = (255 / score[mapped]).where(score[mapped] > 0, 0)[:, None]
        visual_top, visual_peak = _largest(patches, VISUAL_KEPT)
        text_top, text_peak = _largest(words, TEXT_KEPT)
        self.found[layer] = _Found(
            place=place,
            neuron=neuron,
            key=key,
            visual=visual_top,
            text=text_top,
            peak=torch.stack([visual_peak, text_peak], dim=1),
            mapped=mapped,
            visual_map=(patches[mapped].clamp(min=0) * scale).round().to(torch.uint8),
            text_map=(words[mapped].clamp(min=0) * scale).round().to(torch.uint8),
        )

    def commit(self) -> None:
        """Add the batch to the state; only for a batch without bad samples."""
        state, totals = self.state, self.state.totals
        if state.waiting + self.size > state.pending.key.shape[2]:
            state.flush()
        torch.maximum(totals.maximum, self.maximum, out=totals.maximum)
        torch.maximum(totals.content_maximum, self.content_maximum, out=totals.content_maximum)
        totals.sums += self.sums
        totals.histogram += self.histogram
        for kind in (0, 1):
            totals.tokens[kind] += self.tokens[kind]
        for layer, found in enumerate(self.found):
            if found is None:
                raise RuntimeError(f"the pass did not reach layer {layer}")
            at = (layer, found.neuron, state.waiting + found.place)
            for part, rows in zip(
                state.pending.parts(), (found.key, found.visual, found.text, found.peak), strict=True
            ):
                part[at] = rows
            neuron, key, place = (x[found.mapped] for x in (found.neuron, found.key, found.place))
            for one in range(self.size):
                rows = place == one
                state.maps.insert(layer, neuron[rows], key[rows], found.visual_map[rows], found.text_map[rows])
        state.waiting += self.size


def _largest(rows: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The ``keep`` largest of each row, padded with -inf, and where the first largest lies (-1 if it is -inf).

    Args:
        rows: float32 (K, n).

    Returns:
        float32 (K, keep) in falling order, int32 (K,).
    """
    top = rows.topk(min(keep, rows.shape[1]), dim=1).values
    places = torch.arange(rows.shape[1], device=rows.device, dtype=torch.int32)
    # topk and argmax leave open which of equals they name; the first is decided here.
    first = torch.where(rows == top[:, :1], places, rows.shape[1]).amin(dim=1).to(torch.int32)
    first = first.where(top[:, 0] > -torch.inf, -1)
    return torch.nn.functional.pad(top, (0, keep - top.shape[1]), value=-torch.inf), first


def histogram(a: Tensor) -> Tensor:
    """Tokens per bin of ``core/distribution.py``.

    Args:
        a: float32 (B, T, F).

    Returns:
        int64 (F, 32).
    """
    neurons = a.shape[2]
    bits = a.view(torch.int32) >> BITS_SHIFT
    bins = (bits - BITS_OFFSET).clamp_(1, BINS - 1).mul_(bits > 0)
    bins += torch.arange(0, neurons * BINS, BINS, device=a.device, dtype=torch.int32)
    return torch.bincount(bins.flatten(), minlength=neurons * BINS).view(neurons, BINS)


class _Done(Exception):  # noqa: N818  # ends a pass early; it is no error
    pass


def neuron_maps(
    vlm: Vlm,
    hook: HookPoint,
    neuron: Neuron,
    encoded: Encoded,
    pixels: Tensor,
    cancelled: Callable[[], bool] = never,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One neuron's exact activations over one sample, by a pass that ends after its layer.

    Returns:
        float32 (rows, columns) over the patches, and float32 (tokens,) over the description.

    Raises:
        Cancelled: when ``cancelled`` turns true, which is read before every layer.
    """
    taken: list[Tensor] = []

    def take(activation: Tensor) -> None:
        taken.append(activation[0, :, neuron.index].float().cpu())
        raise _Done

    def check() -> None:
        if cancelled():
            raise Cancelled(f"The pass for {neuron} was stopped.")

    try:
        with vlm.before_layers(check):
            vlm.forward(encoded.input_ids[None], pixels[None], {neuron.layer: take}, hook)
    except _Done:
        pass
    row = taken[0].numpy()
    return row[encoded.visual].reshape(vlm.grid), row[encoded.text]
