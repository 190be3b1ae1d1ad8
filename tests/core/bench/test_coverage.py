"""The coverage of a score's interval on the demo, with a made-up truth in place of the model's maps."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.bench import coverage
from vlmscope.core.scoring.protocol import HeldOut
from vlmscope.core.scoring.simulators.oracle import Oracle
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Asks


async def test_intervals_hold_the_score_of_the_whole_population(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[HeldOut] = []

    async def true_norms(_model: Asks, _neuron: Neuron, _maximum: float, sample: HeldOut) -> object:
        seen.append(sample)
        rng = np.random.default_rng(sample.sample)
        return SimpleNamespace(visual=rng.gamma(0.5, 1 if sample.rank is None else 3, sample.grid).astype(np.float32))

    monkeypatch.setattr(coverage, "true_norms", true_norms)
    monkeypatch.setattr(coverage, "DRAWS", 40)
    store, neuron = ScanStore(scan_folder("demo")), Neuron(3, 96)
    oracle = Oracle.of_demo(store.manifest)
    found = await coverage.bench_coverage(store, oracle, cast(Asks, None), [neuron])
    ranks = [sample.rank for sample in seen if sample.rank is not None]
    assert ranks == list(range(2, 51, 2)) and len(seen) == len({one.sample for one in seen}) == 125
    assert [(one.samples, one.draws) for one in found] == [(20, 40), (40, 40)]
    assert all(0.8 < one.covered <= 1 for one in found)
