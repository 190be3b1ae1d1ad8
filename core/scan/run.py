"""A running scan: batch after batch, checkpoint after checkpoint."""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray

from vlmscope.core.base.callbacks import OnProgress, Stopped
from vlmscope.core.base.clock import now
from vlmscope.core.base.errors import Cancelled, ModelError
from vlmscope.core.data.samples import Data
from vlmscope.core.method.concepts import find_concepts
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.model.vlm import Encoded, Vlm
from vlmscope.core.scan.batches import (
    MEMORY_HINT,
    PENDING,
    BatchRunner,
    ProcessedSample,
    ReadyBatches,
    Size,
    largest_batch,
)
from vlmscope.core.scan.order import scan_order
from vlmscope.core.scan.panel import panel_array
from vlmscope.core.scan.spread import SpreadState
from vlmscope.core.scan.state import check_scanned
from vlmscope.core.store.checkpoints import ScanFolder
from vlmscope.core.store.digest import DataDigest
from vlmscope.core.store.layouts import distinct, layout_arrays, layout_infos, sized
from vlmscope.core.store.manifest import Manifest, Skipped
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import LONGEST_SECONDS, SAVE_SHARE, ScanOptions
from vlmscope.core.store.writer import writing

FIRST_SECONDS = 10.0  #: until the first checkpoint that has labels to show


@dataclass(frozen=True)
class Prepared:
    """What is known before the first pass.

    Attributes:
        data: all samples; those in ``mine`` with their descriptions.
        mine: indices of the samples to process. encoded: those of them that can go through the model.
        sizes: of their pictures.
        unusable: the reasons for the others.
    """

    data: Data
    mine: list[int]
    encoded: dict[int, Encoded]
    sizes: dict[int, Size]
    unusable: dict[int, str]

    @property
    def longest(self) -> int:
        """Tokens of the longest description."""
        return max((len(e.tokens) for e in self.encoded.values()), default=0)

    @cached_property
    def layouts(self) -> tuple[VisualLayout, ...]:
        """The samples' layouts, each once, in the order of the manifest."""
        return distinct(e.layout for e in self.encoded.values())


