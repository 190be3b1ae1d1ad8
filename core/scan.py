"""The scan: one pass over the data, from which every label follows (method.md).

What it has at any moment is a store that can be browsed: checkpoints are written as it goes on, and a scan that was
stopped, whatever stopped it, goes on from the last.
"""

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from core.concepts import find_concepts
from core.data_digest import DataDigest
from core.description_cache import DescriptionCache
from core.descriptions import Progress, describe_missing
from core.errors import Cancelled, ModelError, SamplesError, StoreError
from core.images import load_image
from core.manifest import MANIFEST, Manifest, Skipped, ThresholdsInfo, read_manifest
from core.manifest import Progress as HowFar
from core.samples import Data
from core.scan_batches import BATCH, LARGEST, PENDING, BatchRunner, Met, largest_batch, prefetch
from core.scan_order import scan_order
from core.scan_settings import SAVE_SHARE, ScanOptions, check_resumable, settings_of
from core.scan_state import ScanState, StateShape
from core.scan_store import ScanStore
from core.store_writer import ScanFolder, check_out, check_space, is_begun, unwritten
from core.vlm import DESCRIPTION_TOKENS, Encoded, Vlm, never

FIRST_SECONDS = 10.0  #: until the first checkpoint that has labels to show


@dataclass(frozen=True)
class _Prepared:
    """What is known before the first pass.

    Attributes:
        data: all samples with their descriptions, where they are this scan's to meet.
        mine: indices of the samples to meet. encoded: those of them that can go through the model.
        unusable: the others, and why.
    """

    data: Data
    mine: list[int]
    encoded: dict[int, Encoded]
    unusable: dict[int, str]

    @property
    def longest(self) -> int:
        """Tokens of the longest description."""
        return max((len(e.tokens) for e in self.encoded.values()), default=0)


def scan(
    vlm: Vlm,
    data: Data,
    out: Path,
    options: ScanOptions,
    progress: Progress,
    *,
    resume: bool = False,
    stopped: Callable[[], bool] = never,
    cache: DescriptionCache | None = None,
) -> Manifest:
    """Scan ``data`` with ``vlm`` into the folder ``out``, and return its manifest.

    A sample whose image cannot be read, whose description is empty or too long, or with a non-finite activation is
    skipped and named in the manifest. If something goes wrong or the user stops it, what was scanned is saved; if that
    is nothing, nothing is left behind.

    Args:
        resume: go on from what is saved in ``out``; a finished scan is returned as it is.
        stopped: read after every batch.
        cache: where descriptions that the model writes are kept; None for the user's own.

    Raises:
        StoreError: if ``out`` exists and is not to be resumed, was made with other settings, or cannot be written.
        SamplesError: if no sample is left.
        ModelError: if not even one sample fits into the memory.
        Cancelled: if ``stopped`` turned true.
    """
    if vlm.device.type == "mps":
        raise ModelError("A scan adds up in float64, which MPS does not have.", "Use --device cpu, or a CUDA GPU.")
    prompt = vlm.prompt(options.question, options.prompt_template)
    saved = read_manifest(out) if resume and (out / MANIFEST).exists() else None
    header = _header(vlm, data, prompt, options, saved)
    if saved is None:
        if not (resume and is_begun(out)):
            check_out(out)
        check_space(out, header)
    elif check_resumable(out, saved, settings_of(header)):
        return saved
    run = None
    with contextlib.closing(ScanFolder(out)) as folder:  # held by us from before the descriptions, which may take hours
        try:
            if saved is None:
                folder.begin(len(data.sources))
                store = None
            else:
                store = folder.resume()
            prepared = _prepare(vlm, data, prompt, options, progress, stopped, cache, store)
            run = _begun(vlm, prepared, options, folder, header, store, progress)
            run.go(stopped)
            return run.finish()
        except BaseException as error:
            if not (out / MANIFEST).exists():
                folder.discard()
            elif run is not None and isinstance(error, Exception) and not isinstance(error, StoreError):
                run.keep()  # but if the disk refuses, or at a second Ctrl-C: then the last checkpoint stands
            raise


