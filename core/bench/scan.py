"""What a scan costs, measured on this machine: beside the bare forward passes that it cannot do without, beside the
chip's peak, and beside the usual way to the same labels."""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.callbacks import OnProgress
from vlmscope.core.base.errors import SamplesError
from vlmscope.core.bench.baseline_two_pass import two_pass
from vlmscope.core.bench.flops import forward_flop
from vlmscope.core.bench.gpu_peaks import peak_tflops
from vlmscope.core.bench.peak_memory import PeakMemory
from vlmscope.core.data.samples import Data
from vlmscope.core.model.vlm import Encoded, Vlm
from vlmscope.core.scan.batches import BATCH, PENDING, BatchRunner, Ready, ready_images
from vlmscope.core.scan.descriptions import describe_missing
from vlmscope.core.scan.order import scan_order
from vlmscope.core.scan.reduction import Batch
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.state import ScanState, StateShape
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions


@dataclass(frozen=True)
class ScanFigures:
    """Median seconds over the repeats; a ratio is the median of the repeats' own ratios.

    Attributes:
        tokens_per_sample: prompt, patches and description, the mean.
        forward_s: the bare forward passes over the same batches, images already decoded and preprocessed.
        pass_s: the same passes, with all that the scan takes of each; batch by batch in turns with the bare ones.
        scan_s: the whole scan: decoding, tokenising, reducing, writing the store.
        pass_ratio: the passes' time over that of the bare ones. What a scan of many samples comes to, if its images are
            ready in time: what is written takes the same time however many they are. (A short one begins with samples
            of which all are among the best so far, which on the CPU cost more.)
        ratio: the scan's time over that of the forward passes.
        peak_memory_mib: the most during a scan, the model included; ``peak_memory_of`` says of what.
        flop_per_sample: of a forward pass, padding not counted, the mean (``core/bench/flops.py``).
        peak_tflops: the chip's, in the model's dtype; None where it is not known.
        forward_share_of_peak, scan_share_of_peak: of ``peak_tflops`` that those FLOP in that time make.
        two_pass_s: the usual way (``baseline_two_pass.py``), from the same files to labels; None unless asked for.
        times_faster: the usual way's time over the scan's.
        same_labels: share of neurons that both label alike; rounding in batches may change a few.
    """

    model: str
    device: str
    dtype: str
    layers: int
    neurons: int
    samples: int
    tokens_per_sample: float
    batch: int
    repeats: int
    forward_s: float
    pass_s: float
    scan_s: float
    pass_ratio: float
    ratio: float
    samples_per_s: float
    peak_memory_mib: float
    peak_memory_of: str
    flop_per_sample: int
    peak_tflops: float | None
    forward_share_of_peak: float | None
    scan_share_of_peak: float | None
    two_pass_s: float | None = None
    times_faster: float | None = None
    same_labels: float | None = None


def bench_scan(
    vlm: Vlm,
    data: Data,
    options: ScanOptions,
    repeats: int,
    progress: OnProgress,
    *,
    against_two_pass: bool = False,
) -> ScanFigures:
    """Measure the ways in turns, so that a machine that slows down slows all; descriptions are written before.

    Where ``options`` leave the batch open, the first scan, which warms up, finds it: that takes the same time however
    many samples follow.

    Raises:
        SamplesError: if a sample cannot be scanned: the ways would not see the same data.
    """
    prompt = vlm.prompt(options.question, options.prompt_template)
    data = describe_missing(vlm, data, prompt, options.batch or BATCH, progress)
    total = len(data.sources)
    clock = _Clock(progress, total * (1 + repeats * (5 if against_two_pass else 3)))
    forward: list[float] = []
    passes: list[float] = []
    whole: list[float] = []
    usual: list[float] = []
    same = None
    # One scan warms up all. Its memory is read: what is prepared later would count into it.
    memory = PeakMemory(vlm.device)
    memory.reset()
    first = _scanned(vlm, data, options, clock)
    peak_memory = memory.mib()
    batch = first.manifest.batch
    options = replace(options, batch=batch)
    encoded = {i: vlm.encode(prompt, source.description or "") for i, source in enumerate(data.sources)}
    prepared = _prepared(vlm, data, encoded, batch)
    for _ in range(repeats):
        bare, reducing = _in_turns(vlm, prepared, encoded, first.manifest, options, clock)
        forward.append(bare)
        passes.append(reducing)
        scanned = _scanned(vlm, data, options, clock)
        whole.append(scanned.seconds)
        if against_two_pass:
            begun = clock.start()
            found = two_pass(vlm, data, prompt, options.hook, options.top_n, options.thresholds, clock.report)
            usual.append(clock.stop(begun, 2 * total))
            same = float(np.mean(found.labels.label == scanned.label))
    forward_s, scan_s = statistics.median(forward), statistics.median(whole)
    device = torch.cuda.get_device_name(vlm.device) if vlm.device.type == "cuda" else vlm.device.type
    flop = sum(forward_flop(vlm.model.config, len(one.input_ids)) for one in encoded.values())
    peak = peak_tflops(device, vlm.info.dtype)
    return ScanFigures(
        model=vlm.name,
        device=device,
        dtype=vlm.info.dtype,
        layers=vlm.layers,
        neurons=vlm.layers * vlm.neurons,
        samples=total,
        tokens_per_sample=statistics.fmean(len(one.input_ids) for one in encoded.values()),
        batch=batch,
        repeats=repeats,
        forward_s=forward_s,
        pass_s=statistics.median(passes),
        scan_s=scan_s,
        pass_ratio=statistics.median(p / f for p, f in zip(passes, forward, strict=True)),
        ratio=statistics.median(w / f for w, f in zip(whole, forward, strict=True)),
        samples_per_s=total / scan_s,
        peak_memory_mib=peak_memory,
        peak_memory_of=memory.kind,
        flop_per_sample=round(flop / total),
        peak_tflops=peak,
        forward_share_of_peak=None if peak is None else flop / forward_s / (peak * 1e12),
        scan_share_of_peak=None if peak is None else flop / scan_s / (peak * 1e12),
        two_pass_s=statistics.median(usual) if usual else None,
        times_faster=statistics.median(u / w for u, w in zip(usual, whole, strict=True)) if usual else None,
        same_labels=same,
    )


