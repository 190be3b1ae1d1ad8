"""Statistics of label counts that a test writes down."""

from dataclasses import replace

import numpy as np

from vlmscope.core.analysis.statistics import ScanStatistics
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.method.labels import Thresholds


def made_up(counts: list[list[int]], **more: object) -> ScanStatistics:
    """Statistics of these counts; half of each label is high-confidence."""
    array = np.array(counts, dtype=np.int64)
    made = ScanStatistics(
        name="a",
        model="x",
        hook=HookPoint.GATE,
        samples=9,
        neurons=int(array[0].sum()),
        thresholds=Thresholds(),
        counts=array,
        high_confidence=array // 2,
        fragile=None,
        seed=None,
        control=None,
    )
    return replace(made, **more)  # type: ignore[arg-type]
