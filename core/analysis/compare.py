"""Two scans neuron by neuron: the label before and after, and how many top samples are the same pictures.

It answers what a neuron has become: in a fine-tuned model, under another prompt, at another hook point. Neurons are
matched by their address, so both models must have the same shape; whether their weights are related is not checked.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.analysis.statistics import Counts, labels_at
from vlmscope.core.base.callbacks import OnCount
from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.base.neuron import Numbering, Poles
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.store.arrays import COPY_AGAIN
from vlmscope.core.store.reader import ScanStore

Picture = tuple[str, str | None]  #: the name of a sample's image, and its SHA-256


_POLES = {Poles.ONE: "one pole of each neuron", Poles.BOTH: "both poles"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two scans of L layers and F neurons.

    Attributes:
        before, after: uint8 (L, F), the labels.
        shared: uint16 (L, F), pictures that are among the top samples in both scans.
        top: how many top samples each neuron has, in the first scan and in the second.
        pictures: different ones of all samples, in the first scan, in the second, and in both.
        numbering: of the neurons of both.
        by_content: whether pictures are the same by name and SHA-256; by name alone where a scan stores no SHA-256.
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    shared: NDArray[np.uint16]
    top: tuple[int, int]
    pictures: tuple[int, int, int]
    numbering: Numbering
    by_content: bool

    @property
    def by_chance(self) -> float:
        """How many top samples two unrelated neurons share in the mean: drawn at random from each scan's pictures."""
        first, second, both = self.pictures
        return self.top[0] * self.top[1] * both / (first * second) if both else 0.0

    def transitions(self, layer: int | None = None) -> Counts:
        """Neurons of one layer, or of all, by label before (rows) and after (columns): int64 (4, 4)."""
        at = slice(None) if layer is None else layer
        pairs = self.before[at].astype(np.int64) * len(Label) + self.after[at]
        return np.bincount(pairs.ravel(), minlength=len(Label) ** 2).reshape(len(Label), len(Label))


def compare(
    before: ScanStore,
    after: ScanStore,
    thresholds: tuple[Thresholds, Thresholds],
    progress: OnCount = lambda _done, _total: None,
) -> Comparison:
    """Compare all neurons, a layer at a time.

    Args:
        thresholds: of the first scan's labels and of the second's.

    Raises:
        UsageError: if the scans have other numbers of layers or neurons, or other poles.
        StoreError: if one of them is damaged.
    """
    one, other = (store.manifest.poles for store in (before, after))
    if one is not other:
        raise UsageError(
            f"The scans cannot be compared neuron by neuron: {before.folder} has {_POLES[one]}, {after.folder} "
            f"{_POLES[other]}.",
            "Name two scans with the same --poles; without --neurons, label shares of any scans are compared.",
        )
    shapes = [(store.layers, store.neurons) for store in (before, after)]
    if shapes[0] != shapes[1]:
        (layers, neurons), (others, other_neurons) = shapes
        raise UsageError(
            f"The scans cannot be compared neuron by neuron: {before.folder} has {layers} layers of {neurons} neurons, "
            f"{after.folder} {others} of {other_neurons}.",
            "Name two scans of models of one shape; without --neurons, label shares of any scans are compared.",
        )
    names = [_pictures(store) for store in (before, after)]
    by_content = all(sha256 is not None for found in names for _, sha256 in found.values())
    numbers: dict[Picture, int] = {}
    numbered, different = [], []
    for store, found in zip((before, after), names, strict=True):
        known = [(image, sha256 if by_content else None) for image, sha256 in found.values()]
        codes = np.full(store.manifest.samples, -1, dtype=np.int64)
        codes[list(found)] = [numbers.setdefault(one, len(numbers)) for one in known]
        numbered.append(codes)
        different.append(len(set(known)))
    shared = np.zeros(shapes[0], dtype=np.uint16)
    for layer in range(before.layers):
        progress(layer, before.layers)
        tops = [_top(store, layer, codes) for store, codes in zip((before, after), numbered, strict=True)]
        shared[layer] = _in_both(*tops)
    first, second = (labels_at(store, at).label for store, at in zip((before, after), thresholds, strict=True))
    in_both = sum(different) - len(numbers)
    return Comparison(
        before=first.astype(np.uint8),
        after=second.astype(np.uint8),
        shared=shared,
        top=(before.valid, after.valid),
        pictures=(different[0], different[1], in_both),
        numbering=before.numbering,
        by_content=by_content,
    )


def _pictures(store: ScanStore) -> dict[int, Picture]:
    """The picture of each sample that counts, by the sample's index."""
    skipped = {skip.sample for skip in store.manifest.skipped}
    found: dict[int, Picture] = {}
    for index in range(store.manifest.samples):
        if store.processed(index) and index not in skipped:
            record = store.record(index)
            found[index] = (record.image, record.sha256)
    return found


def _top(store: ScanStore, layer: int, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pictures of a layer's top samples as numbers: int64 (F, N)."""
    samples = np.asarray(store.arrays["top_sample"][layer, :, : store.valid])
    if samples.size and not 0 <= samples.min() <= samples.max() < len(codes):
        raise _damaged(store, layer)
    found: NDArray[np.int64] = codes[samples]
    if (found < 0).any():
        raise _damaged(store, layer)
    return found


def _damaged(store: ScanStore, layer: int) -> StoreError:
    return StoreError(f"{store.folder} is damaged: a top sample in layer {layer} is not a sample of it.", COPY_AGAIN)


def _in_both(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many different numbers each row of ``a`` has in common with the same row of ``b``: int64 (F,)."""
    rows = np.concatenate([_once(a, -1), _once(b, -2)], axis=1)
    rows.sort(axis=1)
    found: NDArray[np.int64] = np.count_nonzero((rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] >= 0), axis=1)
    return found


def _once(rows: NDArray[np.int64], instead: int) -> NDArray[np.int64]:
    """Sorted rows with ``instead``, a negative number, in place of each repetition."""
    rows = np.sort(rows, axis=1)
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = instead
    return rows
