"""The exact merge of the shards of one scan.

A neuron's top samples are the best of all shards' by the total order of ``top_samples.py``. So the merge is one
``topk`` for any number of shards; maxima, counts and sums are as simple. The merge works layer by layer: the keys of
one layer of all shards are in memory, and of everything else one layer of one shard.
"""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlmscope.core.base.callbacks import OnProgress
from vlmscope.core.base.errors import StoreError
from vlmscope.core.method.concepts import find_concepts
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.scan.panel import check_panel, panel_array, panel_samples
from vlmscope.core.scan.state import check_scanned, finished
from vlmscope.core.scan.top_samples import EMPTY, key_sample, order_key
from vlmscope.core.store.arrays import (
    NO_PEAK,
    SMALL_TEXT,
    SMALL_VISUAL,
    LayerArrays,
    array_shapes,
    layer_shapes,
    of_layer,
    open_array,
)
from vlmscope.core.store.digest import DataDigest
from vlmscope.core.store.layouts import layout_arrays
from vlmscope.core.store.manifest import Manifest, SmallMaps
from vlmscope.core.store.panel import PANEL_TEXT, PANEL_VISUAL
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.shards import check_shards
from vlmscope.core.store.writer import StoreWriter, arrays_bytes, check_free, check_out

_OF_SAMPLES = ("top_visual", "top_text", "peak_visual", "peak_text")
_MAPS, _SMALL = ("maps_visual", "maps_text"), (SMALL_VISUAL, SMALL_TEXT)
#: Fills entries without a sample.
_EMPTY: dict[str, float] = {
    "top_visual": -np.inf,
    "top_text": -np.inf,
    "peak_visual": NO_PEAK,
    "peak_text": NO_PEAK,
    "maps_visual": 0,
    "maps_text": 0,
    SMALL_VISUAL: 0,
    SMALL_TEXT: 0,
}


def merge_scans(folders: Sequence[Path], out: Path, progress: OnProgress) -> Manifest:
    """Merge the shards of one scan, in any order, into the folder ``out``, and return its manifest.

    The result equals what one process makes of the same activations.

    Raises:
        UsageError: if no folder is given.
        StoreError: if they are not the finished shards of one scan, each of them once; if one is damaged; if ``out``
            exists or cannot be written.
        SamplesError: if no sample counts.
    """
    check_out(out)
    stores = [ScanStore(folder) for folder in check_shards(folders)]
    merged = merged_manifest([store.manifest for store in stores])
    check_scanned(merged)
    for store in stores:
        check_panel(store)
    logs = [store.manifest.progress for store in stores]
    check_free(out, arrays_bytes(merged) + sum(log.samples_bytes + log.crops_bytes for log in logs if log is not None))
    with StoreWriter(out, merged.samples) as writer:
        descriptions, digest = _copy_samples(stores, writer, progress, with_fields=bool(merged.fields))
        merged = merged.model_copy(update={"data_sha256": digest})
        layers = merged.model.layers
        with LayerArrays(writer.folder / merged.arrays, merged) as arrays:
            progress("merging layers", 0, layers)
            for layer in range(layers):
                arrays.put(layer, merge_layer(stores, merged, layer))
                progress("merging layers", layer + 1, layers)
        top_sample = open_array(writer.folder / merged.arrays / "top_sample.npy", *array_shapes(merged)["top_sample"])
        known = merged.without_skipped(descriptions)
        concepts = find_concepts(top_sample, known, lambda done, total: progress("finding concepts", done, total))
        without_layers = {**panel_array(merged), **layout_arrays(_layouts(stores, merged))}
        writer.finish(merged, without_layers, concepts, by_layer=True)
    return merged


def merged_manifest(shards: Sequence[Manifest]) -> Manifest:
    """The manifest of the whole scan, without ``data_sha256``; the shards are in the order of their numbers."""
    # A shard made by an earlier version, without the digests of weights or processor, leaves the whole without them.
    first = min(shards, key=lambda shard: shard.model.known)
    layouts = {layout.id: layout for shard in shards for layout in shard.layouts}
    return first.model_copy(
        update={
            "created": min(shard.created for shard in shards),
            "scanned": sum(shard.scanned for shard in shards),
            "skipped": tuple(
                sorted((skipped for shard in shards for skipped in shard.skipped), key=lambda skipped: skipped.sample)
            ),
            "visual_tokens_max": max(shard.visual_tokens_max for shard in shards),
            "layouts": tuple(layout for _, layout in sorted(layouts.items())),
            "small": _small(shards),
            "fields": None if any(shard.fields is None for shard in shards) else first.fields,
            "panel": None if any(shard.panel is None for shard in shards) else first.panel,
            "text_tokens_max": max(shard.text_tokens_max for shard in shards),
            "visual_tokens": sum(shard.visual_tokens for shard in shards),
            "text_tokens": sum(shard.text_tokens for shard in shards),
            "arrays": "arrays-1",
            "progress": None,
        }
    )


