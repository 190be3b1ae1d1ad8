"""The usual way to label neurons, to measure the scan against: two passes, one sample at a time, a heap a neuron.

It is written plainly, as public reimplementations of the paper are, and not slowed down: a layer's activation goes to
the host once, maxima and counts over tokens are numpy's, and only the heaps are Python's. A pass goes to the model for
every sample; what is relative to a neuron's maximum over all data (the norm) has to wait for the second. A public
implementation needs 5.5 times the bare forward passes on the CPU.

Labels and top samples are those of ``core/scan.py`` exactly where both see the same activations (batches of one).
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.images import load_image
from core.labels import BoolArray, FloatArray, Label, Labels, Thresholds
from core.neuron import HookPoint
from core.samples import Data
from core.vlm import Encoded, Vlm

Heap = list[tuple[float, int]]  #: (score, -sample): the smallest, on top, is the worst of the best


@dataclass(frozen=True)
class TwoPass:
    """What it found.

    Attributes:
        top_sample: int32 (L, F, N), best first; -1 where there are fewer than N samples.
        maximum: float32 (L, F), over all tokens of all samples.
    """

    top_sample: NDArray[np.int32]
    maximum: FloatArray
    labels: Labels


def two_pass(
    vlm: Vlm,
    data: Data,
    prompt: str,
    hook: HookPoint,
    top_n: int,
    thresholds: Thresholds,
    progress: Callable[[str, int, int], None],
) -> TwoPass:
    """Label all neurons in two passes over ``data``, all of whose samples must be usable.

    Raises:
        SamplesError: if one is not.
    """
    shape = (vlm.layers, vlm.neurons)
    maximum = np.full(shape, -np.inf, dtype=np.float32)
    heaps: list[list[Heap]] = [[[] for _ in range(vlm.neurons)] for _ in range(vlm.layers)]
    total = len(data.sources)
    for sample, encoded, pixels in _samples(vlm, data, prompt):
        progress("first pass", sample, total)
        _run(vlm, hook, encoded, pixels, partial(_rank, sample, encoded, maximum, heaps, top_n))
    progress("first pass", total, total)

    top = np.full((*shape, top_n), -1, dtype=np.int32)
    held: list[list[list[int]]] = [[[] for _ in range(total)] for _ in range(vlm.layers)]
    for layer, of_layer in enumerate(heaps):
        for neuron, heap in enumerate(of_layer):
            heap.sort(reverse=True)
            for rank, (_, minus) in enumerate(heap):
                top[layer, neuron, rank] = -minus
                held[layer][-minus].append(neuron)

    votes = np.zeros((*shape, len(Label)), dtype=np.uint16)
    for sample, encoded, pixels in _samples(vlm, data, prompt):
        progress("second pass", sample, total)
        of_sample = [np.array(of_layer[sample], dtype=np.int64) for of_layer in held]
        _run(vlm, hook, encoded, pixels, partial(_vote, encoded, maximum, of_sample, votes, thresholds))
    progress("second pass", total, total)
    return TwoPass(top, maximum, Labels.from_votes(votes, min(top_n, total), thresholds))


def _samples(vlm: Vlm, data: Data, prompt: str) -> Iterator[tuple[int, Encoded, Tensor]]:
    """Each sample made ready when it is needed, again in each pass: the pixels of a data set fit into no memory."""
    for index, source in enumerate(data.sources):
        encoded = vlm.encode(prompt, source.description or "")
        yield index, encoded, vlm.pixels(load_image(data.root / source.image))


def _run(vlm: Vlm, hook: HookPoint, encoded: Encoded, pixels: Tensor, use: Callable[[int, FloatArray], None]) -> None:
    """One forward pass; ``use`` gets each layer and its activation, float32 (T, F)."""

    def take(layer: int, activation: Tensor) -> None:
        use(layer, activation[0].cpu().float().numpy())

    vlm.forward(encoded.input_ids[None], pixels[None], {n: partial(take, n) for n in range(vlm.layers)}, hook)


def _rank(
    sample: int,
    encoded: Encoded,
    maximum: FloatArray,
    heaps: list[list[Heap]],
    top_n: int,
    layer: int,
    activation: FloatArray,
) -> None:
    """The first pass: running maxima, and the best ``top_n`` samples by their largest visual or text activation."""
    np.maximum(maximum[layer], activation.max(axis=0), out=maximum[layer])
    scores = np.maximum(activation[encoded.visual].max(axis=0), activation[encoded.text].max(axis=0))
    for heap, score in zip(heaps[layer], scores.tolist(), strict=True):
        if len(heap) < top_n:
            heapq.heappush(heap, (score, -sample))
        elif score > heap[0][0]:  # of equal scores the earlier sample's stays
            heapq.heapreplace(heap, (score, -sample))


def _vote(
    encoded: Encoded,
    maximum: FloatArray,
    of_sample: list[NDArray[np.int64]],
    votes: NDArray[np.uint16],
    thresholds: Thresholds,
    layer: int,
    activation: FloatArray,
) -> None:
    """The second pass: the sample's vote for every neuron among whose best it is."""
    neurons = of_sample[layer]
    if not neurons.size:
        return
    highest = maximum[layer, neurons].astype(np.float64)

    def active(tokens: slice, threshold: float, least: int) -> BoolArray:
        norms = activation[tokens][:, neurons].astype(np.float64) * 10  # of scale gmax instead of 1 (method.md)
        above: BoolArray = (norms > threshold * highest) & (highest > 0)
        enough: BoolArray = above.sum(axis=0) >= least
        return enough

    visual = active(encoded.visual, thresholds.T_v, thresholds.n_v)
    text = active(encoded.text, thresholds.T_t, thresholds.n_t)
    both = visual & text
    vote = np.select([both, visual, text], [Label.MULTIMODAL, Label.VISUAL, Label.TEXT], default=Label.UNKNOWN)
    votes[layer, neurons, vote] += 1
