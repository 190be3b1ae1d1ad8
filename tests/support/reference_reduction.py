"""The scan's reduction, obvious and slow: everything at once, in plain torch."""

import torch
from torch import Tensor

from vlmscope.core.method.distribution import BINS, BITS_OFFSET, BITS_SHIFT
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT
from vlmscope.core.scan.kernels import Reduced, Spans


def reduce_torch(activation: Tensor, spans: Spans) -> Reduced:
    """Reduce one layer's activation in plain torch.

    Args:
        activation: bfloat16, float16 or float32 (B, T, F).
        spans: where the kinds of tokens lie.
    """
    a = activation.float()  # bfloat16 and float16 values are kept without loss
    at = torch.arange(a.shape[1], device=a.device)
    inside = (at < spans.stop[:, None])[..., None]  # (B, T, 1)
    is_text = (at[spans.text_start :] < spans.text_stop[:, None])[..., None]  # (B, R, 1)
    visual, tail = a[:, spans.visual], a[:, spans.text_start :]  # (B, V, F), (B, R, F)
    words = tail.masked_fill(~is_text, 0)
    text_bins = _histogram(words)
    text_bins[:, 0] -= (~is_text).sum()  # the zeros that stand for what is no text
    visual_top, visual_peak = _largest(visual, VISUAL_KEPT)
    text_top, text_peak = _largest(tail.masked_fill(~is_text, -torch.inf), TEXT_KEPT)
    return Reduced(
        maximum=a.masked_fill(~inside, -torch.inf).amax(dim=1),
        visual=visual_top,
        text=text_top,
        peak=torch.stack([visual_peak, text_peak], dim=1),
        sums=torch.stack([torch.stack([x.sum(dim=1), x.square().sum(dim=1)], dim=1) for x in (visual, words)], dim=1),
        histogram=torch.stack([_histogram(visual), text_bins]),
        finite=(a.isfinite() | ~inside).flatten(1).all(dim=1),
    )


def _largest(a: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The ``keep`` largest over the tokens, padded with -inf, and where the first largest lies (-1 if it is -inf).

    Args:
        a: float32 (B, n, F); n may be 0.

    Returns:
        float32 (B, keep, F) in falling order, int32 (B, F).
    """
    tokens = a.shape[1]
    top = a.topk(min(keep, tokens), dim=1).values
    top = torch.nn.functional.pad(top, (0, 0, 0, keep - top.shape[1]), value=-torch.inf)
    if not tokens:
        return top, torch.full_like(top[:, 0], -1, dtype=torch.int32)
    places = torch.arange(tokens, device=a.device, dtype=torch.int32)[:, None]
    # topk and argmax leave open which of equals they name; the first is decided here.
    first = torch.where(a == top[:, :1], places, tokens).amin(dim=1)
    return top, first.where(top[:, 0] > -torch.inf, -1).to(torch.int32)


def _histogram(a: Tensor) -> Tensor:
    """Tokens per bin of core/method/distribution.py, of all samples together: float32 (B, n, F) to int32 (F, 32)."""
    neurons = a.shape[2]
    upper = a.contiguous().view(torch.int32) >> BITS_SHIFT
    bins = (upper - BITS_OFFSET).clamp_(1, BINS - 1).mul_(upper > 0)
    bins += torch.arange(0, neurons * BINS, BINS, device=a.device, dtype=torch.int32)
    return torch.bincount(bins.flatten(), minlength=neurons * BINS).view(neurons, BINS).to(torch.int32)
