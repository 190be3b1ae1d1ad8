"""The shipped demo: a model that really describes, pictures it never saw, and a scan that the model confirms."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.encoding import encoded_sample
from tests.support.reference import two_pass
from vlmscope.core.base.demo import DEMO, demo_folder, image_path, scan_folder
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import read_data
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.model.load import load
from vlmscope.core.model.maps import neuron_maps
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.panel import draw_panel
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.sample_log import SAMPLES
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.sample_data.recipe.evaluate import Describer, score
from vlmscope.sample_data.recipe.scenes import TEST_SEEDS, make_scene

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def vlm() -> Vlm:
    return load(ModelSpec(DEMO))


@pytest.fixture(scope="module")
def store() -> ScanStore:
    return ScanStore(scan_folder(DEMO))


@pytest.mark.slow
@pytest.mark.parametrize("hook", HookPoint)
def test_the_scan_equals_the_two_pass_computation(vlm: Vlm, tmp_path: Path, hook: HookPoint) -> None:
    """Labels and top-N sets, at batch size 1, of all 4,608 neurons."""
    data = read_data(DEMO, limit=36)
    scan(vlm, data, tmp_path / "scan", ScanOptions(hook=hook, top_n=12, batch=1), lambda *_: None)
    found = ScanStore(tmp_path / "scan")
    samples = [
        encoded_sample(vlm, load_image(data.root / source.image), source.description or "") for source in data.sources
    ]
    expected = two_pass(vlm, hook, samples, 12, Thresholds())
    labels = found.stored_labels()
    assert np.array_equal(found.maximum, expected.gmax)
    assert np.array_equal(labels.fractions, expected.p)
    assert np.array_equal(labels.label, expected.label)
    top = np.array([expected.top[layer, index] for layer in range(vlm.layers) for index in range(vlm.neurons)])
    assert np.array_equal(found.arrays["top_sample"].reshape(top.shape), top)


def test_the_shipped_scan_is_what_the_model_computes(vlm: Vlm, store: ScanStore) -> None:
    """Activations anew, for neurons of every layer, against what the store says of them."""
    prompt = store.manifest.prompt
    assert prompt == vlm.prompt("Could you describe the image?")
    for layer in range(store.layers):
        for rank in (0, 3):
            neuron = Neuron(layer, (layer * 131 + rank * 57) % store.neurons)
            top = store.example(neuron, rank, Thresholds())
            sample = top.sample
            picture = load_image(image_path(store.manifest.image_root, sample.image))
            encoded, inputs = encoded_sample(vlm, picture, sample.description, prompt)
            assert encoded.tokens == sample.tokens
            visual, text = neuron_maps(vlm, store.manifest.hook, neuron, encoded, inputs)
            assert max(visual.max(), text.max()) == pytest.approx(top.activation, abs=1e-3)
            assert np.allclose(np.sort(visual.ravel())[::-1][:8], top.visual, atol=1e-3)
            assert top.visual_map is not None
            assert np.allclose(top.visual_map.ravel(), visual.clip(0), atol=top.activation / 255 + 1e-3)


def test_the_shipped_panel_is_what_the_model_computes(vlm: Vlm, store: ScanStore) -> None:
    panel = store.panel
    assert panel is not None and panel.samples.tolist() == list(draw_panel(store.manifest.data_id, 1500, 100))
    for place in (3, 50, 99):
        sample = store.sample(int(panel.samples[place]))
        picture = load_image(image_path(store.manifest.image_root, sample.image))
        encoded, inputs = encoded_sample(vlm, picture, sample.description, store.manifest.prompt)
        for neuron in (Neuron(0, place), Neuron(5, 7 * place)):
            maps = neuron_maps(vlm, store.manifest.hook, neuron, encoded, inputs)
            for read, values in zip((panel.visual, panel.text), maps, strict=True):
                assert read((neuron.layer, neuron.index))[place] == pytest.approx(values.max(), rel=2**-8, abs=1e-4)


def test_the_shipped_scan_covers_the_samples(store: ScanStore) -> None:
    lines = [json.loads(line) for line in (demo_folder() / "samples.jsonl").read_text().splitlines()]
    assert store.manifest.samples == store.manifest.scanned == len(lines) >= 1400
    assert store.manifest.skipped == ()
    assert (store.manifest.hook, store.manifest.top_n, store.manifest.maps) == (HookPoint.GATE, 50, 4)
    for index in (0, 700, len(lines) - 1):
        assert store.sample(index).description == lines[index]["description"]
        with Image.open(demo_folder() / lines[index]["image"]) as picture:
            assert picture.size == (96, 96)
    assert (store.stored_labels().counts().sum(axis=0) > 0)[: Label.UNKNOWN].all()


def test_the_shipped_scan_has_the_fields_of_its_listing(store: ScanStore) -> None:
    data = read_data(str(demo_folder() / "samples.jsonl"))
    assert store.manifest.fields == data.fields == ("scene",)
    assert [store.sample(index).fields for index in range(store.manifest.samples)] == [
        dict(source.fields) for source in data.sources
    ]
    listed = [json.loads(line)["scene"] for line in (demo_folder() / "samples.jsonl").read_text().splitlines()]
    assert [store.sample(index).fields["scene"] for index in range(len(listed))] == listed
    # As SampleLog.add writes them: whole lines, one after another, the fields last.
    lines = (scan_folder(DEMO) / SAMPLES).read_bytes().splitlines(keepends=True)
    ends = np.cumsum([len(line) for line in lines]).tolist()
    assert store.arrays["sample_lines"].tolist() == list(map(list, zip([0, *ends[:-1]], ends, strict=True)))
    for line in lines:
        assert line == json.dumps(json.loads(line)).encode("ascii") + b"\n" and list(json.loads(line))[-1] == "fields"


def test_boxes_lie_in_the_picture() -> None:
    for line in (demo_folder() / "samples.jsonl").read_text().splitlines()[:200]:
        for thing in json.loads(line)["objects"]:
            x0, y0, x1, y1 = thing["box"]
            assert 0 <= x0 < x1 <= 96 and 0 <= y0 < y1 <= 96


@pytest.mark.slow
def test_the_model_describes_what_it_never_saw() -> None:
    """Fresh scenes; the model card has the figures for 400 of them."""
    describer = Describer(demo_folder() / "model")
    scenes = [make_scene(TEST_SEEDS + 2_000_000 + i) for i in range(32)]
    pictures = [Image.fromarray(scene.picture) for scene in scenes]
    said = describer.ask(pictures, ["Could you describe the image?"] * len(pictures))
    result = score(scenes, said)
    assert result["precision"] > 0.85 and result["recall"] > 0.8 and result["scene"] > 0.8
    shuffled = score(scenes, said[1:] + said[:1])  # the same words about other pictures
    assert shuffled["recall"] < 0.3


def test_the_demo_keeps_its_size() -> None:
    folder = demo_folder()
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    # On the disk. What is downloaded, the wheel, stays under 40 MiB: test_packaging.py. The rest is small maps and the
    # control, most of which can be packed.
    assert total <= 60 * MEGABYTE
    assert (folder / "model" / "model.safetensors").stat().st_size <= 12_000_000
