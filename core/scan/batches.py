"""Batches through the model: images prepared in time, batches halved where memory is short, non-finite activations."""

import hashlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

import torch
from PIL import Image

from vlmscope.core.base.errors import SamplesError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.data.images import crop_jpeg, load_image
from vlmscope.core.data.samples import Data
from vlmscope.core.model.vlm import Encoded, Vlm
from vlmscope.core.scan.kernels import fused_works
from vlmscope.core.scan.memory import halved
from vlmscope.core.scan.prefetch import prefetch
from vlmscope.core.scan.reduction import Batch, BatchReduction
from vlmscope.core.scan.state import ScanState

BATCH = 8  #: on the CPU: a larger batch is not faster there, and memory hardly limits it
LARGEST = 32  #: limit of --batch auto: with LLaVA's 700 tokens per sample, 22,000 tokens at once; more delays Ctrl-C
PENDING = 64  #: samples gathered before a merge into the top N; one batch if that is larger
MEMORY_HINT = "Free the GPU, use --dtype bfloat16 or float16, or keep fewer: --maps, --top-n."
THREADS = min(8, max(2, os.cpu_count() or 2))  #: threads that prepare images


@dataclass(frozen=True)
class Ready:
    """An image decoded and packed by a thread."""

    image: Image.Image
    crop: bytes
    sha256: str


@dataclass(frozen=True)
class ProcessedSample:
    """A sample's outcome: ``image`` is None if it could not be read; ``trouble`` is why it does not count, or None."""

    index: int
    image: Ready | None
    trouble: str | None


def is_fused(vlm: Vlm) -> bool:
    """Whether the fused kernels of core/scan/kernels.py do the reduction."""
    return vlm.device.type == "cuda" and fused_works(vlm.device)


def ready_images(
    vlm: Vlm, data: Data, batches: Sequence[list[int]], ahead: int = 2
) -> Generator[tuple[list[int], list[Ready | SamplesError]]]:
    """The batches with their images, which threads decode and preprocess, ``ahead`` batches before the model."""

    def prepare(index: int) -> Ready | SamplesError:
        path = data.root / data.sources[index].image
        try:
            image = load_image(path)
            return Ready(image, crop_jpeg(vlm.crop(image)), hashlib.sha256(path.read_bytes()).hexdigest())
        except SamplesError as error:
            return error
        except OSError as error:
            return SamplesError(f"{path} cannot be read: {error.strerror}")

    depth = ahead * max(map(len, batches), default=1)
    with closing(prefetch(prepare, chain.from_iterable(batches), depth, THREADS)) as images:
        for batch in batches:
            yield batch, [image for _, image in islice(images, len(batch))]


class BatchRunner:
    """Runs batches; one that does not fit into the GPU's memory is halved, and so are those after it."""

    def __init__(self, vlm: Vlm, state: ScanState, hook: HookPoint, size: int, fused: bool | None = None) -> None:
        """``size``: samples of a batch; ``fused``: whether the kernels reduce; None: wherever they can run."""
        self.vlm, self.state, self.hook = vlm, state, hook
        self.size = size
        self.fused = is_fused(vlm) if fused is None else fused

    def pieces(
        self, indices: list[int], images: Sequence[Ready | SamplesError], encoded: Mapping[int, Encoded]
    ) -> Iterator[list[ProcessedSample]]:
        """Add a batch to the state, in pieces of at most ``size`` samples; yields the outcomes of each piece.

        Raises:
            ModelError: if not even one sample fits into the memory.
        """
        found = dict(zip(indices, images, strict=True))
        start = 0
        while start < len(indices):
            piece = indices[start : start + self.size]
            ready = {index: image for index in piece if isinstance(image := found[index], Ready)}
            try:
                non_finite = self._run({index: encoded[index] for index in ready}, ready)
            except torch.OutOfMemoryError as error:
                refusal = f"Not even one sample fits into the memory of {self.vlm.device} beside the model."
                self.size = halved(len(piece), error, refusal, MEMORY_HINT)
                continue
            yield [self._processed(index, found[index], index in non_finite) for index in piece]
            start += len(piece)

    def _run(self, encoded: dict[int, Encoded], ready: Mapping[int, Ready]) -> set[int]:
        """Add these samples to the state, except those with a non-finite activation, which are returned."""
        dropped: set[int] = set()
        batch = Batch(torch.tensor(list(encoded), dtype=torch.int64), tuple(encoded.values()))
        while batch.encoded:
            reduction = BatchReduction(self.state, batch, self.fused)
            images = [ready[index].image for index in batch.samples.tolist()]
            try:
                self.vlm.forward(self.vlm.inputs(batch.encoded, images), reduction.hooks(), self.hook)
                non_finite = reduction.non_finite()
            except BaseException:
                reduction.rollback()
                raise
            if not non_finite:
                reduction.commit()
                break
            reduction.rollback()
            dropped.update(int(batch.samples[place]) for place in non_finite)
            batch = batch.without(non_finite)
        return dropped

    @staticmethod
    def _processed(index: int, image: Ready | SamplesError, non_finite: bool) -> ProcessedSample:
        if isinstance(image, SamplesError):
            return ProcessedSample(index, None, image.message)
        return ProcessedSample(index, image, "it has an activation that is not finite" if non_finite else None)


def largest_batch(vlm: Vlm, state: ScanState, encoded: Mapping[int, Encoded], hook: HookPoint) -> int:
    """The largest batch, a power of two, whose pass fits into the GPU's memory beside the scan's state.

    The longest samples are tried, so that no later batch needs more.

    Args:
        state: the scan's own, with room for ``LARGEST`` pending samples; it is left as it was.
    """
    longest = sorted(encoded.items(), key=lambda item: -len(item[1].input_ids))
    longest = [item for item in longest if item[1].text.start == longest[0][1].text.start]  # one batch's
    size = 1
    while size < LARGEST and size < len(longest) and _fits(vlm, state, dict(longest[: 2 * size]), hook):
        size *= 2
    torch.cuda.empty_cache()
    return size


def _fits(vlm: Vlm, state: ScanState, encoded: Mapping[int, Encoded], hook: HookPoint) -> bool:
    batch = Batch(torch.tensor(list(encoded), dtype=torch.int64), tuple(encoded.values()))
    try:
        reduction = BatchReduction(state, batch, is_fused(vlm))
        blank = [Image.new("RGB", (64, 64))] * len(encoded)
        vlm.forward(vlm.inputs(batch.encoded, blank), reduction.hooks(), hook)
        reduction.non_finite()  # waits for the GPU
    except torch.OutOfMemoryError as error:
        error.__traceback__ = None  # its frames hold what did not fit
        return False
    finally:
        state.maps.restore()
    return True
