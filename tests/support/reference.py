"""The slow, obvious way: the model twice over the data, one sample at a time, a Python list for every neuron.

It shares no code with ``reduction.py`` or ``top_samples.py``
of ``core/scan``: it keeps all activations of a sample, reads
them from hooks of its own, and follows method.md sentence by sentence.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm


@dataclass(frozen=True)
class Reference:
    """top: for each (layer, neuron) the sample indices, best first. p: float64 (L, F, 4). gmax: (L, F)."""

    top: dict[tuple[int, int], list[int]]
    p: NDArray[np.float64]
    label: NDArray[np.int64]
    gmax: NDArray[np.float64]


def all_activations(vlm: Vlm, hook: HookPoint, inputs: Inputs) -> NDArray[np.float64]:
    """Every activation of one sample, alone in its batch: float64 (L, T, F)."""
    layers = vlm.model.model.language_model.layers
    kept: dict[int, NDArray[np.float64]] = {}

    def keep(layer: int, value: torch.Tensor) -> None:
        kept[layer] = value[0].double().numpy()

    handles = []
    for index, layer in enumerate(layers):
        if hook is HookPoint.GATE:
            handles.append(layer.mlp.act_fn.register_forward_hook(lambda _m, _i, out, n=index: keep(n, out)))
        else:
            handles.append(layer.mlp.down_proj.register_forward_pre_hook(lambda _m, args, n=index: keep(n, args[0])))
    with torch.inference_mode():
        vlm.model(**inputs)
    for handle in handles:
        handle.remove()
    return np.stack([kept[n] for n in range(len(layers))])


def two_pass(
    vlm: Vlm, hook: HookPoint, samples: list[tuple[Encoded, Inputs]], top_n: int, thresholds: Thresholds
) -> Reference:
    shape = (vlm.layers, vlm.neurons)
    gmax = np.full(shape, -np.inf)
    scores = np.zeros((len(samples), *shape))
    for s, (encoded, inputs) in enumerate(samples):  # first pass: maxima and scores
        a = all_activations(vlm, hook, inputs)
        gmax = np.maximum(gmax, a.max(axis=1))
        content = np.concatenate([a[:, encoded.visual], a[:, encoded.text]], axis=1)
        scores[s] = content.max(axis=1)
    votes = np.zeros((len(samples), *shape), dtype=np.int64)
    for s, (encoded, inputs) in enumerate(samples):  # second pass: thresholds relative to gmax
        a = all_activations(vlm, hook, inputs)
        above_v = a[:, encoded.visual] * 10 > thresholds.T_v * gmax[:, None]
        above_t = a[:, encoded.text] * 10 > thresholds.T_t * gmax[:, None]
        visual = (above_v.sum(axis=1) >= thresholds.n_v) & (gmax > 0)
        text = (above_t.sum(axis=1) >= thresholds.n_t) & (gmax > 0)
        votes[s] = np.select([visual & text, visual, text], [2, 0, 1], default=3)
    top: dict[tuple[int, int], list[int]] = {}
    p = np.zeros((*shape, 4))
    label = np.zeros(shape, dtype=np.int64)
    for layer in range(shape[0]):
        for neuron in range(shape[1]):
            column = scores[:, layer, neuron].tolist()
            best = [s for _, s in sorted((-score, s) for s, score in enumerate(column))][:top_n]
            top[layer, neuron] = best
            counts = [0, 0, 0, 0]
            for s in best:
                counts[int(votes[s, layer, neuron])] += 1
            p[layer, neuron] = np.array(counts) / len(best)
            label[layer, neuron] = counts.index(max(counts))
    return Reference(top, p, label, gmax)
