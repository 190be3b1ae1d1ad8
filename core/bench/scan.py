"""The cost of a scan, measured on this machine, compared with the bare forward passes, the chip's peak, and the
two-pass baseline."""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vlmscope.core.base.callbacks import OnProgress
from vlmscope.core.base.errors import SamplesError
from vlmscope.core.bench.baseline_two_pass import two_pass
from vlmscope.core.bench.flops import sample_flop
from vlmscope.core.bench.gpu_peaks import peak_tflops
from vlmscope.core.bench.peak_memory import PeakMemory
from vlmscope.core.data.images import image_size
from vlmscope.core.data.samples import Data
from vlmscope.core.model.vlm import Encoded, Vlm
from vlmscope.core.scan.batches import BATCH, PENDING, BatchRunner, ReadyBatch, ReadyBatches, Size
from vlmscope.core.scan.descriptions import describe_missing
from vlmscope.core.scan.order import scan_order
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.spread import SpreadState
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions


@dataclass(frozen=True)
class ScanFigures:
    """Median seconds over the repeats; a ratio is the median of the repeats' own ratios.

    Attributes:
        tokens_per_sample: prompt, patches and description, the mean.
        forward_s: the bare forward passes over the same batches, images already decoded and preprocessed.
        pass_s: the same passes with the scan's reduction of each; batch by batch in turns with the bare ones.
        scan_s: the whole scan: decoding, tokenising, reducing, writing the store.
        pass_ratio: the passes' time over that of the bare ones. ``ratio`` approaches it in a scan of many samples whose
            images are ready in time, as writing takes the same time for any number of samples. (In a short scan more
            samples are among the best so far, and those cost more on the CPU.)
        ratio: the scan's time over that of the forward passes.
        peak_memory_mib: the most during a scan, the model included; ``peak_memory_of`` names what is counted.
        flop_per_sample: of a forward pass, padding not counted, the mean; None where ``core/bench/flops.py`` cannot
            count them.
        peak_tflops: the chip's, in the model's dtype; None where it is not known.
        forward_share_of_peak, scan_share_of_peak: of ``peak_tflops`` that those FLOP in that time make.
        two_pass_s: the baseline (``baseline_two_pass.py``), from the same files to labels; None unless requested.
        times_faster: the baseline's time over the scan's.
        same_labels: share of neurons with the same label by both; rounding in batches may change a few.
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
    flop_per_sample: int | None
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
    """Measure all parts in turns, so that a machine that slows down slows all; descriptions are written before.

    Where ``options`` leave the batch open, the first scan, which warms up, finds it. That takes the same time for any
    number of samples.

    Raises:
        SamplesError: if a sample cannot be scanned: the parts would not see the same data.
    """
    prompt = vlm.prompt(options.question, options.prompt_template)
    data = describe_missing(vlm, data, prompt, options.batch or BATCH, progress)
    total = len(data.sources)
    clock = _Clock(progress, total * (1 + repeats * (5 if against_two_pass else 3)))
    forward: list[float] = []
    passes: list[float] = []
    whole: list[float] = []
    baseline: list[float] = []
    same = None
    # The first scan warms up all parts. Its memory is the one measured: later preparations would add to it.
    memory = PeakMemory(vlm.device)
    memory.reset()
    _, manifest, _ = _scanned(vlm, data, options, clock)
    peak_memory = memory.mib()
    batch = manifest.batch
    options = replace(options, batch=batch)
    sizes = {i: image_size(data.root / source.image) for i, source in enumerate(data.sources)}
    encoded = {i: vlm.encode(prompt, source.description or "", sizes[i]) for i, source in enumerate(data.sources)}
    prepared = _prepared(vlm, data, encoded, sizes, batch)
    for _ in range(repeats):
        bare, reducing = _in_turns(vlm, prepared, encoded, manifest, options, clock)
        forward.append(bare)
        passes.append(reducing)
        seconds, _, label = _scanned(vlm, data, options, clock)
        whole.append(seconds)
        if against_two_pass:
            begun = clock.start()
            found = two_pass(vlm, data, prompt, options.hook, options.top_n, options.thresholds, clock.report)
            baseline.append(clock.stop(begun, 2 * total))
            same = float(np.mean(found.labels.label == label))
    forward_s, scan_s = statistics.median(forward), statistics.median(whole)
    device = torch.cuda.get_device_name(vlm.device) if vlm.device.type == "cuda" else vlm.device.type
    counted = [sample_flop(vlm.model, len(one.input_ids), len(one.visual)) for one in encoded.values()]
    flop = sum(one for one in counted if one is not None)
    flop_known = None not in counted
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
        flop_per_sample=round(flop / total) if flop_known else None,
        peak_tflops=peak,
        forward_share_of_peak=None if peak is None or not flop_known else flop / forward_s / (peak * 1e12),
        scan_share_of_peak=None if peak is None or not flop_known else flop / scan_s / (peak * 1e12),
        two_pass_s=statistics.median(baseline) if baseline else None,
        times_faster=statistics.median(b / w for b, w in zip(baseline, whole, strict=True)) if baseline else None,
        same_labels=same,
    )


class _Clock:
    """Measures the seconds of each part, and reports one count of samples over all parts."""

    def __init__(self, progress: OnProgress, samples: int) -> None:
        self._progress, self._samples, self._done = progress, samples, 0

    def report(self, what: str, done: int, total: int) -> None:
        """Progress within a part, as a scan or the baseline reports it."""
        if what in ("scanning", "first pass", "second pass"):
            earlier = total if what == "second pass" else 0
            self._progress("measuring", self._done + earlier + done, self._samples)

    def start(self) -> float:
        self._progress("measuring", self._done, self._samples)
        return time.perf_counter()

    def stop(self, begun: float, samples: int, device: torch.device | None = None) -> float:
        """Seconds of a part that processed ``samples`` samples, after waiting for ``device``."""
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
        self._done += samples
        self._progress("measuring", self._done, self._samples)
        return seconds


def _prepared(vlm: Vlm, data: Data, encoded: dict[int, Encoded], sizes: dict[int, Size], size: int) -> list[ReadyBatch]:
    """The batches of a scan, with images prepared as in a scan."""
    order = scan_order({i: len(one.input_ids) for i, one in encoded.items()}, size)
    with ReadyBatches(vlm, data, encoded, sizes, order) as batches:
        found = list(batches)
    for batch in found:
        for image in batch.images.values():
            if isinstance(image, SamplesError):
                raise image
    return found


def _in_turns(
    vlm: Vlm,
    prepared: list[ReadyBatch],
    encoded: dict[int, Encoded],
    manifest: Manifest,
    options: ScanOptions,
    clock: _Clock,
) -> tuple[float, float]:
    """Seconds of the bare forward passes, and of the scan's passes: from prepared images to a complete state.

    Batch by batch in turns, so that a machine that slows down for a while slows both.
    """
    state = SpreadState.empty(manifest, max(manifest.batch, PENDING), vlm.layer_devices)
    runner = BatchRunner(vlm, state, options.hook, manifest.batch)
    forward = passes = 0.0
    for batch in prepared:
        assert batch.inputs is not None  # all pictures can be read
        begun = clock.start()
        vlm.forward(batch.inputs, {}, options.hook)
        forward += clock.stop(begun, len(batch.images), vlm.device)
        begun = clock.start()
        for _ in runner.pieces(batch, encoded):
            pass
        passes += clock.stop(begun, len(batch.images), vlm.device)
    begun = clock.start()
    state.flush()
    return forward, passes + clock.stop(begun, 0, vlm.device)


def _scanned(vlm: Vlm, data: Data, options: ScanOptions, clock: _Clock) -> tuple[float, Manifest, NDArray[np.uint8]]:
    """Make a scan: its seconds, its manifest and its labels (L, F)."""
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
                "Correct or leave out those samples: all that is compared must see the same data.",
            )
        return seconds, manifest, ScanStore(out).stored_labels().label
