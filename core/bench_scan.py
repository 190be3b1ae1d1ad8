"""How much a scan costs beside the forward passes that it cannot do without, measured on this machine."""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from core.activations import Batch
from core.images import load_image
from core.samples import Data
from core.scan import ScanOptions, describe_missing, scan
from core.vlm import Vlm


@dataclass(frozen=True)
class ScanFigures:
    """Median seconds over the repeats; ``ratio`` is the median of the repeats' own ratios.

    Attributes:
        forward_s: the bare forward passes over the same batches, images already decoded and preprocessed.
        scan_s: the whole scan: decoding, tokenising, reducing, writing the store.
    """

    model: str
    device: str
    samples: int
    batch: int
    repeats: int
    forward_s: float
    scan_s: float
    ratio: float
    samples_per_s: float


def bench_scan(vlm: Vlm, data: Data, options: ScanOptions, repeats: int) -> ScanFigures:
    """Measure both ways in turns, so that a machine that slows down slows both; descriptions are written before."""
    data = describe_missing(vlm, data, options, lambda *_: None)
    prompt = vlm.prompt(options.question, options.prompt_template)
    encoded = [vlm.encode(prompt, source.description or "") for source in data.sources]
    pixels = [vlm.pixels(load_image(data.root / source.image)) for source in data.sources]
    batches = []
    for start in range(0, len(encoded), options.batch):
        part = slice(start, start + options.batch)
        ids = Batch(torch.arange(len(encoded))[part], tuple(encoded[part])).input_ids()
        batches.append((ids, torch.stack(pixels[part])))
    forward: list[float] = []
    whole: list[float] = []
    for repeat in range(repeats + 1):
        begun = time.perf_counter()
        for ids, stacked in batches:
            vlm.forward(ids, stacked, {}, options.hook)
        if vlm.device.type == "cuda":
            torch.cuda.synchronize(vlm.device)
        middle = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            scan(vlm, data, Path(folder) / "scan", options, lambda *_: None)
        ended = time.perf_counter()
        if repeat:  # the first warms up
            forward.append(middle - begun)
            whole.append(ended - middle)
    scan_s = statistics.median(whole)
    return ScanFigures(
        model=vlm.name,
        device=torch.cuda.get_device_name(vlm.device) if vlm.device.type == "cuda" else vlm.device.type,
        samples=len(data.sources),
        batch=options.batch,
        repeats=repeats,
        forward_s=statistics.median(forward),
        scan_s=scan_s,
        ratio=statistics.median(w / f for w, f in zip(whole, forward, strict=True)),
        samples_per_s=len(data.sources) / scan_s,
    )
