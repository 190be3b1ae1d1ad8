"""What a model offers a scan is known without its weights, and is what the loaded model then has."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support import torchvision_stand_in
from tests.support.families import FAMILIES
from vlmscope.core.base.errors import ModelError
from vlmscope.core.model.load import load
from vlmscope.core.model.offer import Cover, offer
from vlmscope.core.model.parts import Options
from vlmscope.core.worker.messages import ModelSpec

SIZE = (160, 120)
PLAIN: Options = {"revision": None, "trust_remote_code": False}


@pytest.fixture
def without_weights(family_folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Gives a family's folder with configuration and processor alone."""

    def folder(name: str) -> Path:
        copy = shutil.copytree(family_folder(name), tmp_path / name)
        (copy / "model.safetensors").unlink()
        return copy

    return folder


@pytest.mark.parametrize("name", ["llava", "llava_next", "qwen3_5", "gemma3", "gemma4", "aya_vision", "mistral3"])
def test_it_is_what_the_loaded_model_has(
    name: str, family_folder: Callable[[str], Path], without_weights: Callable[[str], Path]
) -> None:
    bare = str(without_weights(name))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    found = offer(bare, SIZE, PLAIN, device="cpu")
    assert torch.equal(torch.rand(2), expected)  # no random number of the program's is drawn
    vlm = load(ModelSpec(str(family_folder(name)), device="cpu"))
    layout, seen = vlm.sees(SIZE)
    assert found.problem is None
    assert (found.architecture, found.layers, found.neurons) == (vlm.info.architecture, vlm.layers, vlm.neurons)
    assert found.ffn == vlm.ffns[0].kind
    assert found.visual_tokens == len(layout)
    assert len(found.covers) == layout.covers == FAMILIES[name].covers
    for number, cover in enumerate(found.covers):
        assert cover == Cover(int((layout.cover == number).sum()), *layout.grid_of(number))
    assert found.seen == seen


def test_options_for_pictures_count(without_weights: Callable[[str], Path]) -> None:
    bare = str(without_weights("gemma3"))
    found = offer(bare, SIZE, PLAIN, FAMILIES["gemma3_pan_and_scan"].options, device="cpu")
    assert found.covers == (Cover(16, 4, 4), Cover(32, 4, 8))  # the whole picture, then two crops side by side


def test_what_cannot_be_scanned_is_refused_or_has_a_problem(without_weights: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="mixture of experts"):
        offer(str(without_weights("qwen3_vl_moe")), SIZE, PLAIN, device="cpu")
    found = offer(str(without_weights("mllama")), SIZE, PLAIN, device="cpu")
    assert (found.layers, found.neurons, found.covers, found.visual_tokens) == (3, 48, (), 0)
    assert found.problem is not None
    assert "cross attention" in found.problem[0]
    assert found.problem[1]


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_layers_are_known_where_a_package_is_missing(
    without_weights: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = without_weights("qwen2_5_vl")
    torchvision_stand_in.remove(monkeypatch)
    found = offer(str(folder), SIZE, PLAIN, device="cpu")
    assert (found.layers, found.neurons, found.ffn) == (3, 48, "gated")
    assert found.problem is not None
    assert "needs torchvision" in found.problem[0]
    assert found.problem[1].startswith("pip install torchvision")
