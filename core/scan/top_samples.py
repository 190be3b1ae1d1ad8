"""The top-N samples of every neuron, and their exact merge.

The order is total: higher score first, then lower sample index (method.md, "To be exact about"). It is written as one
signed 64-bit key, so that a merge is one ``topk`` over integers: associative and commutative, whatever the batches,
shards, or their order.
"""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT

LayerMaps = tuple[Tensor, Tensor, Tensor]  #: a layer's ``TopMaps``: keys, maps over patches, maps over words
EMPTY = torch.iinfo(torch.int64).min  #: the key of an entry that holds no sample; below every real key
_LOW = 0xFFFFFFFF


def order_key(score: Tensor, sample: Tensor) -> Tensor:
    """The key that sorts by score, descending, then by sample, ascending.

    Args:
        score: float, without NaN. sample: integers from 0 to 2**32 - 1, broadcast against ``score``.

    Returns:
        int64; larger is better. Source: method.md, "The top-N order is total".
    """
    bits = (score.float() + 0.0).view(torch.int32)  # + 0.0 turns -0.0 into 0.0
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (bits.to(torch.int64) << 32) | (_LOW - sample.to(torch.int64))


def key_sample(key: Tensor) -> Tensor:
    """The sample of each key, int64; -1 where the key is ``EMPTY``."""
    return torch.where(key == EMPTY, -1, _LOW - (key & _LOW))


@dataclass
class TopSamples:
    """Entries of every neuron, in no particular order until merged; E entries each.

    Attributes:
        key: int64 (L, F, E), ``EMPTY`` where there is none.
        visual: float32 (L, F, E, 8), the largest activations over visual tokens; -inf where there are fewer.
        text: float32 (L, F, E, 4), the same over text tokens.
        peak: int32 (L, F, E, 2), patch and description token of the largest; -1 where there is none.
    """

    key: Tensor
    visual: Tensor
    text: Tensor
    peak: Tensor

    @classmethod
    def empty(cls, layers: int, neurons: int, entries: int, device: torch.device | str = "cpu") -> Self:
        """Room for ``entries`` samples of each neuron, none of them filled."""
        shape = (layers, neurons, entries)
        return cls(
            torch.full(shape, EMPTY, dtype=torch.int64, device=device),
            torch.full((*shape, VISUAL_KEPT), -torch.inf, device=device),
            torch.full((*shape, TEXT_KEPT), -torch.inf, device=device),
            torch.full((*shape, 2), -1, dtype=torch.int32, device=device),
        )


@dataclass
class Pending:
    """Samples that wait to be merged, laid out as they are found, neurons innermost: P samples each.

    Attributes:
        key: int64 (L, P, F), ``EMPTY`` where the sample is not among the best.
        visual: float32 (L, P, 8, F). text: float32 (L, P, 4, F). peak: int32 (L, P, 2, F). As ``TopSamples``.
    """

    key: Tensor
    visual: Tensor
    text: Tensor
    peak: Tensor

    @classmethod
    def empty(cls, layers: int, samples: int, neurons: int, device: torch.device | str = "cpu") -> Self:
        """Room for ``samples`` samples; statistics are undefined where the key is ``EMPTY``."""
        return cls(
            torch.full((layers, samples, neurons), EMPTY, dtype=torch.int64, device=device),
            torch.zeros((layers, samples, VISUAL_KEPT, neurons), device=device),
            torch.zeros((layers, samples, TEXT_KEPT, neurons), device=device),
            torch.zeros((layers, samples, 2, neurons), dtype=torch.int32, device=device),
        )


def merge_pending(top: TopSamples, pending: Pending, count: int) -> None:
    """Put the first ``count`` pending samples into ``top``, best first; none of them may be in it already.

    The merge works layer by layer, so that it needs the memory of one layer. A merged layer is emptied in ``pending``:
    if the memory runs out, the merge can be repeated.
    """
    entries = top.key.shape[2]
    for layer in range(top.key.shape[0]):
        key = torch.cat([top.key[layer], pending.key[layer, :count].T], dim=1)
        best, where = key.topk(entries, dim=1)
        merged = []
        for mine, theirs in ((top.visual, pending.visual), (top.text, pending.text), (top.peak, pending.peak)):
            both = torch.cat([mine[layer], theirs[layer, :count].permute(2, 0, 1)], dim=1)
            merged.append((mine[layer], both.gather(1, where[..., None].expand(-1, -1, both.shape[-1]))))
        for old, new in ((top.key[layer], best), *merged):
            old.copy_(new)
        pending.key[layer, :count] = EMPTY


@dataclass
class TopMaps:
    """The activation maps of every neuron's best M samples.

    Attributes:
        key: int64 (L, F, M), in no order. visual: uint8 (L, F, M, V). text: uint8 (L, F, M, T).
    """

    key: Tensor
    visual: Tensor
    text: Tensor
    _snapshot: tuple[Tensor, ...] | None = field(default=None, init=False, repr=False)

    @classmethod
    def empty(
        cls, layers: int, neurons: int, entries: int, values: int, tokens: int, device: torch.device | str = "cpu"
    ) -> Self:
        shape = (layers, neurons, entries)
        return cls(
            torch.full(shape, EMPTY, dtype=torch.int64, device=device),
            torch.zeros((*shape, values), dtype=torch.uint8, device=device),
            torch.zeros((*shape, tokens), dtype=torch.uint8, device=device),
        )

    def of_layer(self, layer: int) -> LayerMaps:
        """Views of one layer: int64 (F, M), uint8 (F, M, V), uint8 (F, M, T)."""
        return self.key[layer], self.visual[layer], self.text[layer]

    def snapshot(self) -> None:
        """Copy everything, for ``restore``: a copy costs little beside a pass, undoing single entries much code."""
        if self._snapshot is None:
            self._snapshot = tuple(torch.empty_like(part) for part in (self.key, self.visual, self.text))
        for kept, part in zip(self._snapshot, (self.key, self.visual, self.text), strict=True):
            kept.copy_(part)

    def restore(self) -> None:
        """Return to the last snapshot, if there is one."""
        if self._snapshot is not None:
            for kept, part in zip(self._snapshot, (self.key, self.visual, self.text), strict=True):
                part.copy_(kept)

    def sort(self) -> None:
        """Put the best first; layer by layer, so that it needs the memory of one layer."""
        for layer in range(self.key.shape[0]):
            key, order = self.key[layer].sort(dim=1, descending=True)
            parts = (self.visual[layer], self.text[layer])
            by_key = [part.gather(1, order[..., None].expand_as(part)) for part in parts]
            for old, new in zip((self.key[layer], *parts), (key, *by_key), strict=True):  # whole, or not at all
                old.copy_(new)
