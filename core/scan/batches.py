"""Batches through the model: prepared in time, halved where memory is short, without non-finite activations."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import torch
from PIL import Image

from vlmscope.core.base.errors import SamplesError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.data.images import crop_jpeg, crop_side, load_image, seen_part
from vlmscope.core.data.samples import Data
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm
from vlmscope.core.scan.kernels import fused_works
from vlmscope.core.scan.memory import halved
from vlmscope.core.scan.reduction import Batch
from vlmscope.core.scan.spread import SpreadReduction, SpreadState

BATCH = 8  #: on the CPU: a larger batch is not faster there, and memory hardly limits it
LARGEST = 32  #: limit of --batch auto: with LLaVA's 700 tokens per sample, 22,000 tokens at once; more delays Ctrl-C
PENDING = 64  #: samples gathered before a merge into the top N; one batch if that is larger
MEMORY_HINT = (
    "Free the GPU, use --dtype bfloat16 or float16, or keep fewer: --maps, --small-maps, --map-cells, --top-n, --panel."
)
THREADS = min(8, max(2, os.cpu_count() or 2))  #: threads that decode images
#: Batches that are packed ahead, each by a thread. A batch of 32 pictures in 13 tiles each takes half a GB.
AHEAD = min(4, THREADS)
Size = tuple[int, int]  #: of a picture: width, height


@dataclass(frozen=True)
class Ready:
    """An image decoded by a thread, and its crop as a JPEG."""

    image: Image.Image
    crop: bytes
    sha256: str


@dataclass(frozen=True)
class ReadyBatch:
    """Samples whose pictures are decoded and packed.

    Attributes:
        images: by sample, in their order; a SamplesError for one that cannot be read.
        inputs: what the model takes, of those that can be read, in their order; None if there are none.
    """

    images: dict[int, Ready | SamplesError]
    inputs: Inputs | None


@dataclass(frozen=True)
class ProcessedSample:
    """A sample's outcome: ``image`` is None if it could not be read; ``trouble`` is why it does not count, or None."""

    index: int
    image: Ready | None
    trouble: str | None


def usual_batch(vlm: Vlm) -> int:
    """Samples that go through the model together unless told otherwise."""
    # On the CPU a batch that is too large does not fail in time, and a stop loses all of a large batch.
    return LARGEST if vlm.device.type == "cuda" else BATCH


def is_fused(vlm: Vlm) -> bool:
    """Whether the fused kernels of core/scan/kernels.py do the reduction."""
    return all(device.type == "cuda" and fused_works(device) for device in set(vlm.layer_devices))


class ReadyBatches:
    """The batches of a scan, made ready ahead of the model by threads: a context manager, to be iterated over once.

    One pool of threads decodes pictures, another lets the model's processor pack whole batches. At most ``AHEAD``
    batches are ready or in work, besides the one that the model has.
    """

    def __init__(
        self,
        vlm: Vlm,
        data: Data,
        encoded: Mapping[int, Encoded],
        sizes: Mapping[int, Size],
        batches: Sequence[list[int]],
        size: Callable[[], int] | None = None,
    ) -> None:
        """Begin.

        Args:
            sizes: of the pictures, as they were when they were encoded.
            size: samples that go through the model together from now on; larger batches are cut. None: as they are.
        """
        self._vlm, self._data, self._encoded, self._sizes, self._size = vlm, data, encoded, sizes, size
        self._left = deque(batches)
        self._decoding = ThreadPoolExecutor(THREADS, thread_name_prefix="decoding")
        self._packing = ThreadPoolExecutor(AHEAD, thread_name_prefix="packing")
        self._queue: deque[Future[ReadyBatch]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._packing, self._decoding):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._packing, self._decoding):
            pool.shutdown(wait=True)

    def __iter__(self) -> Iterator[ReadyBatch]:
        """The batches in their order."""
        for _ in range(AHEAD):
            self._submit()
        while self._queue:
            ready = self._queue.popleft().result()
            self._submit()
            yield ready

    def _submit(self) -> None:
        if not self._left:
            return
        batch = self._left.popleft()
        most = len(batch) if self._size is None else self._size()
        if batch[most:]:
            self._left.appendleft(batch[most:])
        images = [self._decoding.submit(self._image, index) for index in batch[:most]]
        self._queue.append(self._packing.submit(self._pack, batch[:most], images))

    def _image(self, index: int) -> Ready | SamplesError:
        path = self._data.root / self._data.sources[index].image
        try:
            image = load_image(path)
            if image.size != self._sizes[index]:
                return SamplesError(f"{path} has changed since the scan was begun: its size is another")
            encoded = self._encoded[index]
            crop = crop_jpeg(seen_part(image, encoded.seen), crop_side(encoded.layout.grid))
            return Ready(image, crop, hashlib.sha256(path.read_bytes()).hexdigest())
        except SamplesError as error:
            return error
        except OSError as error:
            return SamplesError(f"{path} cannot be read: {error.strerror}")

    def _pack(self, indices: list[int], waiting: Sequence[Future[Ready | SamplesError]]) -> ReadyBatch:
        images = dict(zip(indices, (one.result() for one in waiting), strict=True))
        usable = {index: image.image for index, image in images.items() if isinstance(image, Ready)}
        if not usable:
            return ReadyBatch(images, None)
        return ReadyBatch(images, self._vlm.inputs([self._encoded[index] for index in usable], list(usable.values())))