class _Clock:
    """Seconds of each part, and one count of samples over all parts for who watches."""

    def __init__(self, progress: OnProgress, samples: int) -> None:
        self._progress, self._samples, self._done = progress, samples, 0

    def report(self, what: str, done: int, total: int) -> None:
        """Within a part: what a scan or the usual way says of itself."""
        if what in ("scanning", "first pass", "second pass"):
            earlier = total if what == "second pass" else 0
            self._progress("measuring", self._done + earlier + done, self._samples)

    def start(self) -> float:
        self._progress("measuring", self._done, self._samples)
        return time.perf_counter()

    def stop(self, begun: float, samples: int, device: torch.device | None = None) -> float:
        """Seconds of a part, through which so many samples went; ``device`` is waited for."""
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
        self._done += samples
        self._progress("measuring", self._done, self._samples)
        return seconds


@dataclass(frozen=True)
class _Prepared:
    """A batch of the scan, ready for the model: indices of its samples, tokens int64 (B, T)."""

    indices: list[int]
    ids: Tensor
    images: list[Ready]

    def pixels(self) -> Tensor:
        """(B, 3, H, W), in the model's dtype."""
        return torch.stack([image.pixels for image in self.images])


def _prepared(vlm: Vlm, data: Data, encoded: dict[int, Encoded], size: int) -> list[_Prepared]:
    """The batches of a scan, their images as its threads prepare them.

    Raises:
        SamplesError: if an image cannot be read any more.
    """
    found = []
    for indices, images in ready_images(vlm, data, scan_order({i: one.shape for i, one in encoded.items()}, size)):
        ids = Batch(torch.tensor(indices), tuple(encoded[i] for i in indices)).input_ids()
        ready = []
        for image in images:
            if isinstance(image, SamplesError):
                raise image
            ready.append(image)
        found.append(_Prepared(indices, ids, ready))
    return found


def _in_turns(
    vlm: Vlm,
    prepared: list[_Prepared],
    encoded: dict[int, Encoded],
    manifest: Manifest,
    options: ScanOptions,
    clock: _Clock,
) -> tuple[float, float]:
    """Seconds of the bare forward passes, and of the scan's: from images that are ready to a state that is complete.

    Batch by batch in turns, so that a machine that slows down for a while slows both.
    """
    state = ScanState(StateShape.of(manifest, max(manifest.batch, PENDING)), vlm.device)
    runner = BatchRunner(vlm, state, options.hook, manifest.batch)
    forward = passes = 0.0
    for item in prepared:
        pixels = item.pixels()
        begun = clock.start()
        vlm.forward(item.ids, pixels, {}, options.hook)
        forward += clock.stop(begun, len(item.indices), vlm.device)
        begun = clock.start()
        for _ in runner.pieces(item.indices, item.images, encoded):
            pass
        passes += clock.stop(begun, len(item.indices), vlm.device)
    begun = clock.start()
    state.flush()
    return forward, passes + clock.stop(begun, 0, vlm.device)


@dataclass(frozen=True)
class _Scanned:
    """A scan that was made: its time, and its labels (L, F)."""

    seconds: float
    manifest: Manifest
    label: NDArray[np.uint8]


def _scanned(vlm: Vlm, data: Data, options: ScanOptions, clock: _Clock) -> _Scanned:
    """Make a scan.

    Raises:
        SamplesError: if it skipped a sample.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scan"
        begun = clock.start()
        manifest = scan(vlm, data, out, options, clock.report)
        seconds = clock.stop(begun, len(data.sources))
        if manifest.skipped:
            first = manifest.skipped[0]
            raise SamplesError(
                f"{len(manifest.skipped)} of the {len(data.sources)} samples of {data.name} cannot be scanned, the "
                f"first, {first.image}: {first.reason}.",
                "Mend or leave out those samples: all that is compared must see the same data.",
            )
        return _Scanned(seconds, manifest, ScanStore(out).stored_labels().label)