def _small(shards: Sequence[Manifest]) -> SmallMaps | None:
    """The small maps of the whole scan: none where a shard, made by an earlier version, has none."""
    of_shards = [shard.small for shard in shards if shard.small is not None]
    if len(of_shards) < len(shards):
        return None
    return of_shards[0].model_copy(update={"values": max(small.values for small in of_shards)})


def merge_layer(stores: Sequence[ScanStore], merged: Manifest, layer: int) -> dict[str, NDArray[Any]]:
    """One layer of the whole scan: its arrays as in ``core/store/reader.py``, with 1 for the layers."""
    entries = merged.top_n
    key, where = torch.cat([_keys(store, layer) for store in stores], dim=1).topk(entries, dim=1)
    # For every entry its shard (-1: none) and its place there: (F, N).
    shard = np.where(key.numpy() == EMPTY, -1, where.numpy() // entries)
    rank = where.numpy() % entries
    shapes = layer_shapes(merged)
    found: dict[str, NDArray[Any]] = {"top_sample": key_sample(key)[None].to(torch.int32).numpy()}
    for name, empty in _EMPTY.items():
        if name not in shapes:
            continue
        dtype, shape = shapes[name]
        found[name] = np.full(shape, empty, dtype=dtype)
    for number, store in enumerate(stores):
        mine = shard == number
        neuron, place = np.nonzero(mine)
        source = rank[mine]
        for name in _OF_SAMPLES:
            found[name][..., 0, neuron, place] = of_layer(name, store.arrays[name], layer)[..., 0, neuron, source]
        # One of the best M of all is one of the best M of its shard, so its maps are stored there.
        for names, kept in ((_MAPS, merged.maps), (_SMALL, merged.small_kept)):
            best = place < kept
            to, row, from_ = place[best], neuron[best], source[best]
            for name in names if kept else ():
                maps = of_layer(name, store.arrays[name], layer)
                found[name][0, row, to, : maps.shape[-1]] = maps[0, row, from_]
    for names, together in ((("maximum", "content_maximum"), np.maximum), (("sums", "histogram"), np.add)):
        for name in names:
            found[name] = reduce(together, (of_layer(name, store.arrays[name], layer) for store in stores))
    if merged.panel_drawn:
        owner = np.array(panel_samples(merged)) % len(stores)
        for name in (PANEL_VISUAL, PANEL_TEXT):
            dtype, shape = shapes[name]
            found[name] = np.empty(shape, dtype=dtype)
            for number, store in enumerate(stores):
                mine = np.flatnonzero(owner == number)
                found[name][..., mine] = store.arrays[name][layer : layer + 1, :, mine]
    return finished(merged, found)


def _layouts(stores: Sequence[ScanStore], merged: Manifest) -> list[VisualLayout]:
    """The layouts in the order of the manifest, each from the first shard that has it."""
    found: dict[str, VisualLayout] = {}
    for store in stores:
        for info in store.manifest.layouts:
            if info.id not in found:
                found[info.id] = store.layouts.get(info.id)
    return [found[info.id] for info in merged.layouts]


def _keys(store: ScanStore, layer: int) -> torch.Tensor:
    """The keys of one layer's top samples: int64 (F, N)."""
    arrays = store.arrays
    score = np.maximum(arrays["top_visual"][0, layer], arrays["top_text"][0, layer])
    sample = torch.from_numpy(np.array(arrays["top_sample"][layer]))
    return torch.where(sample < 0, EMPTY, order_key(torch.from_numpy(score), sample))


def _copy_samples(
    stores: Sequence[ScanStore], writer: StoreWriter, progress: OnProgress, *, with_fields: bool
) -> tuple[list[str], str]:
    """Copy every sample from the shard that processed it.

    Args:
        with_fields: whether all shards have the fields of the listing.

    Returns:
        all descriptions, and the SHA-256 over the data.
    """
    samples = stores[0].manifest.samples
    descriptions, digest = [], DataDigest()
    for index in range(samples):
        store = stores[index % len(stores)]
        if not store.processed(index):
            raise StoreError(f"{store.folder} lacks sample {index}, which belongs to it.", "Copy the scan again.")
        record = store.record(index)
        writer.add_sample(
            record.image,
            record.description,
            record.tokens,
            store.crop(index),
            record.sha256,
            store.layout(index).id if record.tokens else None,
            record.seen,
            record.fields if with_fields else None,
        )
        digest.add(record.image, record.sha256, record.description)
        descriptions.append(record.description)
        if index % 100 == 0:
            progress("merging samples", index, samples)
    progress("merging samples", samples, samples)
    return descriptions, digest.hexdigest()