def _prepare(
    vlm: Vlm,
    data: Data,
    prompt: str,
    options: ScanOptions,
    progress: Progress,
    stopped: Callable[[], bool],
    cache: DescriptionCache | None,
    store: ScanStore | None,
) -> _Prepared:
    """Describe and tokenise the samples; those that ``store`` has met keep the words that they were scanned with."""
    mine = [i for i in range(len(data.sources)) if options.shard is None or options.shard.has(i)]
    if store is not None:
        data = data.described({i: store.sample(i).description for i in mine if store.met(i)})
    # On the CPU nothing runs out of memory in time, and a stop would lose all of a large batch.
    batch = options.batch or (LARGEST if vlm.device.type == "cuda" else BATCH)
    described = describe_missing(vlm, data, prompt, batch, progress, stopped, cache, mine)
    encoded: dict[int, Encoded] = {}
    unusable: dict[int, str] = {}
    longest = None if store is None else store.manifest.text_tokens_max
    for index in mine:
        source = described.sources[index]
        try:
            if source.description is None:
                load_image(data.root / source.image)  # says why the model could not describe it
            one = vlm.encode(prompt, source.description or "")
            if longest is not None and len(one.tokens) > longest:
                raise SamplesError(f"its description has grown since the scan was begun, to {len(one.tokens)} tokens")
            encoded[index] = one
        except SamplesError as error:
            unusable[index] = error.message
    return _Prepared(described, mine, encoded, unusable)


def _begun(
    vlm: Vlm,
    prepared: _Prepared,
    options: ScanOptions,
    folder: ScanFolder,
    header: Manifest,
    store: ScanStore | None,
    progress: Progress,
) -> "_Run":
    """The run, with its state on the device, and a first checkpoint on the disk."""
    pending = max(header.batch, PENDING)
    manifest = header.model_copy(update={"text_tokens_max": prepared.longest}) if store is None else store.manifest
    try:
        if store is None:
            state = ScanState(StateShape.of(manifest, pending), vlm.device)
        else:
            state = ScanState.of_store(store, pending, vlm.device)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"What the scan keeps does not fit into the memory of {vlm.device} beside the model.",
            "Free the GPU, use --dtype bfloat16 or float16, or keep fewer: --maps, --top-n.",
        ) from error
    sha256 = {} if store is None else {i: store.record(i)["sha256"] for i in prepared.mine if store.met(i)}
    run = _Run(vlm, prepared, options, folder, state, manifest, sha256, progress)
    if store is None:
        run.begin()
    return run


def _header(vlm: Vlm, data: Data, prompt: str, options: ScanOptions, saved: Manifest | None) -> Manifest:
    """The manifest of a scan that has met nothing yet, and does not know its longest description."""
    info = vlm.info
    mine = [i for i in range(len(data.sources)) if options.shard is None or options.shard.has(i)]
    batch = options.batch or (BATCH if saved is None else saved.batch)
    identity = json.dumps([info.model_dump(), options.hook, prompt, options.top_n, data.identity], sort_keys=True)
    now = _now()
    return Manifest(
        scan_id=hashlib.sha256(identity.encode()).hexdigest(),
        created=now,
        model=info,
        hook=options.hook,
        question=options.question,
        prompt=prompt,
        data=data.name,
        image_root=data.image_root,
        data_id=data.identity,
        data_sha256="",
        batch=batch,
        samples=len(data.sources),
        scanned=0,
        top_n=options.top_n,
        maps=options.maps_kept,
        grid=vlm.grid,
        text_tokens_max=DESCRIPTION_TOKENS,
        visual_tokens=0,
        text_tokens=0,
        thresholds=ThresholdsInfo.of(options.thresholds),
        arrays="arrays-0",
        versions=_versions(),
        control=options.control,
        progress=HowFar(
            done=0,
            of=len(mine),
            batch=batch,
            shard=options.shard,
            samples_bytes=0,
            crops_bytes=0,
            updated=now,
        ),
    )