class BatchRunner:
    """Runs batches; one that does not fit into the GPU's memory is halved, and so are those after it."""

    def __init__(self, vlm: Vlm, state: SpreadState, hook: HookPoint, size: int, fused: bool | None = None) -> None:
        """``size``: samples of a batch; ``fused``: whether the kernels reduce; None: wherever they can run."""
        self.vlm, self.state, self.hook = vlm, state, hook
        self.size = size
        self.fused = is_fused(vlm) if fused is None else fused

    def pieces(self, batch: ReadyBatch, encoded: Mapping[int, Encoded]) -> Iterator[list[ProcessedSample]]:
        """Add a batch to the state, in pieces of at most ``size`` samples; yields the outcomes of each piece.

        Raises:
            ModelError: if not even one sample fits into the memory, or a layer was not reached.
        """
        indices = list(batch.images)
        start = 0
        while start < len(indices):
            piece = {index: batch.images[index] for index in indices[start : start + self.size]}
            ready = {index: image.image for index, image in piece.items() if isinstance(image, Ready)}
            try:
                whole = batch.inputs if len(piece) == len(indices) else None
                non_finite = self._run({index: encoded[index] for index in ready}, ready, whole)
            except torch.OutOfMemoryError as error:
                refusal = f"Not even one sample fits into the memory of {self.vlm.device} beside the model."
                self.size = halved(len(piece), error, refusal, MEMORY_HINT)
                continue
            yield [self._processed(index, image, index in non_finite) for index, image in piece.items()]
            start += len(piece)

    def _run(self, encoded: dict[int, Encoded], images: Mapping[int, Image.Image], inputs: Inputs | None) -> set[int]:
        """Add these samples to the state, except those with a non-finite activation, which are returned.

        Args:
            inputs: what the model takes; None to have it made here.
        """
        dropped: set[int] = set()
        batch = Batch(torch.tensor(list(encoded), dtype=torch.int64), tuple(encoded.values()))
        while batch.encoded:
            if inputs is None:
                inputs = self.vlm.inputs(batch.encoded, [images[index] for index in batch.samples.tolist()])
            reduction = SpreadReduction(self.state, batch, self.fused)
            try:
                self.vlm.forward(inputs, reduction.hooks(), self.hook)
                non_finite = reduction.non_finite()
            except BaseException:
                reduction.rollback()
                raise
            if not non_finite:
                reduction.commit()
                break
            reduction.rollback()
            dropped.update(int(batch.samples[place]) for place in non_finite)
            batch, inputs = batch.without(non_finite), None
        return dropped

    @staticmethod
    def _processed(index: int, image: Ready | SamplesError, non_finite: bool) -> ProcessedSample:
        if isinstance(image, SamplesError):
            return ProcessedSample(index, None, image.message)
        return ProcessedSample(index, image, "it has an activation that is not finite" if non_finite else None)


def largest_batch(
    vlm: Vlm, state: SpreadState, encoded: Mapping[int, Encoded], sizes: Mapping[int, Size], hook: HookPoint
) -> int:
    """The largest batch, a power of two, whose pass fits into the GPU's memory beside the scan's state.

    The longest samples are tried, with blank pictures of their own sizes, so that no later batch needs more.

    Args:
        state: the scan's own, with room for ``LARGEST`` pending samples; it is left as it was.
        sizes: of the samples' pictures.
    """
    longest = sorted(encoded, key=lambda index: -len(encoded[index].input_ids))
    size = 1
    while size < LARGEST and size < len(longest):
        tried = longest[: 2 * size]
        if not _fits(vlm, state, {index: encoded[index] for index in tried}, [sizes[index] for index in tried], hook):
            break
        size *= 2
    torch.cuda.empty_cache()
    return size


def _fits(vlm: Vlm, state: SpreadState, encoded: Mapping[int, Encoded], sizes: Sequence[Size], hook: HookPoint) -> bool:
    batch = Batch(torch.tensor(list(encoded), dtype=torch.int64), tuple(encoded.values()))
    blank = {size: Image.new("RGB", size) for size in sizes}
    try:
        reduction = SpreadReduction(state, batch, is_fused(vlm))
        vlm.forward(vlm.inputs(batch.encoded, [blank[size] for size in sizes]), reduction.hooks(), hook)
        reduction.non_finite()  # waits for the GPU
    except torch.OutOfMemoryError as error:
        error.__traceback__ = None  # its frames hold what did not fit
        return False
    finally:
        state.restore_maps()
    return True
