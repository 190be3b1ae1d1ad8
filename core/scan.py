"""The scan: one pass over the data, from which every label follows (method.md).

Images are decoded by threads while the model works; the samples go through it in their order, in batches.
"""

import hashlib
import json
import platform
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from core.activations import Batch, BatchReduction, ScanState
from core.concepts import find_concepts
from core.errors import ModelError, SamplesError
from core.images import crop_jpeg, load_image
from core.labels import Thresholds, label_neurons
from core.manifest import ControlInfo, Manifest, Skipped, ThresholdsInfo
from core.neuron import HookPoint
from core.samples import Data
from core.scan_store import NO_PEAK
from core.store_writer import StoreWriter
from core.top_samples import key_sample
from core.vlm import Encoded, Vlm

QUESTION = "Could you describe the image?"  #: the paper's
Progress = Callable[[str, int, int], None]  #: what is being done, how many are done, of how many


@dataclass(frozen=True)
class ScanOptions:
    """How to scan.

    Attributes:
        top_n: N, samples kept for each neuron; the paper's 50.
        maps: M, of how many the maps are kept.
        batch: samples that go through the model together.
        prompt_template: the literal prompt with ``{question}``, instead of the processor's chat template.
        control: what this scan is a control of, with the seed of the model's random weights.
    """

    hook: HookPoint = HookPoint.GATE
    top_n: int = 50
    maps: int = 4
    batch: int = 8
    thresholds: Thresholds = field(default_factory=Thresholds)
    question: str = QUESTION
    prompt_template: str | None = None
    control: ControlInfo | None = None


@dataclass(frozen=True)
class _Ready:
    """An image decoded, preprocessed and packed by a thread."""

    pixels: Tensor
    crop: bytes
    sha256: str


def describe_missing(vlm: Vlm, data: Data, options: ScanOptions, progress: Progress) -> Data:
    """Let the model write the descriptions that ``data`` lacks, greedily; images that cannot be read stay without."""
    prompt = vlm.prompt(options.question, options.prompt_template)
    missing = [i for i, source in enumerate(data.sources) if source.description is None]
    written: dict[int, str] = {}
    for start in range(0, len(missing), options.batch):
        progress("describing", start, len(missing))
        images: dict[int, Image.Image] = {}
        for index in missing[start : start + options.batch]:
            try:
                images[index] = load_image(data.root / data.sources[index].image)
            except SamplesError:
                continue  # the scan itself meets it again, skips it and names it
        if images:
            texts = vlm.describe(list(images.values()), prompt)
            written.update(zip(images, texts, strict=True))
    if missing:
        progress("describing", len(missing), len(missing))
    return data.described(written)


def scan(vlm: Vlm, data: Data, out: Path, options: ScanOptions, progress: Progress) -> Manifest:
    """Scan ``data`` with ``vlm`` and write the store ``out``.

    A sample whose image cannot be read, whose description is empty or too long, or with a non-finite activation is
    skipped and named in the manifest.

    Raises:
        StoreError: if ``out`` exists or cannot be written; nothing is left behind.
        SamplesError: if no sample is left.
    """
    with StoreWriter(out) as writer:
        data = describe_missing(vlm, data, options, progress)
        prompt = vlm.prompt(options.question, options.prompt_template)
        skipped: dict[int, str] = {}
        encoded: dict[int, Encoded] = {}
        for index, source in enumerate(data.sources):
            try:
                encoded[index] = vlm.encode(prompt, source.description or "")
            except SamplesError as error:
                skipped[index] = error.message
        longest = max((len(e.tokens) for e in encoded.values()), default=0)
        state = ScanState(vlm, options.top_n, options.maps, longest, pending=max(options.batch, 64))
        fingerprint = hashlib.sha256()
        done = 0
        progress("scanning", 0, len(data.sources))
        for indices, ready in _prefetch(vlm, data, options.batch):
            usable: list[int] = []
            for index, image in zip(indices, ready, strict=True):
                if isinstance(image, SamplesError):
                    skipped[index] = image.message
                elif index in encoded:
                    usable.append(index)
            pixels = {i: r.pixels for i, r in zip(indices, ready, strict=True) if isinstance(r, _Ready)}
            for index in run_batch(vlm, state, options.hook, {i: encoded[i] for i in usable}, pixels):
                skipped[index] = "it has an activation that is not finite"
            for index, image in zip(indices, ready, strict=True):
                source = data.sources[index]
                sha256 = image.sha256 if isinstance(image, _Ready) else None
                fingerprint.update(json.dumps([source.image, sha256, source.description]).encode() + b"\n")
                kept = isinstance(image, _Ready) and index not in skipped
                writer.add_sample(
                    source.image,
                    source.description or "",
                    encoded[index].tokens if kept else (),
                    image.crop if kept and isinstance(image, _Ready) else b"",
                )
            done += len(indices)
            progress("scanning", done, len(data.sources))
        if len(skipped) == len(data.sources):
            first = min(skipped)
            raise SamplesError(
                f"No sample of {data.name} can be scanned; the first, {data.sources[first].image}: {skipped[first]}.",
                "Check the images and descriptions.",
            )
        manifest = _manifest(vlm, data, options, prompt, state, skipped, longest, fingerprint.hexdigest())
        arrays = _arrays(state, manifest, options.thresholds)
        concepts = find_concepts(
            arrays["top_sample"],
            manifest,
            [source.description or "" for source in data.sources],
            lambda found, total: progress("finding concepts", found, total),
        )
        writer.finish(manifest, arrays, concepts)
    return manifest


