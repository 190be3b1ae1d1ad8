"""What it costs to contrast two groups of samples, in a scan alone."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlmscope.core.analysis.contrast import Answer, contrast
from vlmscope.core.store.reader import ScanStore

SHARE = 10  #: every tenth sample is of the first group
LIMIT = 20  #: neurons listed
REPEATS = 5


@dataclass(frozen=True)
class ContrastFigures:
    """Times by the clock in seconds, of ranking all neurons by two groups, the second one the rest.

    Attributes:
        neurons, samples: of the scan. panel: samples of its panel, 0 without one. group: samples of the first group.
        first_s: the first time, by the top samples. top_s: the same again, median. panel_s: by the panel, median; None
            without one. With a panel either way computes both answers.
        top_cpu_s: CPU time of all threads, median.
    """

    scan: str
    neurons: int
    samples: int
    panel: int
    group: int
    first_s: float
    top_s: float
    top_cpu_s: float
    panel_s: float | None


def bench_contrast(folder: Path, repeats: int = REPEATS) -> ContrastFigures:
    """The figures of one scan.

    Raises:
        StoreError: if it cannot be read.
    """
    store = ScanStore(folder)
    a = np.arange(store.manifest.samples) % SHARE == 0

    def seconds(by: Answer) -> tuple[float, float]:
        began, began_cpu = time.perf_counter(), time.process_time()
        contrast(store, a, ~a, by, LIMIT)
        return time.perf_counter() - began, time.process_time() - began_cpu

    def median(by: Answer) -> tuple[float, float]:
        clock, cpu = np.median([seconds(by) for _ in range(repeats)], axis=0).tolist()
        return clock, cpu

    first, _ = seconds(Answer.TOP)
    clock, cpu = median(Answer.TOP)
    panel = store.panel
    return ContrastFigures(
        scan=folder.name,
        neurons=store.layers * store.neurons,
        samples=store.manifest.scanned,
        panel=0 if panel is None else len(panel),
        group=int(a.sum()),
        first_s=first,
        top_s=clock,
        top_cpu_s=cpu,
        panel_s=None if panel is None else median(Answer.PANEL)[0],
    )
