"""A model whose layers are spread over devices. Here both devices are the CPU, by two names: no GPU is at hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.scan.test_resume import assert_equal, silent, stop_after
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import Cancelled
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.spread import SpreadState
from vlmscope.core.store.arrays import layer_shapes
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec

OPTIONS = ScanOptions(top_n=4, maps=2, batch=3, save_samples=1, panel=6)
CPU, SAME = torch.device("cpu"), torch.device("cpu", 0)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(ModelSpec(str(make_model(tmp_path_factory.mktemp("model")))))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return read_data(str(make_images(tmp_path_factory.mktemp("data"), 10)))


@pytest.mark.parametrize("devices", [(CPU, SAME, SAME), (CPU, SAME, CPU)], ids=["two parts", "three parts"])
def test_a_spread_scan_is_the_same_bit_by_bit(
    vlm: Vlm, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: tuple[torch.device, ...]
) -> None:
    assert vlm.layer_devices == (CPU,) * 3
    scan(vlm, data, tmp_path / "whole", OPTIONS, silent)
    monkeypatch.setattr(Vlm, "layer_devices", devices)
    scan(vlm, data, tmp_path / "spread", OPTIONS, silent)
    whole, spread = ScanStore(tmp_path / "whole"), ScanStore(tmp_path / "spread")
    assert_equal(spread, whole)
    for name, array in whole.arrays.items():
        assert np.array_equal(array, spread.arrays[name], equal_nan=True), name
    with pytest.raises(Cancelled):
        scan(vlm, data, tmp_path / "stopped", OPTIONS, silent, stopped=stop_after(2))
    monkeypatch.undo()  # it may continue on other devices
    scan(vlm, data, tmp_path / "stopped", OPTIONS, silent, resume=True)
    assert_equal(ScanStore(tmp_path / "stopped"), whole)


def test_each_run_of_layers_has_a_state_on_its_device(vlm: Vlm, data: Data, tmp_path: Path) -> None:
    manifest = scan(vlm, data, tmp_path / "scan", replace(OPTIONS, save_samples=None), silent)
    state = SpreadState.empty(manifest, 8, (CPU, SAME, SAME))
    assert state.starts == (0, 1)
    assert [part.top.key.shape[0] for part in state.parts] == [1, 2]
    arrays = state.arrays(manifest)
    stored = ScanStore(tmp_path / "scan").arrays
    assert all(arrays[name].shape == stored[name].shape for name in layer_shapes(manifest))
