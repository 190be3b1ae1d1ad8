"""Reduces one layer's activation (B, T, F) on the device to what a scan keeps, and inserts the best samples' maps.

Notable:
- Both steps are Triton kernels (core/scan/kernels_triton.py), which read every element once. Where they cannot run,
  core/scan/reduction.py reduces in plain torch, and ``insert_maps_torch`` inserts the maps. Both agree to the bit,
  except in the two sums, whose terms are added in another order.
- The fused versions write into existing tensors, and do not wait for the device.
- Which positions are visual, text or template tokens is given by ``positions.py``; padding is not counted.
"""

import logging
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vlmscope.core.base.text import first_line
from vlmscope.core.method.distribution import BINS
from vlmscope.core.method.labels import TEXT_KEPT, VISUAL_KEPT
from vlmscope.core.method.packed import HALF, STEP
from vlmscope.core.scan.positions import Positions, columns
from vlmscope.core.scan.top_samples import EMPTY, LayerMaps, order_key

_LARGEST = torch.finfo(torch.float32).max

# A thread with one neuron takes 64 to 72 registers, one with two 123 to 155 (sm_80 and sm_90, none spilled). With one,
# as many neurons are in flight and more warps hide the loads. Small programs spread evenly over the processors.
_REDUCE_BLOCK, _REDUCE_WARPS = 64, 2
# A sample enters few neurons: small blocks skip most of the others.
_INSERT_BLOCK, _INSERT_TOKENS, _INSERT_WARPS = 32, 32, 4


@dataclass(frozen=True)
class Reduced:
    """What the scan keeps of one layer's activation of one batch: B samples, F neurons.

    For a sample with NaN or an infinity among its tokens only ``finite`` is meaningful.

    Attributes:
        maximum: float32 (B, F), over all tokens of the sequence, template included.
        visual: float32 (B, 8, F), the largest over visual tokens, descending; -inf where there are fewer.
        text: float32 (B, 4, F), the same over text tokens.
        peak: int32 (B, 2, F), place among the sample's visual and among its text tokens of the first largest; -1
            where there is none.
        sums: float32 (B, 2, 2, F), by kind (0 visual, 1 text): of the activation and of its square.
        histogram: int32 (2, F, 32), tokens by kind and by bin of core/method/distribution.py, of all samples together.
        finite: bool (B,), whether the sequence's tokens hold neither NaN nor an infinity.
    """

    maximum: Tensor
    visual: Tensor
    text: Tensor
    peak: Tensor
    sums: Tensor
    histogram: Tensor
    finite: Tensor

    @classmethod
    def empty(cls, batch: int, neurons: int, device: torch.device | str = "cpu") -> Self:
        """Room for a batch: all finite, the histogram 0, the rest uninitialised."""
        return cls(
            maximum=torch.empty((batch, neurons), device=device),
            visual=torch.empty((batch, VISUAL_KEPT, neurons), device=device),
            text=torch.empty((batch, TEXT_KEPT, neurons), device=device),
            peak=torch.empty((batch, 2, neurons), dtype=torch.int32, device=device),
            sums=torch.empty((batch, 2, 2, neurons), device=device),
            histogram=torch.zeros((2, neurons, BINS), dtype=torch.int32, device=device),
            finite=torch.ones(batch, dtype=torch.bool, device=device),
        )


@lru_cache
def fused_works(device: torch.device) -> bool:
    """Whether the fused versions run on ``device``: Triton needs a C compiler, and a GPU that it supports."""
    if find_spec("triton") is None:
        return False
    activation = torch.zeros((1, 3, 1), device=device)
    first, second = np.array([0]), np.array([1])
    positions = Positions.of([first], [second], [3], [None], 1, device)
    out = Reduced.empty(1, 1, device)
    key = torch.zeros((1, 1), dtype=torch.int64, device=device)
    maps = (key, *torch.zeros((2, 1, 1, 1), dtype=torch.uint8, device=device))
    try:
        reduce_fused(activation, positions, out)
        insert_maps_fused(activation, positions, out.maximum, torch.zeros_like(key[0]), out.finite, maps)
        return bool(out.finite.all())  # waits for the device
    except Exception as error:  # noqa: BLE001  # whatever Triton, the compiler or the driver raises: torch is used
        message = "The scan's GPU kernels cannot run, torch is used instead: %s"
        logging.getLogger(__name__).warning(message, first_line(error))
        return False


