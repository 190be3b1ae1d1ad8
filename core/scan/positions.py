"""Where the visual, text and template tokens of a batch's sequences are, for the reductions on the CPU and by kernels.

Samples of a batch may differ in everything: how many visual tokens they have, where, and what stands between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.store.layouts import map_layout

Places = slice | Tensor  #: some positions of one sequence: a slice where they are contiguous, else int64 (n,)
#: Columns of ``order`` after the longest sequence: the kernels read a few places past a list's end, and ignore them.
SLACK = 12


@dataclass(frozen=True)
class Positions:
    """The positions of the kinds of tokens in a batch of B sequences, padded on the right to T.

    Attributes:
        order: int32 (B, T + SLACK): a sample's visual tokens, then its text tokens, then its template tokens, each in
            ascending order. What follows is any position.
        ends: int32 (B, 3): where each of the three lists ends in ``order``. Other positions are padding, not counted.
        cells: int32 (B, K, C): the positions of the tokens on each value of a sample's visual map, -1 where there are
            fewer than K. Without pooling K is 1, and each visual token has its own value.
        visual, text, template: the same three lists for torch, by sample; the last in parts.
        slots: by sample, the visual tokens of each value of its map, as places in ``visual``; None for one token each.
    """

    order: Tensor
    ends: Tensor
    cells: Tensor
    visual: tuple[Places, ...]
    text: tuple[Places, ...]
    template: tuple[tuple[Places, ...], ...]
    slots: tuple[Tensor | None, ...]

    @classmethod
    def of(
        cls,
        visual: Sequence[NDArray[np.integer]],
        text: Sequence[NDArray[np.integer]],
        lengths: Sequence[int],
        slots: Sequence[NDArray[np.integer] | None],
        values: int,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Positions on ``device``, of one or more sequences.

        Args:
            visual, text: (n,), of each sample, ascending. lengths: of each sequence; other positions are template.
            slots: of each sample, as ``map_slots`` makes them. values: C, of the largest map.
        """
        size = len(lengths)
        cells, by_torch = _cells(visual, slots, values, device)
        order = np.zeros((size, max(lengths) + SLACK), dtype=np.int32)
        ends = np.zeros((size, 3), dtype=np.int32)
        template = []
        for at, (patches, words, length) in enumerate(zip(visual, text, lengths, strict=True)):
            rest = np.ones(length, dtype=np.bool_)
            rest[patches] = rest[words] = False
            template.append(np.flatnonzero(rest))
            ends[at] = np.cumsum([len(patches), len(words), len(template[-1])])
            order[at, :length] = np.concatenate([patches, words, template[-1]])
        return cls(
            order=torch.from_numpy(order).to(device),
            ends=torch.from_numpy(ends).to(device),
            cells=cells,
            visual=tuple(_places(part, device) for part in visual),
            text=tuple(_places(part, device) for part in text),
            template=tuple(_runs(part, device) for part in template),
            slots=by_torch,
        )

    def pooled(
        self, visual: Sequence[NDArray[np.integer]], slots: Sequence[NDArray[np.integer] | None], values: int
    ) -> Self:
        """The same positions with other visual maps; arguments as of ``of``."""
        cells, by_torch = _cells(visual, slots, values, self.order.device)
        return replace(self, cells=cells, slots=by_torch)


def _cells(
    visual: Sequence[NDArray[np.integer]],
    slots: Sequence[NDArray[np.integer] | None],
    values: int,
    device: torch.device | str,
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """``Positions.cells`` and ``Positions.slots``."""
    deepest = max(1 if own is None else len(own) for own in slots)
    cells = np.full((len(slots), deepest, values), -1, dtype=np.int32)
    for row, patches, own in zip(cells, visual, slots, strict=True):
        if own is None:
            row[0, : len(patches)] = patches
        else:
            row[: len(own), : own.shape[1]] = np.where(own < 0, -1, patches[own])
    by_torch = tuple(None if own is None else torch.from_numpy(own).to(device) for own in slots)
    return torch.from_numpy(cells).to(device), by_torch


@lru_cache(maxsize=1024)
def map_slots(layout: VisualLayout, cells: int | None) -> NDArray[np.int64] | None:
    """The visual tokens whose largest activation is each value of a sample's map: int64 (K, C), -1 for none.

    Args:
        cells: rows and columns that maps are pooled to, at most.

    Returns:
        None where the map is not pooled: each token then has its own value.
    """
    own = map_layout(layout, cells)
    if own is layout:
        return None
    tokens, at = layout.pairs(*own.grid)
    _, starts, counts = np.unique(at, return_index=True, return_counts=True)
    slots = np.full((counts.max(), len(own)), -1, dtype=np.int64)
    slots[np.arange(len(at)) - np.repeat(starts, counts), at] = tokens
    return slots


def columns(sequence: Tensor, places: Places, neurons: Tensor) -> Tensor:
    """The activations of some neurons at some positions of a sequence.

    Args:
        sequence: (T, F). neurons: int64 (k,).

    Returns:
        (k, n), of the same dtype.
    """
    if isinstance(places, slice):
        return sequence[places].T[neurons]
    return sequence.T[neurons][:, places]


def _places(positions: NDArray[np.integer], device: torch.device | str) -> Places:
    if not len(positions):
        return slice(0, 0)
    first, last = int(positions[0]), int(positions[-1])
    if last - first + 1 == len(positions):
        return slice(first, last + 1)
    return torch.from_numpy(positions.astype(np.int64)).to(device)


def _runs(positions: NDArray[np.integer], device: torch.device | str) -> tuple[Places, ...]:
    """The positions as few slices, or all of them in one tensor: a slice is a view, a tensor makes a copy."""
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    return tuple(_places(part, device) for part in (runs if len(runs) <= 4 else [positions]) if len(part))
