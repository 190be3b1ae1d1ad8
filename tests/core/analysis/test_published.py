"""The paper's neurons belong to the paper's model, at its hook point, and to nothing else."""

from pathlib import Path

import pytest

from vlmscope.core.analysis.published import published
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.store.manifest import Manifest, read_manifest


def manifest(
    scan: Path, name: str, layers: int = 32, neurons: int = 11008, hook: HookPoint = HookPoint.GATE
) -> Manifest:
    found = read_manifest(scan)
    model = found.model.model_copy(update={"name": name, "layers": layers, "neurons": neurons})
    return found.model_copy(update={"model": model, "hook": hook})


@pytest.mark.parametrize(
    "name",
    ["llava-hf/llava-1.5-7b-hf", "liuhaotian/llava-v1.5-7b", "/data/models/llava-1.5-7b-hf", "/data/LLaVA-1.5-7B/"],
)
def test_the_papers_model_has_its_sixteen_neurons(scan: Path, name: str) -> None:
    found = published(manifest(scan, name))
    assert len(found) == 16
    assert found[Neuron(0, 6098)].text == "the presence of a train or train-related elements"
    assert all(neuron == one.neuron.check_within(32, 11008) for neuron, one in found.items())


def test_no_other_model_has_them(scan: Path) -> None:
    assert not published(read_manifest(scan))
    assert not published(manifest(scan, "llava-hf/llava-1.5-13b-hf", 40, 13824))
    assert not published(manifest(scan, "me/my-llava-1.5-7b-tuned"))
    assert not published(manifest(scan, "llava-hf/llava-1.5-7b-hf", layers=31))
    assert not published(manifest(scan, "llava-hf/llava-1.5-7b-hf", hook=HookPoint.GATE_UP))