def reduce_fused(activation: Tensor, positions: Positions, out: Reduced) -> None:
    """Reduce one layer's activation in one pass.

    Args:
        activation: bfloat16, float16 or float32 (B, T, F), its neurons contiguous in memory.
        positions: of the kinds of tokens.
        out: written to; neurons (bins in ``histogram``) are contiguous, other strides are free. ``histogram`` is added
            to; in ``finite`` only False is written.
    """
    from vlmscope.core.scan.kernels_triton import reduce_kernel

    batch, _tokens, neurons = activation.shape
    written = (out.maximum, out.visual, out.text, out.peak, out.sums, out.histogram)
    if any(part.stride(-1) != 1 for part in (activation, *written)) or not _contiguous(positions):
        raise ValueError("neurons (bins in the histogram) must be contiguous")
    with torch.cuda.device(activation.get_device()):
        reduce_kernel[(batch, -(-neurons // _REDUCE_BLOCK))](
            activation,
            positions.order,
            positions.ends,
            *written,
            out.finite.view(torch.uint8),
            neurons,
            positions.order.stride(0),
            *activation.stride()[:2],
            out.maximum.stride(0),
            *out.visual.stride()[:2],
            *out.text.stride()[:2],
            *out.peak.stride()[:2],
            *out.sums.stride()[:3],
            *out.histogram.stride()[:2],
            out.finite.stride(0),
            BLOCK=_REDUCE_BLOCK,
            num_warps=_REDUCE_WARPS,
            enable_fp_fusion=True,
        )


def insert_maps_torch(
    activation: Tensor,
    positions: Positions,
    score: Tensor,
    sample: Tensor,
    finite: Tensor,
    maps: LayerMaps,
    *,
    packed: bool = False,
) -> None:
    """Replace worse maps of each neuron by those of a batch's samples, in plain torch.

    A map's bytes are ``trunc(max(a, 0) * scale + 0.5)`` in float32, with ``scale`` 255 / score, or the largest float32
    if that is less, where score > 0, else 0. The best M do not depend on the order of samples or batches.

    Args:
        activation: bfloat16, float16 or float32 (B, T, F).
        positions: of the kinds of tokens, and of the tokens of each value of the visual maps.
        score: float32 (B, F), the largest activation over visual and text tokens.
        sample: int64 (B,), indices in the data.
        finite: bool (B,); samples that are not finite are left out.
        maps: written to, three tensors. int64 (F, M), ``order_key`` of the kept samples, in any order; M may be 0.
            uint8 (F, M, C), of patches, 0 where ``cells`` has none. uint8 (F, M, T'), of words, 0 after the
            description; words from T' on are left out.
        packed: the maps are small ones, two values to a byte (core/method/packed.py): C and T' are then half as many,
            and ``positions.cells`` has 2 C.
    """
    key, visual, text = maps
    entries, width = text.shape[1:]
    if not entries:
        return
    values = 2 if packed else 1  # of a byte
    new = order_key(score, sample[:, None]).where(finite[:, None], EMPTY).T  # (F, B)
    # Keys other than EMPTY are distinct: the M-th largest of old and new keys decides which enter and which leave.
    last = torch.cat([key, new], dim=1).topk(entries, dim=1).values[:, -1:]
    enters = (new >= last) & (new > EMPTY)
    leaves = (key < last) | (key == EMPTY)
    leaves &= leaves.cumsum(dim=1) <= enters.sum(dim=1, keepdim=True)
    neuron, b = enters.nonzero(as_tuple=True)  # for each neuron as many as there are places
    _, place = leaves.nonzero(as_tuple=True)
    best = score[b, neuron]
    # 255 / best would be 255 times the reciprocal, rounded twice. 0 times infinity would be NaN.
    scale = (torch.full_like(best, 255) / best).clamp(max=_LARGEST).where(best > 0, 0)[:, None]
    key[neuron, place] = new[neuron, b]
    for at, sequence in enumerate(activation):
        mine = (b == at).nonzero()[:, 0]
        where = neuron[mine], place[mine]
        patches, words = (
            columns(sequence, places, where[0]).float().clamp_(min=0).mul_(scale[mine]).add_(0.5).to(torch.uint8)
            for places in (positions.visual[at], positions.text[at])
        )
        slots = positions.slots[at]
        cells = _padded(patches if slots is None else _pooled(patches, slots), values * visual.shape[-1])
        tokens = _padded(words[:, : values * width], values * width)
        visual[where], text[where] = (_packed(cells), _packed(tokens)) if packed else (cells, tokens)


def _pooled(patches: Tensor, slots: Tensor) -> Tensor:
    """The largest byte of the tokens of each value: uint8 (k, V) by int64 (K, C) to uint8 (k, C); 0 where none is."""
    found = torch.zeros((len(patches), slots.shape[1]), dtype=torch.uint8, device=patches.device)
    for one in slots:
        torch.maximum(found, patches[:, one.clamp(min=0)].where(one >= 0, 0), out=found)
    return found


def _packed(bytes_: Tensor) -> Tensor:
    """``core/method/packed.py`` in torch: uint8 (k, 2 n) to uint8 (k, n)."""
    levels = bytes_.to(torch.int16).add_(HALF).floor_divide_(STEP).to(torch.uint8)
    return levels[:, 0::2] | levels[:, 1::2] << 4


def _padded(bytes_: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(bytes_, (0, width - bytes_.shape[1]))


def insert_maps_fused(
    activation: Tensor,
    positions: Positions,
    score: Tensor,
    sample: Tensor,
    finite: Tensor,
    maps: LayerMaps,
    *,
    packed: bool = False,
) -> None:
    """``insert_maps_torch`` in one launch. Arguments as there; the last axis of each must be contiguous.

    A block of neurons into which no sample enters reads scores and keys only.
    """
    key, visual, text = maps
    entries, width = text.shape[1:]
    if not entries:
        return
    from vlmscope.core.scan.kernels_triton import insert_kernel

    batch, _tokens, neurons = activation.shape
    parts = (activation, score, sample, finite, key, visual, text)
    if any(part.stride(-1) != 1 for part in parts) or not _contiguous(positions):
        raise ValueError("the last axis of each argument must be contiguous")
    with torch.cuda.device(activation.get_device()):
        insert_kernel[(-(-neurons // _INSERT_BLOCK),)](
            activation,
            positions.order,
            positions.ends,
            positions.cells,
            score,
            sample,
            finite.view(torch.uint8),
            key,
            visual,
            text,
            batch,
            neurons,
            entries,
            *positions.cells.shape[1:],
            visual.shape[-1],
            width,
            positions.order.stride(0),
            *activation.stride()[:2],
            score.stride(0),
            key.stride(0),
            *visual.stride()[:2],
            *text.stride()[:2],
            BLOCK=_INSERT_BLOCK,
            TOKENS=_INSERT_TOKENS,
            VALUES=2 if packed else 1,
            num_warps=_INSERT_WARPS,
            enable_fp_fusion=False,  # a product and a sum are two roundings, as in the plain version
        )


def _contiguous(positions: Positions) -> bool:
    return all(part.is_contiguous() for part in (positions.order, positions.ends, positions.cells))
