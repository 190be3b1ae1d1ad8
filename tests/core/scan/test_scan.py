"""The scan against the slow two-pass computation, and what it does with bad samples."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.encoding import encoded_sample
from tests.support.reference import all_activations, two_pass
from tests.support.tiny import MODELS, make_images, make_model
from vlmscope.core.base.errors import SamplesError, StoreError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import read_data
from vlmscope.core.method.distribution import BINS, EDGES
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.model.load import load
from vlmscope.core.model.maps import neuron_maps
from vlmscope.core.model.vlm import Encoded, Inputs, Vlm
from vlmscope.core.scan.descriptions import describe_missing
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


@pytest.fixture(scope="module", params=[*MODELS, "llama with a closing token"])
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(
        ModelSpec(
            str(make_model(tmp_path_factory.mktemp("model"), request.param.split()[0], end="closing" in request.param))
        )
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("data"), 30)


def prepared(vlm: Vlm, data: Path) -> list[tuple[Encoded, Inputs]]:
    read = read_data(str(data))
    return [
        encoded_sample(vlm, load_image(read.root / source.image), source.description or "") for source in read.sources
    ]


@pytest.mark.parametrize("hook", HookPoint)
def test_equals_the_two_pass_computation(vlm: Vlm, data: Path, tmp_path: Path, hook: HookPoint) -> None:
    options = ScanOptions(hook=hook, top_n=12, batch=1)
    scan(vlm, read_data(str(data)), tmp_path / "scan", options, silent)
    store = ScanStore(tmp_path / "scan")
    samples = prepared(vlm, data)
    for thresholds in (Thresholds(), Thresholds(T_v=1, n_v=2, T_t=5, n_t=1)):
        expected = two_pass(vlm, hook, samples, 12, thresholds)
        labels = store.labels(thresholds)
        assert np.array_equal(store.maximum, expected.gmax)
        assert np.array_equal(labels.fractions, expected.p)
        assert np.array_equal(labels.label, expected.label)
        for (layer, index), top in expected.top.items():
            assert store.arrays["top_sample"][layer, index].tolist() == top
    assert len({*store.stored_labels().label.ravel().tolist()}) > 1  # the data has several labels


@pytest.mark.parametrize("batch", [2, 7, 64])
def test_batches_and_padding_change_no_more_than_rounding(vlm: Vlm, data: Path, tmp_path: Path, batch: int) -> None:
    """Alone or padded in a batch, an activation differs by float32 rounding: 1e-5 of the neuron's scale."""
    alone = tmp_path / "alone"
    together = tmp_path / "together"
    scan(vlm, read_data(str(data)), alone, ScanOptions(top_n=40, batch=1), silent)
    scan(vlm, read_data(str(data)), together, ScanOptions(top_n=40, batch=batch), silent)
    a, b = ScanStore(alone), ScanStore(together)
    tolerance = 1e-5 * max(1.0, float(np.abs(a.maximum).max()))
    assert np.allclose(a.maximum, b.maximum, atol=tolerance, rtol=0)
    for name in ("top_visual", "top_text"):  # N exceeds the samples: the same set, ordered by sample
        first, second = (
            np.take_along_axis(s.arrays[name], np.argsort(s.arrays["top_sample"], axis=-1)[None], axis=-1)
            for s in (a, b)
        )
        assert np.allclose(first, second, atol=tolerance, rtol=0)
    thresholds = Thresholds()
    differ = a.labels(thresholds).label != b.labels(thresholds).label
    for layer, index in np.argwhere(differ):
        near = [
            np.abs(s.arrays[name][k - 1, layer, index, : s.manifest.valid] * 10 - t * s.maximum[layer, index]).min()
            for s in (a, b)
            for name, k, t in (
                ("top_visual", thresholds.n_v, thresholds.T_v),
                ("top_text", thresholds.n_t, thresholds.T_t),
            )
        ]
        assert min(near) <= 10 * tolerance