class ScanRun:
    """A running scan."""

    def __init__(
        self,
        vlm: Vlm,
        prepared: Prepared,
        options: ScanOptions,
        folder: ScanFolder,
        header: Manifest,
        store: ScanStore | None,
        progress: OnProgress,
    ) -> None:
        """Continue from the checkpoint ``store``, or start from ``header``, the manifest before the first sample.

        Raises:
            ModelError: if the state does not fit into the device's memory.
        """
        self.vlm, self.prepared, self.options = vlm, prepared, options
        self.folder, self.progress = folder, progress
        self.sha256: dict[int, str | None] = {}  #: of the processed images, by sample
        self.layouts = prepared.layouts
        manifest = header
        if store is None:
            manifest = sized(header, self.layouts).model_copy(update={"text_tokens_max": prepared.longest})
        else:
            manifest = store.manifest
            self.layouts = distinct((*self.layouts, *(store.layouts.get(info.id) for info in manifest.layouts)))
        manifest = manifest.model_copy(update={"layouts": layout_infos(self.layouts)})
        pending = max(manifest.batch, PENDING)
        try:
            self.state = SpreadState.empty(manifest, pending, vlm.layer_devices, store)
            if store is not None:
                self.sha256 = {i: store.record(i).sha256 for i in prepared.mine if store.processed(i)}
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"What the scan keeps does not fit into the memory of {vlm.device} beside the model.", MEMORY_HINT
            ) from error
        self.manifest = manifest
        self.skipped = {skipped.sample: skipped.reason for skipped in manifest.skipped}
        self.size = manifest.batch if manifest.progress is None else manifest.progress.batch
        # Of the last checkpoint: the samples in it, when the next counts from (monotonic), how long writing took.
        self.saved, self.saved_at, self.save_took = self.done, 0.0, 0.0
        self._save_soon()

    @property
    def done(self) -> int:
        return len(self.sha256)

    def begin(self) -> None:
        """Set the batch size and write the first checkpoint, so that errors of the disk show before the first batch."""
        if self.options.batch is None and self.vlm.device.type != "cpu":
            self.size = largest_batch(
                self.vlm, self.state, self.prepared.encoded, self.prepared.sizes, self.options.hook
            )
            self.manifest = self.manifest.model_copy(update={"batch": self.size})
        self.save()
        self._save_soon()

    def _save_soon(self) -> None:
        """There is nothing to show yet: the next checkpoint is due soon, however long the last one took."""
        self.saved_at, self.save_took = time.monotonic() - self.options.save_seconds + FIRST_SECONDS, 0.0

    def go(self, stopped: Stopped) -> None:
        """Process the samples that are left.

        Raises:
            Cancelled: if ``stopped`` turned true.
        """
        encoded, of = self.prepared.encoded, len(self.prepared.mine)
        for index, reason in self.prepared.unusable.items():
            if index not in self.sha256:
                self._add(ProcessedSample(index, None, reason))
        order = scan_order({index: len(e.input_ids) for index, e in encoded.items()}, self.manifest.batch)
        left = [rest for batch in order if (rest := [index for index in batch if index not in self.sha256])]
        runner = BatchRunner(self.vlm, self.state, self.options.hook, self.size)
        self.progress("scanning", self.done, of)
        sizes = self.prepared.sizes
        with ReadyBatches(self.vlm, self.prepared.data, encoded, sizes, left, lambda: runner.size) as ready:
            for batch in ready:
                for piece in runner.pieces(batch, encoded):
                    for processed in piece:
                        self._add(processed)
                    self.size = runner.size
                    self.progress("scanning", self.done, of)
                    if stopped():
                        raise Cancelled(
                            f"Stopped at {self.done} of {of} samples; they are saved in {self.folder.out}."
                            if self.done > len(self.skipped)
                            else "Stopped before there was a sample that counts; nothing is saved."
                        )
                    if self._save_is_due():
                        self.save()

    def finish(self) -> Manifest:
        """Write what is final: a whole scan, or a shard's last checkpoint.

        Raises:
            SamplesError: if no sample counts.
        """
        data = self.prepared.data
        if self.options.shard is not None:
            return self.save()
        manifest = self._current_manifest()
        check_scanned(manifest)
        digest = DataDigest()
        for index, source in enumerate(data.sources):
            digest.add(source.image, self.sha256[index], source.description)
        manifest = manifest.model_copy(update={"progress": None, "data_sha256": digest.hexdigest()})
        arrays = self._arrays(manifest)
        concepts = find_concepts(
            arrays["top_sample"],
            manifest.without_skipped([source.description or "" for source in data.sources]),
            lambda found, total: self.progress("finding concepts", found, total),
        )
        return self.folder.finish(manifest, arrays, concepts)

    def save(self) -> Manifest:
        """Write a checkpoint."""
        begun = time.monotonic()
        manifest = self._current_manifest()
        self.manifest = self.folder.save(manifest, self._arrays(manifest))
        self.saved, self.saved_at = self.done, time.monotonic()
        self.save_took = self.saved_at - begun
        return self.manifest

    def _arrays(self, manifest: Manifest) -> dict[str, NDArray[Any]]:
        return {**self.state.arrays(manifest), **panel_array(manifest), **layout_arrays(self.layouts)}

    def keep(self) -> None:
        """Save what was scanned, as the scan ends early; if that is nothing, discard the folder."""
        if self.done == len(self.skipped):
            self.folder.discard()
        elif self.done > self.saved:
            self.save()

    def _add(self, processed: ProcessedSample) -> None:
        """Record a processed sample. After a StoreError the state has a sample that the log lacks: do not save it."""
        source, image = self.prepared.data.sources[processed.index], processed.image
        if processed.trouble is not None:
            self.skipped[processed.index] = processed.trouble
        encoded = self.prepared.encoded[processed.index] if processed.trouble is None else None
        with writing(self.folder.out):
            self.folder.log.add(
                processed.index,
                source.image,
                source.description or "",
                () if encoded is None else encoded.tokens,
                b"" if encoded is None or image is None else image.crop,
                None if image is None else image.sha256,
                None if encoded is None else encoded.layout.id,
                None if encoded is None else encoded.seen,
                source.fields,
            )
        self.sha256[processed.index] = None if image is None else image.sha256

    def _save_is_due(self) -> bool:
        wait = max(self.options.save_seconds, min(self.save_took / SAVE_SHARE, LONGEST_SECONDS))
        samples = self.options.save_samples
        return time.monotonic() - self.saved_at >= wait or (samples is not None and self.done - self.saved >= samples)

    def _current_manifest(self) -> Manifest:
        sources, tokens = self.prepared.data.sources, self.state.tokens
        progress = self.manifest.progress
        assert progress is not None  # the scan is not whole yet
        return self.manifest.model_copy(
            update={
                "scanned": self.done - len(self.skipped),
                "skipped": tuple(
                    Skipped(sample=index, image=sources[index].image, reason=reason)
                    for index, reason in sorted(self.skipped.items())
                ),
                "visual_tokens": tokens[0],
                "text_tokens": tokens[1],
                "progress": progress.model_copy(update={"done": self.done, "batch": self.size, "updated": now()}),
            }
        )
