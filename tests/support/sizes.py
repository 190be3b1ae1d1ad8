"""A manifest of any size, for tests that need nothing else of a scan."""

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.store.manifest import Manifest, ModelInfo, Skipped, ThresholdsInfo


def manifest_of(top_sample: NDArray[np.int32], samples: int, skipped: tuple[int, ...]) -> Manifest:
    """The manifest of a scan with these top samples, int32 (L, F, N)."""
    layers, neurons, top_n = top_sample.shape
    return Manifest(
        scan_id="made-up",
        created="2026-01-01T00:00:00+00:00",
        model=ModelInfo(name="x", revision=None, architecture="x", dtype="float32", layers=layers, neurons=neurons),
        hook=HookPoint.GATE,
        question="",
        prompt="",
        data="x",
        image_root=None,
        data_id="",
        data_sha256="",
        batch=1,
        samples=samples,
        scanned=samples - len(skipped),
        skipped=tuple(Skipped(sample=i, image="x", reason="x") for i in skipped),
        top_n=max(top_n, 1),
        maps=0,
        visual_tokens_max=1,
        layouts=(),
        text_tokens_max=0,
        visual_tokens=0,
        text_tokens=0,
        thresholds=ThresholdsInfo.of(Thresholds()),
        arrays="arrays-1",
        versions={},
    )