@pytest.mark.parametrize("hook", HookPoint)
def test_maps_peaks_and_distributions_are_the_activations(
    vlm: Vlm, data: Path, tmp_path: Path, hook: HookPoint
) -> None:
    scan(
        vlm,
        read_data(str(data)),
        tmp_path / "scan",
        ScanOptions(hook=hook, top_n=12, batch=5, maps=3, small_maps=5),
        silent,
    )
    store = ScanStore(tmp_path / "scan")
    samples = prepared(vlm, data)
    activations = [all_activations(vlm, hook, inputs) for _, inputs in samples]
    scale = max(1.0, float(np.abs(store.maximum).max()))
    for neuron in (Neuron(0, 0), Neuron(1, 17), Neuron(2, 47)):
        for rank in range(store.manifest.valid):
            top = store.example(neuron, rank, Thresholds())
            encoded = samples[top.sample.index][0]
            row = activations[top.sample.index][neuron.layer, :, neuron.index]
            visual, text = row[encoded.visual], row[encoded.text]
            kept = np.sort(visual)[::-1][:8]
            assert np.allclose(top.visual[: len(kept)], kept, atol=1e-5 * scale)
            kept = np.sort(text)[::-1][:4]
            assert np.allclose(top.text[: len(kept)], kept, atol=1e-5 * scale)
            assert np.isneginf(top.text[len(kept) :]).all()
            assert top.peak_patch is not None and visual[top.peak_patch] >= visual.max() - 1e-5 * scale
            assert top.peak_token is not None and text[top.peak_token] >= text.max() - 1e-5 * scale
            assert top.small == (3 <= rank < 5)
            if rank < 5:
                assert top.visual_map is not None and top.text_map is not None
                step = max(top.activation, 0) / (15 if top.small else 255)
                assert np.allclose(top.visual_map.ravel(), visual.clip(0), atol=0.54 * step + 1e-5 * scale)
                assert np.allclose(top.text_map, text.clip(0), atol=0.54 * step + 1e-5 * scale)
            else:
                assert top.visual_map is None and top.text_map is None
        for kind, part in ((Label.VISUAL, "visual"), (Label.TEXT, "text")):
            values = np.concatenate(
                [
                    a[neuron.layer, getattr(encoded, part), neuron.index]
                    for a, (encoded, _) in zip(activations, samples, strict=True)
                ]
            )
            found = store.distribution(neuron, kind)
            assert found.count == len(values)
            assert found.mean == pytest.approx(values.mean(), abs=1e-5 * scale)
            assert found.mean_square == pytest.approx((values**2).mean(), abs=1e-4 * scale**2)
            assert found.share_active == pytest.approx((values > 0).mean())
            assert int(found.histogram.sum()) == len(values)
            assert np.abs(found.histogram.astype(int) - obvious_histogram(values)).sum() <= 2  # rounding at an edge


def obvious_histogram(values: NDArray[np.float64]) -> NDArray[np.int64]:
    bins = np.zeros(BINS, dtype=np.int64)
    for value in values:
        bins[0 if value <= 0 else max(k + 1 for k in range(BINS - 1) if value >= EDGES[k])] += 1
    return bins


def test_pooled_maps_are_the_largest_of_their_cells_and_nothing_else_changes(
    vlm: Vlm, data: Path, tmp_path: Path
) -> None:
    options = ScanOptions(top_n=4, maps=3, batch=3)
    for cells in (None, 2, 3):
        scan(vlm, read_data(str(data)), tmp_path / str(cells), replace(options, map_cells=cells), silent)
    every, pooled, same = (ScanStore(tmp_path / name) for name in ("None", "2", "3"))
    assert (pooled.manifest.map_cells, pooled.manifest.visual_tokens_max) == (2, 4)
    assert pooled.manifest.scan_id == every.manifest.scan_id
    plain = VisualLayout.plain(3, 3)
    for name, array in every.arrays.items():
        assert np.array_equal(array, same.arrays[name]) or name == "sample_lines"
        if name == "maps_visual":
            expected = plain.cells(np.asarray(array, dtype=np.float32), 2, 2).reshape(*array.shape[:-1], 4)
            assert np.array_equal(pooled.arrays[name], expected)
        else:
            assert np.array_equal(array, pooled.arrays[name])
    one = pooled.example(Neuron(1, 7), 0)
    assert one.visual_map is not None and one.visual_map.shape == one.grid == (2, 2)
    assert one.peak_patch == every.example(Neuron(1, 7), 0).peak_patch


def test_a_map_on_demand_is_the_activation(vlm: Vlm, data: Path) -> None:
    encoded, inputs = prepared(vlm, data)[3]
    for hook in HookPoint:
        whole = all_activations(vlm, hook, inputs)
        for neuron in (Neuron(0, 1), Neuron(2, 40)):
            visual, text = neuron_maps(vlm, hook, neuron, encoded, inputs)
            assert visual.shape == (9,)
            assert np.allclose(visual, whole[neuron.layer, encoded.visual, neuron.index], atol=1e-5)
            assert np.allclose(text, whole[neuron.layer, encoded.text, neuron.index], atol=1e-5)