def run_batch(
    vlm: Vlm, state: ScanState, hook: HookPoint, encoded: dict[int, Encoded], pixels: dict[int, Tensor]
) -> list[int]:
    """Add these samples to the state; returns those left out because an activation is not finite."""
    dropped: list[int] = []
    batch = Batch(torch.tensor(list(encoded), dtype=torch.int64), tuple(encoded.values()))
    while batch.encoded:
        reduction = BatchReduction(state, batch)
        stacked = torch.stack([pixels[i] for i in batch.samples.tolist()])
        try:
            vlm.forward(batch.input_ids(), stacked, reduction.taps(), hook)
        except torch.cuda.OutOfMemoryError as error:
            raise ModelError(
                f"{len(batch.encoded)} samples at once do not fit into the memory of {vlm.device}.",
                "Give a smaller --batch, or free the GPU.",
            ) from error
        bad = reduction.bad()
        if not bad:
            reduction.commit()
            break
        dropped += [int(batch.samples[place]) for place in bad]
        batch = batch.without(bad)
    return dropped


def _prefetch(vlm: Vlm, data: Data, batch: int) -> Iterator[tuple[list[int], list[_Ready | SamplesError]]]:
    """Batches in order, their images decoded and preprocessed by threads, two batches ahead of the model."""

    def prepare(index: int) -> _Ready | SamplesError:
        path = data.root / data.sources[index].image
        try:
            pixels = vlm.pixels(load_image(path))
            return _Ready(pixels, crop_jpeg(vlm.crop(pixels)), hashlib.sha256(path.read_bytes()).hexdigest())
        except SamplesError as error:
            return error
        except OSError as error:
            return SamplesError(f"{path} cannot be read: {error.strerror}")

    total = len(data.sources)
    queue: deque[Future[_Ready | SamplesError]] = deque()
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="images") as pool:
        try:
            for start in range(0, total, batch):
                while len(queue) < 3 * batch and start + len(queue) < total:
                    queue.append(pool.submit(prepare, start + len(queue)))
                indices = list(range(start, min(start + batch, total)))
                yield indices, [queue.popleft().result() for _ in indices]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _manifest(
    vlm: Vlm,
    data: Data,
    options: ScanOptions,
    prompt: str,
    state: ScanState,
    skipped: dict[int, str],
    longest: int,
    data_sha256: str,
) -> Manifest:
    identity = json.dumps(
        [vlm.info.model_dump(), options.hook, prompt, options.top_n, data_sha256], sort_keys=True, default=str
    )
    return Manifest(
        scan_id=hashlib.sha256(identity.encode()).hexdigest(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=vlm.info,
        hook=options.hook,
        question=options.question,
        prompt=prompt,
        data=data.name,
        image_root=data.image_root,
        data_sha256=data_sha256,
        samples=len(data.sources),
        scanned=len(data.sources) - len(skipped),
        skipped=tuple(
            Skipped(sample=i, image=data.sources[i].image, reason=reason) for i, reason in sorted(skipped.items())
        ),
        top_n=options.top_n,
        maps=options.maps,
        grid=vlm.grid,
        text_tokens_max=longest,
        visual_tokens=state.totals.tokens[0],
        text_tokens=state.totals.tokens[1],
        thresholds=ThresholdsInfo.of(options.thresholds),
        arrays="arrays-1",
        versions=_versions(),
        control=options.control,
    )


def _arrays(state: ScanState, manifest: Manifest, thresholds: Thresholds) -> dict[str, NDArray[Any]]:
    """The state as the store's arrays (``core/scan_store.py``)."""
    state.flush()
    state.maps.sort()
    totals = state.totals
    visual = state.top.visual.permute(3, 0, 1, 2).contiguous().cpu().numpy()  # (8, L, F, N)
    text = state.top.text.permute(3, 0, 1, 2).contiguous().cpu().numpy()
    maximum = totals.maximum.cpu().numpy()
    labels = label_neurons(visual[thresholds.n_v - 1], text[thresholds.n_t - 1], maximum, manifest.valid, thresholds)
    peaks = state.top.peak.cpu().numpy()
    peaks = np.where(peaks < 0, NO_PEAK, peaks).astype(np.uint16)
    counts = torch.tensor(totals.tokens, dtype=torch.float64, device=totals.sums.device)[:, None, None, None]
    return {
        "top_sample": key_sample(state.top.key).to(torch.int32).cpu().numpy(),
        "top_visual": visual,
        "top_text": text,
        "peak_visual": np.ascontiguousarray(peaks[..., 0]),
        "peak_text": np.ascontiguousarray(peaks[..., 1]),
        "maps_visual": state.maps.visual.cpu().numpy(),
        "maps_text": state.maps.text.cpu().numpy(),
        "maximum": maximum,
        "content_maximum": totals.content_maximum.cpu().numpy(),
        "moments": (totals.sums / counts).float().cpu().numpy(),
        "histogram": totals.histogram.cpu().numpy().astype(np.uint32),
        "votes": labels.votes,
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("vlmscope", "torch", "transformers", "numpy", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
