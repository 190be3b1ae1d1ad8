"""The largest batch, and the reduction by kernels against the one by torch, through a whole scan."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vlmscope.core.scan.batches
from tests.core.scan.test_kernels import RUNS, interpreted  # noqa: F401  # a fixture
from tests.core.scan.test_resume import Small, silent
from tests.support.encoding import encoded_sample
from tests.support.sizes import manifest_of
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Hook, Inputs, Vlm
from vlmscope.core.scan.batches import PENDING, largest_batch
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.spread import SpreadState
from vlmscope.core.scan.state import ScanState
from vlmscope.core.store.arrays import array_shapes
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec


@pytest.fixture(scope="module", params=["llama", "qwen2 with a closing token"])
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    folder = tmp_path_factory.mktemp("model")
    return load(ModelSpec(str(make_model(folder, request.param.split()[0], end="closing" in request.param))))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("data"), 14)


@pytest.mark.parametrize(("most", "found"), [(64, 16), (12, 8), (8, 8), (7, 4), (1, 1)])
def test_the_largest_batch_that_fits(
    vlm: Vlm, images: Path, most: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power of two; of thirteen samples all fit into a batch of sixteen."""
    data = read_data(str(images), 13)
    prompt = vlm.prompt("Could you describe the image?")
    encoded = {i: vlm.encode(prompt, source.description or "", (40, 30)) for i, source in enumerate(data.sources)}
    sizes = {"model": vlm.info, "top_n": 5, "maps": 2, "visual_tokens_max": 9, "text_tokens_max": 60}
    manifest = manifest_of(np.zeros((1, 1, 1), np.int32), 13, ()).model_copy(update=sizes)
    state = SpreadState.empty(manifest, PENDING, vlm.layer_devices)
    Small(vlm, most, monkeypatch)
    assert largest_batch(vlm, state, encoded, dict.fromkeys(encoded, (40, 30)), HookPoint.GATE) == found
    (part,), fresh = state.parts, ScanState(manifest, PENDING)
    assert part.waiting == 0 and torch.equal(part.top.key, fresh.top.key)
    assert torch.equal(part.maps.key, fresh.maps.key) and torch.equal(part.maps.visual, fresh.maps.visual)


@pytest.mark.skipif(not RUNS, reason="neither a GPU nor an interpreter for Triton")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("interpreted")
def test_the_kernels_give_the_same_scan(
    vlm: Vlm, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five samples, of which one has an activation that is not finite in its last layer only."""
    data = read_data(str(images), 5)
    _, alone = encoded_sample(vlm, load_image(data.root / data.sources[4].image), data.sources[4].description or "")
    marked = alone["pixel_values"]
    whole = vlm.forward

    def forward(inputs: Inputs, hooks: dict[int, Hook], hook: HookPoint) -> None:
        last = max(hooks)

        def spoil(activation: torch.Tensor) -> None:
            spoilt = activation.clone()
            spoilt[(inputs["pixel_values"] == marked).flatten(1).all(dim=1), 3, 5] = torch.inf
            hooks[last](spoilt)

        whole(inputs, {**hooks, last: spoil}, hook)

    monkeypatch.setattr(vlm, "forward", forward)
    options = ScanOptions(top_n=3, maps=2, batch=2)
    made = []
    for fused in (False, True):
        monkeypatch.setattr(vlmscope.core.scan.batches, "is_fused", lambda _, fused=fused: fused)
        out = tmp_path / str(fused)
        manifest = scan(vlm, data, out, replace(options, save_samples=2), silent)
        assert [skipped.sample for skipped in manifest.skipped] == [4]
        made.append(ScanStore(out))
    by_torch, by_kernel = made
    for name in array_shapes(by_torch.manifest):
        a, b = by_torch.arrays[name], by_kernel.arrays[name]
        if name == "moments":  # sums in another order
            assert np.allclose(a, b, rtol=1e-5, atol=1e-6)
        else:
            assert np.array_equal(a, b), name
    assert "vlmscope.core.scan.kernels_triton" in sys.modules