def test_bad_samples_are_skipped_counted_and_named(vlm: Vlm, tmp_path: Path) -> None:
    path = make_images(tmp_path / "data", 10)
    lines = path.read_text().splitlines()
    (tmp_path / "data" / "002.png").write_bytes(b"no picture")
    whole = (tmp_path / "data" / "003.png").read_bytes()
    (tmp_path / "data" / "003.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "data" / "004.png").unlink()
    for index, description in ((5, " \n"), (6, "word " * 400)):
        lines[index] = json.dumps({"image": f"{index:03}.png", "description": description})
    path.write_text("\n".join(lines))
    manifest = scan(vlm, read_data(str(path)), tmp_path / "scan", ScanOptions(top_n=5), silent)
    assert manifest.samples == 10 and manifest.scanned == 5
    assert [s.sample for s in manifest.skipped] == [2, 3, 4, 5, 6]
    reasons = [s.reason for s in manifest.skipped]
    for reason, word in zip(reasons, ["not a picture", "decoded", "not exist", "empty", "too long"], strict=True):
        assert word in reason
    used = set(ScanStore(tmp_path / "scan").arrays["top_sample"].ravel().tolist())
    assert used <= {0, 1, 7, 8, 9}


def test_a_sample_with_a_non_finite_activation_leaves_no_trace(
    vlm: Vlm, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One poisoned sample in a batch: the others are scanned as if it had not been there."""
    read = read_data(str(data))
    poisoned = 4
    original = vlm.inputs
    target = load_image(read.root / read.sources[poisoned].image)

    def poison(encoded: Sequence[Encoded], images: Sequence[Image.Image]) -> Inputs:
        made = original(encoded, images)
        for place, image in enumerate(images):
            if image.tobytes() == target.tobytes():
                made["pixel_values"][place] = np.nan
        return made

    monkeypatch.setattr(vlm, "inputs", poison)
    manifest = scan(vlm, read, tmp_path / "scan", ScanOptions(top_n=30, batch=8), silent)
    assert [s.sample for s in manifest.skipped] == [poisoned]
    assert "not finite" in manifest.skipped[0].reason
    store = ScanStore(tmp_path / "scan")
    assert poisoned not in store.arrays["top_sample"]
    assert np.isfinite(store.maximum).all() and np.isfinite(store.arrays["moments"]).all()
    assert manifest.visual_tokens == 29 * 9
    assert (store.arrays["histogram"][0].sum(axis=-1) == 29 * 9).all()


def test_nothing_remains_of_a_scan_that_failed(vlm: Vlm, tmp_path: Path) -> None:
    path = make_images(tmp_path / "data", 2)
    for name in ("000.png", "001.png"):
        (tmp_path / "data" / name).write_bytes(b"")
    with pytest.raises(SamplesError, match="No sample"):
        scan(vlm, read_data(str(path)), tmp_path / "out" / "scan", ScanOptions(), silent)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_existing_folder_is_not_overwritten(vlm: Vlm, data: Path, tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        scan(vlm, read_data(str(data)), tmp_path / "scan", ScanOptions(), silent)
    assert (tmp_path / "scan" / "thesis.txt").read_text() == "precious"


def test_the_model_writes_missing_descriptions(vlm: Vlm, tmp_path: Path) -> None:
    path = make_images(tmp_path / "data", 5, descriptions=False)
    prompt = vlm.prompt("Could you describe the image?")
    read = describe_missing(vlm, read_data(str(path)), prompt, 2, silent)
    for source in read.sources:
        assert source.description == vlm.describe([load_image(read.root / source.image)], prompt)[0]


def test_a_folder_of_images_is_read_in_order(tmp_path: Path) -> None:
    make_images(tmp_path / "b", 2)
    make_images(tmp_path / "a", 1)
    names = [source.image for source in read_data(str(tmp_path)).sources]
    assert names == ["a/000.png", "b/000.png", "b/001.png"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"image": "a.png"}\n{"image"', "line 2, is not JSON"),
        ('{"description": "x"}', "line 1: 'image' must be"),
        ('{"image": "a.png", "description": 3}', "line 1: 'image' must be"),
        ("[1]", "line 1: 'image' must be"),
        ("\n\n", "holds no images"),
    ],
)
def test_bad_jsonl_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(content)
    with pytest.raises(SamplesError, match=words):
        read_data(str(path))
