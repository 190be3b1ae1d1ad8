"""A scan on disk, read without a model, a GPU or the original images.

    SCAN/
      manifest.json            what was computed from what; replaced last, so what it names is whole
      samples.jsonl            one line a sample, as processed: image, its SHA-256, description, tokens, its crop
      crops.bin                JPEGs, one after another: the crop that the model saw, small
      arrays-.../              L layers, F neurons, N top samples, M maps, V and T values at most, S and P samples.
                               With both poles F is twice the units: row 2i is the positive pole of unit i, 2i + 1 its
                               negative one, whose activations are the unit's times -1
        sample_lines.npy       int64   (S, 2)         where each sample's line begins and ends; zeros: not processed
        top_sample.npy         int32   (L, F, N)      best first; -1 where there are fewer than N samples
        top_visual.npy         float32 (8, L, F, N)   k-th largest activation over visual tokens; -inf where none
        top_text.npy           float32 (4, L, F, N)   the same over text tokens
        peak_visual.npy        uint16  (L, F, N)      the visual token, of the sample's, of the largest activation
        peak_text.npy          uint16  (L, F, N)      the description token of the largest text activation
        maps_visual.npy        uint8   (L, F, M, V)   activation / score * 255, negatives 0; 0 after the sample's own
        maps_text.npy          uint8   (L, F, M, T)
        small_visual.npy       uint8   (L, F, K, ..)  small maps of K top samples: pooled, two levels of 0 to 15 a byte
        small_text.npy         uint8   (L, F, K, ..)  (core/method/packed.py); neither in scans of earlier versions
        maximum.npy            float32 (L, F)         over all token positions: gmax
        content_maximum.npy    float32 (L, F)         over visual and text tokens
        moments.npy            float32 (2, 2, L, F)   by kind (visual, text): mean, mean square
        histogram.npy          uint32  (2, L, F, 32)  by kind; bins of core/method/distribution.py
        votes.npy              uint16  (L, F, 4)      at the scan's own thresholds
        panel_sample.npy       int32   (P,)           the panel's samples, ascending; none of the three without a panel
        panel_visual.npy       uint16  (L, F, P)      bfloat16: largest activation over each one's visual tokens; -inf
        panel_text.npy         uint16  (L, F, P)      where it has none, was skipped or not processed yet
        sums.npy               float64 (2, 2, L, F)   only where the scan is not whole: what moments are means of
        layout_edges.npy       uint16  (B, 4)         boxes of the layouts that are not plain, one after another
        layout_cover.npy       uint8   (B,)           (core/method/layout.py); neither where all are plain
      concepts/                may be missing; core/method/concepts.py describes it

The k-th statistics are the outermost axis, so that relabelling reads two contiguous blocks. A sample's score is its
largest visual or text activation: max(top_visual[0], top_text[0]).
"""

import json
import math
import stat
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.demo import DEMO, demo_folder, scan_folder
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.files import PartReader
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.method.distribution import Distribution
from vlmscope.core.method.labels import Label, Labels, Thresholds, label_neurons, sample_votes
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.method.packed import LEVELS, unpacked
from vlmscope.core.store.arrays import COPY_AGAIN, NO_PEAK, SMALL_TEXT, SMALL_VISUAL, array_shapes, open_array
from vlmscope.core.store.example import Example, Sample
from vlmscope.core.store.layouts import COVER, EDGES, StoredLayouts, map_layout
from vlmscope.core.store.lock import being_scanned
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.panel import SCAN_AGAIN, Panel, panel_of
from vlmscope.core.store.sample_log import CROPS, LINE_BYTES, SAMPLES, SampleRecord

if TYPE_CHECKING:
    from vlmscope.core.method.concepts import Concepts

RECORDS = 512  #: kept in memory, at most
RECORDS_BYTES = 16 * 1024 * 1024  #: of their lines, at most: the records take some ten times as much