class _Run:
    """A scan at work."""

    def __init__(
        self,
        vlm: Vlm,
        prepared: _Prepared,
        options: ScanOptions,
        folder: ScanFolder,
        state: ScanState,
        manifest: Manifest,
        sha256: dict[int, str | None],
        progress: Progress,
    ) -> None:
        """Go on from ``manifest``, whose numbers ``state`` holds; ``sha256``: of the images met, by sample."""
        self.vlm, self.prepared, self.options = vlm, prepared, options
        self.folder, self.state, self.manifest, self.progress = folder, state, manifest, progress
        self.sha256 = sha256
        self.skipped = {skipped.sample: skipped.reason for skipped in manifest.skipped}
        how_far = manifest.progress
        self.size = manifest.batch if how_far is None else how_far.batch
        self.saved = _Saved(self.done, time.monotonic() - options.save_seconds + FIRST_SECONDS, 0.0)

    @property
    def done(self) -> int:
        return len(self.sha256)

    def begin(self) -> None:
        """Settle the batch, and write the first checkpoint: what the disk refuses shows before the first batch."""
        if self.options.batch is None and self.vlm.device.type != "cpu":
            self.size = largest_batch(self.vlm, self.state, self.prepared.encoded, self.options.hook)
            self.manifest = self.manifest.model_copy(update={"batch": self.size})
        self.save()
        # It has nothing to show yet: the next is due soon.
        self.saved = replace(self.saved, at=self.saved.at - self.options.save_seconds + FIRST_SECONDS)

    def go(self, stopped: Callable[[], bool]) -> None:
        """Meet the samples that are left.

        Raises:
            Cancelled: if ``stopped`` turned true.
        """
        encoded, of = self.prepared.encoded, len(self.prepared.mine)
        for index, reason in self.prepared.unusable.items():
            if index not in self.sha256:
                self._add(Met(index, None, reason))
        order = scan_order({index: e.shape for index, e in encoded.items()}, self.manifest.batch)
        left = [rest for batch in order if (rest := [index for index in batch if index not in self.sha256])]
        runner = BatchRunner(self.vlm, self.state, self.options.hook, self.size)
        self.progress("scanning", self.done, of)
        with contextlib.closing(prefetch(self.vlm, self.prepared.data, left)) as ready:
            for indices, images in ready:
                for piece in runner.pieces(indices, images, encoded):
                    for met in piece:
                        self._add(met)
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
        if len(self.skipped) == len(data.sources):
            first = min(self.skipped)
            self.folder.discard()
            raise SamplesError(
                f"No sample of {data.name} can be scanned; the first, {data.sources[first].image}: "
                f"{self.skipped[first]}.",
                "Check the images and descriptions.",
            )
        digests = [self.sha256[index] for index in range(len(data.sources))]
        manifest = self._now_manifest().model_copy(update={"progress": None, "data_sha256": data_sha256(data, digests)})
        arrays = self.state.arrays(manifest)
        concepts = find_concepts(
            arrays["top_sample"],
            manifest,
            [source.description or "" for source in data.sources],
            lambda found, total: self.progress("finding concepts", found, total),
        )
        return self.folder.finish(manifest, arrays, concepts)

    def save(self) -> Manifest:
        """Write a checkpoint."""
        begun = time.monotonic()
        manifest = self._now_manifest()
        self.manifest = self.folder.save(manifest, self.state.arrays(manifest))
        ended = time.monotonic()
        self.saved = _Saved(self.done, ended, ended - begun)
        return self.manifest

    def keep(self) -> None:
        """Save what there is, as the scan ends early; if there is nothing, leave nothing behind."""
        if self.done == len(self.skipped):
            self.folder.discard()
        elif self.done > self.saved.done:
            self.save()

    def _add(self, met: Met) -> None:
        """Note a sample that was met.

        Raises:
            StoreError: if the disk refuses: then the state has what the log lacks, and must not be saved.
        """
        source, image = self.prepared.data.sources[met.index], met.image
        if met.trouble is not None:
            self.skipped[met.index] = met.trouble
        counts = met.trouble is None and image is not None
        try:
            self.folder.log.add(
                met.index,
                source.image,
                source.description or "",
                self.prepared.encoded[met.index].tokens if counts else (),
                image.crop if counts and image is not None else b"",
                None if image is None else image.sha256,
            )
        except OSError as error:
            raise unwritten(self.folder.out, error) from error
        self.sha256[met.index] = None if image is None else image.sha256

    def _save_is_due(self) -> bool:
        wait = max(self.options.save_seconds, self.saved.seconds / SAVE_SHARE)
        samples = self.options.save_samples
        return time.monotonic() - self.saved.at >= wait or (
            samples is not None and self.done - self.saved.done >= samples
        )

    def _now_manifest(self) -> Manifest:
        sources, tokens = self.prepared.data.sources, self.state.totals.tokens
        how_far = self.manifest.progress
        if how_far is None:
            raise RuntimeError("the scan is whole")
        return self.manifest.model_copy(
            update={
                "scanned": self.done - len(self.skipped),
                "skipped": tuple(
                    Skipped(sample=index, image=sources[index].image, reason=reason)
                    for index, reason in sorted(self.skipped.items())
                ),
                "visual_tokens": tokens[0],
                "text_tokens": tokens[1],
                "progress": how_far.model_copy(update={"done": self.done, "batch": self.size, "updated": _now()}),
            }
        )


@dataclass(frozen=True)
class _Saved:
    """The last checkpoint: samples in it, when it was written (monotonic), what writing took."""

    done: int
    at: float
    seconds: float


def data_sha256(data: Data, digests: Sequence[str | None]) -> str:
    """SHA-256 over names, images and descriptions, in their order; ``digests`` are the images' own."""
    digest = DataDigest()
    for source, image in zip(data.sources, digests, strict=True):
        digest.add(source.image, image, source.description)
    return digest.hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("vlmscope", "torch", "transformers", "numpy", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
