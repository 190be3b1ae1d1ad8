"""The scan's reduction, obvious and slow: sample by sample, in plain torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.method.distribution import BINS, BITS_OFFSET, BITS_SHIFT
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT
from vlmscope.core.scan.kernels import Reduced
from vlmscope.core.scan.positions import Positions


@dataclass(frozen=True)
class Kinds:
    """The positions of a batch's visual and text tokens, and the length of each sequence; the rest is template."""

    visual: list[list[int]]
    text: list[list[int]]
    lengths: list[int]

    def positions(
        self, device: str = "cpu", slots: Sequence[NDArray[np.int64] | None] | None = None, values: int | None = None
    ) -> Positions:
        """As the program has them."""
        return Positions.of(
            [np.array(part, dtype=np.int64) for part in self.visual],
            [np.array(part, dtype=np.int64) for part in self.text],
            self.lengths,
            slots or [None] * len(self.lengths),
            max(1, *map(len, self.visual)) if values is None else values,
            device,
        )


def reduce_torch(activation: Tensor, kinds: Kinds) -> Reduced:
    """Reduce one layer's activation, bfloat16, float16 or float32 (B, T, F), in plain torch."""
    a = activation.float()  # bfloat16 and float16 values are kept without loss
    out = Reduced.empty(a.shape[0], a.shape[2], a.device)
    for b, length in enumerate(kinds.lengths):
        out.maximum[b] = a[b, :length].amax(dim=0)
        out.finite[b] = a[b, :length].isfinite().all()
        for k, (places, kept) in enumerate(((kinds.visual[b], out.visual), (kinds.text[b], out.text))):
            part = a[b, places]
            kept[b], out.peak[b, k] = _largest(part, (VISUAL_KEPT, TEXT_KEPT)[k])
            out.sums[b, k, 0], out.sums[b, k, 1] = part.sum(dim=0), part.square().sum(dim=0)
            out.histogram[k] += _histogram(part)
    return out


def _largest(a: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The ``keep`` largest over the tokens, padded with -inf, and where the first largest is (-1 if it is -inf).

    Args:
        a: float32 (n, F); n may be 0.

    Returns:
        float32 (keep, F) in falling order, int32 (F,).
    """
    tokens = a.shape[0]
    top = a.topk(min(keep, tokens), dim=0).values
    top = torch.nn.functional.pad(top, (0, 0, 0, keep - top.shape[0]), value=-torch.inf)
    if not tokens:
        return top, torch.full_like(top[0], -1, dtype=torch.int32)
    places = torch.arange(tokens, device=a.device, dtype=torch.int32)[:, None]
    # topk and argmax leave open which of equals they name; the first is decided here.
    first = torch.where(a == top[:1], places, tokens).amin(dim=0)
    return top, first.where(top[0] > -torch.inf, -1).to(torch.int32)


def _histogram(a: Tensor) -> Tensor:
    """Tokens per bin of core/method/distribution.py: float32 (n, F) to int32 (F, 32)."""
    neurons = a.shape[1]
    upper = a.contiguous().view(torch.int32) >> BITS_SHIFT
    bins = (upper - BITS_OFFSET).clamp_(1, BINS - 1).mul_(upper > 0)
    bins += torch.arange(0, neurons * BINS, BINS, device=a.device, dtype=torch.int32)
    return torch.bincount(bins.flatten(), minlength=neurons * BINS).view(neurons, BINS).to(torch.int32)