class ScanStore:
    """A scan opened for reading; arrays are memory-mapped, so opening costs the same for 5 thousand and 500."""

    def __init__(self, folder: Path) -> None:
        """Open ``folder``. Raises StoreError if it is not a scan, is damaged, or is of another schema version."""
        self.folder = folder
        self.images_trusted = False  #: whether the user has agreed that pictures without a digest are used
        self.manifest = manifest = read_manifest(folder)
        arrays = folder / manifest.arrays
        self.arrays = {name: open_array(arrays / f"{name}.npy", *spec) for name, spec in array_shapes(manifest).items()}
        self._lines = self.arrays["sample_lines"]
        self._layouts: dict[str | None, VisualLayout] = {}  # by the name that a sample's line has
        self.layouts = StoredLayouts(folder, manifest.layouts, self.arrays.get(EDGES), self.arrays.get(COVER))
        crops = 0 if manifest.progress is None else manifest.progress.crops_bytes
        for name, size in ((SAMPLES, int(self._lines.max(initial=0))), (CROPS, crops)):
            try:
                found = (folder / name).stat()
            except OSError as error:
                raise StoreError(f"{folder / name} is missing.", COPY_AGAIN) from error
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"{folder / name} is not a regular file.", COPY_AGAIN)
            if found.st_size < size:
                raise StoreError(f"{folder / name} is truncated: {found.st_size} of {size} bytes.", COPY_AGAIN)
        self._samples, self._crops = PartReader(folder / SAMPLES), PartReader(folder / CROPS)
        #: The line of a processed sample, by its index, as it was written; raises StoreError if it is damaged.
        #: (A method here would tie the store to its own cache: its files would stay open until garbage is collected.)
        longest = max(1, int((self._lines[:, 1] - self._lines[:, 0]).max(initial=0)))
        self.record = lru_cache(maxsize=max(1, min(RECORDS, RECORDS_BYTES // longest)))(
            partial(_read_record, self._lines, self._samples, manifest.text_tokens_max)
        )

    @cached_property
    def _own_pictures(self) -> Path:
        """The folder whose pictures are used without a digest."""
        return demo_folder() if self.manifest.image_root == DEMO else self.folder

    @cached_property
    def valid(self) -> int:
        """How many top samples each neuron has."""
        return self.manifest.valid

    @property
    def layers(self) -> int:
        return self.manifest.model.layers

    @property
    def neurons(self) -> int:
        """F: FFN units of one layer, or their poles, twice as many."""
        return self.numbering.neurons

    @cached_property
    def numbering(self) -> Numbering:
        """How rows of the arrays are neurons: an address, the neuron of a row."""
        return self.manifest.numbering

    @property
    def maximum(self) -> NDArray[np.float32]:
        """gmax of every neuron, float32 (L, F)."""
        return self.arrays["maximum"]

    def processed(self, index: int) -> bool:
        """Whether the scan has processed the sample of this index; a shard never processes those of others."""
        return 0 <= index < len(self._lines) and bool(self._lines[index, 1])

    @cached_property
    def panel(self) -> Panel | None:
        """What every neuron does on samples drawn at random, or None where the scan has no panel.

        Raises:
            StoreError: if the panel's samples are damaged.
        """
        try:
            return panel_of(self.manifest, self.arrays, self._lines[:, 1] > 0)
        except ValueError as error:
            raise StoreError(f"{self.folder} is damaged: {error}.", COPY_AGAIN) from error

    def panel_for(self, what: str) -> Panel:
        """The panel. Raises StoreError where the scan has none: ``what`` begins the sentence "... needs a panel."."""
        if self.panel is not None:
            return self.panel
        made = "by an earlier vlmscope" if self.manifest.panel is None else "with --panel 0"
        raise StoreError(
            f"{what} needs a panel of random samples; {self.folder} was made {made} and has none.", SCAN_AGAIN
        )

    @property
    def has_concepts(self) -> bool:
        """Whether the scan has concepts, without reading them; one that is not whole has none."""
        return self.manifest.progress is None and (self.folder / "concepts").is_dir()

    @cached_property
    def concepts(self) -> "Concepts | None":
        """The concepts of every neuron, or None where the scan has none. Raises StoreError if they are damaged."""
        from vlmscope.core.store.concept_files import read_concepts  # the first paint needs none

        return None if self.manifest.progress is not None else read_concepts(self.folder, self.manifest)

    def stored_labels(self) -> Labels:
        """The labels at the scan's own thresholds: reads the votes alone. Raises StoreError if they are damaged."""
        votes = np.asarray(self.arrays["votes"])
        if (votes.sum(axis=-1, dtype=np.uint32) != self.valid).any():
            raise StoreError(
                f"{self.folder} is damaged: votes.npy does not count the {self.valid} top samples of every neuron.",
                COPY_AGAIN,
            )
        return Labels.from_votes(votes, self.valid, self.manifest.thresholds.value())

    def labels(self, thresholds: Thresholds, at: tuple[int | slice, ...] = ()) -> Labels:
        """The labels of all neurons, or of those ``at`` these layers and indices, at any thresholds."""
        visual, text = self._compared(thresholds, at)
        return label_neurons(visual, text, np.asarray(self.maximum[at]), self.valid, thresholds)

    def labels_of(self, neuron: Neuron, thresholds: Thresholds) -> Labels:
        """The label of one neuron at any thresholds: arrays of one entry."""
        return self.labels(thresholds, (neuron.layer, slice(neuron.index, neuron.index + 1)))

    def _compared(self, thresholds: Thresholds, at: tuple[int | slice, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
        """What the thresholds are compared with: the n_v-th visual and the n_t-th text activation of top samples."""
        visual, text = self.arrays["top_visual"], self.arrays["top_text"]
        return np.asarray(visual[(thresholds.n_v - 1, *at)]), np.asarray(text[(thresholds.n_t - 1, *at)])

    def sample(self, index: int) -> Sample:
        """The sample of this index in the data. Raises StoreError if its line is damaged."""
        record = self.record(index)
        return Sample(
            index=index,
            image=record.image,
            description=record.description,
            tokens=record.tokens,
            image_root=self.manifest.image_root,
            sha256=record.sha256,
            within=None if self.images_trusted else self._own_pictures,
            seen=record.seen,
            fields=record.fields,
            read_layout=partial(self.layout, index),
        )

    def layout(self, index: int) -> VisualLayout:
        """Where the visual tokens of a sample look. Raises StoreError if its line or its layout is damaged."""
        name = self.record(index).layout
        found = self._layouts.get(name)
        if found is None:
            found = self._layouts[name] = self.layouts.of_sample(name, index)
        return found

    def crop(self, index: int) -> bytes:
        """The crop that the model saw, as a small JPEG.

        Raises:
            StoreError: if the file cannot be read, or is shorter than it should be.
        """
        start, length = self.record(index).crop
        try:
            data = self._crops.read(start, length)
        except OSError as error:
            raise StoreError(f"{self._crops.path} cannot be read: {error.strerror}.", COPY_AGAIN) from error
        if len(data) < length:
            raise StoreError(f"{self._crops.path} is truncated.", COPY_AGAIN)
        return data

    def top_samples(self, neuron: Neuron) -> list[int]:
        """The indices of the neuron's top samples, best first. Raises StoreError if one is not a processed sample."""
        found = self.arrays["top_sample"][neuron.layer, neuron.index, : self.valid]
        there = (found >= 0) & (found < len(self._lines))
        there[there] = self._lines[found[there], 1] != 0  # processed; each step asks this of all of them
        if not there.all():
            rank = int(np.argmin(there))
            raise StoreError(
                f"{self.folder} is damaged: top sample {rank + 1} of {neuron} is sample {found[rank]}, which it lacks.",
                COPY_AGAIN,
            )
        top: list[int] = found.tolist()
        return top

    def votes(self, neuron: Neuron, thresholds: Thresholds) -> NDArray[np.uint8]:
        """The vote of each of the neuron's top samples: uint8 (valid,)."""
        visual, text = self._compared(thresholds, (neuron.layer, neuron.index, slice(self.valid)))
        return sample_votes(visual, text, np.asarray(self.maximum[neuron.layer, neuron.index]), thresholds)

    def scores(self, neuron: Neuron) -> NDArray[np.float32]:
        """The scores of the neuron's top samples, best first: float32 (valid,)."""
        at = (0, neuron.layer, neuron.index, slice(self.valid))
        scores: NDArray[np.float32] = np.maximum(self.arrays["top_visual"][at], self.arrays["top_text"][at])
        return scores

    def example(self, neuron: Neuron, rank: int, thresholds: Thresholds | None = None) -> Example:
        """The neuron on its ``rank``-th top sample, from 0; ``rank`` must be below ``manifest.valid``.

        Args:
            thresholds: at which the sample votes; None for the scan's own.

        Raises:
            StoreError: if the sample's line is damaged, or the scan's parts contradict each other.
        """
        layer, index = neuron.layer, neuron.index
        sample = self.sample(self.top_samples(neuron)[rank])
        visual = np.array(self.arrays["top_visual"][:, layer, index, rank])
        text = np.array(self.arrays["top_text"][:, layer, index, rank])
        activation, maximum = float(max(visual[0], text[0])), float(self.maximum[layer, index])
        own, small = self.layout(sample.index), rank >= self.manifest.maps
        maps = self._maps(neuron, rank, own, len(sample.tokens), np.float32(max(activation, 0.0)))
        peak_patch, peak_token = (int(self.arrays[name][layer, index, rank]) for name in ("peak_visual", "peak_text"))
        for peak, size in ((peak_patch, len(own)), (peak_token, len(sample.tokens))):
            if peak != NO_PEAK and peak >= size:
                raise StoreError(
                    f"{self.folder} is damaged: it names patch or token {peak} of sample {sample.index}, of {size}.",
                    COPY_AGAIN,
                )
        return Example(
            rank=rank,
            sample=sample,
            activation=activation,
            maximum=maximum,
            visual=visual,
            text=text,
            vote=Label(int(self.votes(neuron, thresholds or self.manifest.thresholds.value())[rank])),
            peak_patch=None if peak_patch == NO_PEAK else peak_patch,
            peak_token=None if peak_token == NO_PEAK else peak_token,
            visual_values=None if maps is None else maps[0],
            map_layout=own if maps is None else maps[1],
            text_map=None if maps is None else maps[2],
            small=small and maps is not None,
            read_crop=partial(self.crop, sample.index),
        )

    def _maps(
        self, neuron: Neuron, rank: int, own: VisualLayout, words: int, score: np.float32
    ) -> tuple[NDArray[np.float32], VisualLayout, NDArray[np.float32]] | None:
        """The maps of a top sample over patches and words, and where the first looks; None where none are kept.

        Raises:
            StoreError: if the map is larger than the manifest promises.
        """
        manifest, at = self.manifest, (neuron.layer, neuron.index, rank)
        if rank < manifest.maps:
            layout, promised = map_layout(own, manifest.map_cells), manifest.visual_tokens_max
            scale = score / 255
            visual = self.arrays["maps_visual"][at][: len(layout)] * scale
            text = self.arrays["maps_text"][at][:words] * scale
        elif manifest.small is not None and rank < manifest.small.samples:
            layout, promised = map_layout(own, manifest.small.cells), manifest.small.values
            scale = score / LEVELS
            visual = unpacked(self.arrays[SMALL_VISUAL][at], promised)[: len(layout)] * scale
            text = np.zeros(words, dtype=np.float32)
            kept = unpacked(self.arrays[SMALL_TEXT][at], min(manifest.small.words, manifest.text_tokens_max))[:words]
            text[: len(kept)] = kept * scale
        else:
            return None
        if len(visual) < len(layout):
            raise StoreError(
                f"{self.folder} is damaged: a map of {neuron} has {len(layout)} values; the manifest promises "
                f"{promised} at most.",
                COPY_AGAIN,
            )
        return visual, layout, text

    def peak_tokens(self, neuron: Neuron) -> list[tuple[str, int]]:
        """The words at the neuron's positive text peaks over its top samples, most frequent first, with their counts.

        Raises:
            StoreError: if the scan's parts contradict each other.
        """
        at = (neuron.layer, neuron.index)
        counts: dict[str, int] = {}
        for rank, sample in enumerate(self.top_samples(neuron)):
            token = int(self.arrays["peak_text"][(*at, rank)])
            if token == NO_PEAK or not self.arrays["top_text"][(0, *at, rank)] > 0:
                continue
            tokens = self.record(sample).tokens
            if token >= len(tokens):
                raise StoreError(f"{self.folder} names a token that its description lacks.", COPY_AGAIN)
            counts[tokens[token].strip()] = counts.get(tokens[token].strip(), 0) + 1
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def distribution(self, neuron: Neuron, kind: Label) -> Distribution:
        """The activation's distribution over all tokens of ``kind`` (``VISUAL`` or ``TEXT``)."""
        which = (Label.VISUAL, Label.TEXT).index(kind)
        mean, mean_square = (float(x) for x in self.arrays["moments"][which, :, neuron.layer, neuron.index])
        count = (self.manifest.visual_tokens, self.manifest.text_tokens)[which]
        histogram = np.array(self.arrays["histogram"][which, neuron.layer, neuron.index])
        share = 1 - float(histogram[0]) / count if count else float("nan")
        return Distribution(count, mean, mean_square, share, histogram)


def _read_record(lines: NDArray[np.int64], samples: PartReader, tokens_max: int, index: int) -> SampleRecord:
    try:
        if not 0 <= index < len(lines):
            raise ValueError(f"the scan has {len(lines):,} samples")
        start, end = (int(at) for at in lines[index])
        if not (0 <= start <= end and end - start <= LINE_BYTES):
            raise ValueError(f"its line is at bytes {start:,} to {end:,}; a line has {LINE_BYTES:,} bytes at most")
        # json takes lone surrogates, which names of files may have; msgspec does not.
        record = msgspec.convert(json.loads(samples.read(start, end - start)), SampleRecord)
        if len(record.tokens) > tokens_max:
            raise ValueError(f"it has {len(record.tokens):,} tokens; the manifest promises {tokens_max:,} at most")
        if record.seen is not None and not (record.seen[0] < record.seen[2] and record.seen[1] < record.seen[3]):
            raise ValueError("the part of its picture that the model sees is empty")
        if not all(math.isfinite(value) for value in record.fields.values() if isinstance(value, float)):
            raise ValueError("a field is a number that is not finite")
        return record
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{samples.path}, sample {index}, is damaged: {error}.", COPY_AGAIN) from error


def open_scan(scan: str | Path) -> ScanStore:
    """Open a scan for reading: a whole one, or one in progress that has something to show.

    Args:
        scan: as the user named it (``demo`` or a path), or its folder.

    Raises:
        StoreError: if it is not a scan, is damaged, or has no processed sample yet.
    """
    folder = scan_folder(scan) if isinstance(scan, str) else scan
    try:
        store = ScanStore(folder)
    except StoreError:
        # While the manifest was read, a scan in progress may have replaced the checkpoint that it names.
        store = ScanStore(folder)
    manifest = store.manifest
    if manifest.progress is not None and not manifest.scanned:
        if being_scanned(folder, manifest.progress):
            raise StoreError(f"The scan into {folder} has just begun.", "Try again in a minute.")
        raise StoreError(
            f"The scan into {folder} was stopped before its first sample.",
            "Continue it: run its command again with --resume.",
        )
    return store
