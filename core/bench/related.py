"""What it costs to find related neurons, and the neurons at a patch, in a scan alone."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlmscope.core.analysis.pointing import point_in_scan
from vlmscope.core.analysis.related import coactive, related
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.place import patch_place
from vlmscope.core.store.reader import ScanStore

QUERIES = 50  #: neurons, and samples, drawn at random
SAMPLES = 1500  #: of the made-up scan
SEED = 0


@dataclass(frozen=True)
class RelatedFigures:
    """Times by the clock in milliseconds, the files in the page cache, the labels at hand.

    Attributes:
        neurons, samples: of the scan. queries: how many of each kind.
        related_ms, related_ms_p95, related_ms_max: of one neuron's related neurons: median, 95th percentile, longest.
        related_cpu_ms: CPU time of all threads, median.
        coactive_ms, coactive_cpu_ms: of the neurons by correlation over the panel, medians; None without a panel.
        point_ms, point_ms_p95: of the neurons at the middle patch of one sample.
    """

    neurons: int
    samples: int
    queries: int
    related_ms: float
    related_ms_p95: float
    related_ms_max: float
    related_cpu_ms: float
    coactive_ms: float | None
    coactive_cpu_ms: float | None
    point_ms: float
    point_ms_p95: float


def bench_related(folder: Path, queries: int = QUERIES) -> RelatedFigures:
    """The figures of one scan.

    Raises:
        StoreError: if it cannot be read.
    """
    store = ScanStore(folder)
    labels, rng = store.stored_labels(), np.random.default_rng(SEED)
    processed = [index for index in range(store.manifest.samples) if store.processed(index)]
    clock, cpu, points = [], [], []
    coactive_clock, coactive_cpu = [], []
    for at in rng.integers(store.layers * store.neurons, size=queries).tolist():
        began, began_cpu = time.perf_counter(), time.process_time()
        related(store, Neuron(*divmod(at, store.neurons)), labels)
        clock.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
        if store.panel is not None:
            began, began_cpu = time.perf_counter(), time.process_time()
            coactive(store, store.panel, Neuron(*divmod(at, store.neurons)), labels)
            coactive_clock.append(time.perf_counter() - began)
            coactive_cpu.append(time.process_time() - began_cpu)
    for sample in rng.choice(processed, size=queries).tolist():
        began = time.perf_counter()
        layout = store.layout(sample)
        rows, columns = layout.grid
        point_in_scan(store, labels, sample, patch_place(layout, rows // 2, columns // 2))
        points.append(time.perf_counter() - began)
    return RelatedFigures(
        neurons=store.layers * store.neurons,
        samples=store.manifest.scanned,
        queries=queries,
        related_ms=1000 * float(np.median(clock)),
        related_ms_p95=1000 * float(np.percentile(clock, 95)),
        related_ms_max=1000 * max(clock),
        related_cpu_ms=1000 * float(np.median(cpu)),
        coactive_ms=1000 * float(np.median(coactive_clock)) if coactive_clock else None,
        coactive_cpu_ms=1000 * float(np.median(coactive_cpu)) if coactive_cpu else None,
        point_ms=1000 * float(np.median(points)),
        point_ms_p95=1000 * float(np.percentile(points, 95)),
    )
