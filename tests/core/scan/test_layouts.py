"""Scans of a tiny model with a thumbnail, tiles and newlines among its visual tokens; samples have many layouts."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.core.scan.test_merge import equal, make_shards
from tests.core.scan.test_resume import assert_equal, silent, stop_after
from tests.support.families import make_pictures
from tests.support.tiny import TEXTS
from vlmscope.core.base.errors import Cancelled, SamplesError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Encoded, Hook, Inputs, Vlm
from vlmscope.core.scan.merge import merge_scans
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.layouts import map_layout
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec

#: Widths and heights; those of the same index modulo 3 are alike, so that shards of three have other layouts.
SIZES = ((160, 120), (90, 150), (100, 100)) * 3 + ((240, 60), (60, 200), (120, 90))
OPTIONS = ScanOptions(top_n=5, maps=3, batch=4)


@pytest.fixture(scope="module")
def vlm(family_folder: Callable[[str], Path]) -> Vlm:
    return load(ModelSpec(str(family_folder("llava_next")), device="cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    words = " ".join(TEXTS[:4]).split()
    lines = []
    for index, picture in enumerate(make_pictures(SIZES)):
        picture.save(folder / f"{index:03}.png")
        text = " ".join(rng.choice(words, int(rng.integers(1, 9))))
        lines.append(json.dumps({"image": f"{index:03}.png", "description": text}))
    (folder / "samples.jsonl").write_text("\n".join(lines))
    return read_data(str(folder / "samples.jsonl"))


@pytest.fixture(scope="module")
def whole(vlm: Vlm, data: Data, tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    """The scan in batches of mixed layouts, to read only."""
    out = tmp_path_factory.mktemp("whole") / "scan"
    scan(vlm, data, out, OPTIONS, silent)
    return ScanStore(out)


def keeping(kept: dict[int, torch.Tensor], layer: int) -> Hook:
    def take(activation: torch.Tensor) -> None:
        kept[layer] = activation[0].clone()

    return take


@pytest.fixture(scope="module")
def alone(vlm: Vlm, data: Data) -> list[tuple[Encoded, NDArray[np.float32]]]:
    """Every sample by itself, with all its activations, float32 (L, T, F)."""
    found = []
    for source in data.sources:
        image = load_image(data.root / source.image)
        encoded = vlm.encode(vlm.prompt("Could you describe the image?"), source.description or "", image.size)
        kept: dict[int, torch.Tensor] = {}
        hooks = {layer: keeping(kept, layer) for layer in range(vlm.layers)}
        vlm.forward(vlm.inputs([encoded], [image]), hooks, HookPoint.GATE)
        found.append((encoded, np.stack([kept[layer].numpy() for layer in range(vlm.layers)])))
    return found


def test_the_samples_have_many_layouts(alone: list[tuple[Encoded, NDArray[np.float32]]], whole: ScanStore) -> None:
    layouts = {one.layout for one, _ in alone}
    assert len(layouts) >= 5 and len({len(layout) for layout in layouts}) >= 3
    assert {info.id for info in whole.manifest.layouts} == {layout.id for layout in layouts}
    assert whole.manifest.visual_tokens_max == max(map(len, layouts))
    assert whole.manifest.visual_tokens == sum(len(one.visual) for one, _ in alone)
    for index, (one, _) in enumerate(alone):
        sample = whole.sample(index)
        assert sample.layout == one.layout and sample.seen == pytest.approx(one.seen)
        assert not np.array_equal(np.diff(one.visual), np.ones(len(one.visual) - 1))  # newlines stand between


def test_every_number_is_that_of_the_samples_alone(
    alone: list[tuple[Encoded, NDArray[np.float32]]], whole: ScanStore
) -> None:
    """Batches of mixed layouts differ from samples alone by the rounding of float32 only."""
    gmax = np.max([a.max(axis=1) for _, a in alone], axis=0)
    assert whole.maximum == pytest.approx(gmax, rel=1e-4, abs=1e-6)
    peaks = words = 0
    for layer in range(whole.layers):
        for index in range(whole.neurons):
            close = 2e-5 * max(1e-3, *(float(np.abs(a[layer, :, index]).max()) for _, a in alone))
            scores = [max(a[layer, one.visual, index].max(), a[layer, one.text, index].max()) for one, a in alone]
            best = sorted(scores, reverse=True)[: OPTIONS.top_n]
            assert whole.scores(Neuron(layer, index)) == pytest.approx(best, abs=close)
            for rank in range(OPTIONS.top_n):
                found = whole.example(Neuron(layer, index), rank)
                one, a = alone[found.sample.index]
                visual, text = a[layer, one.visual, index], a[layer, one.text, index]
                kept = min(8, len(visual))
                assert found.visual[:kept] == pytest.approx(np.sort(visual)[::-1][:kept], abs=close)
                kept = min(4, len(text))
                assert found.text[:kept] == pytest.approx(np.sort(text)[::-1][:kept], abs=close)
                assert found.peak_patch is not None and visual[found.peak_patch] >= visual.max() - close
                assert found.peak_token is not None and text[found.peak_token] >= text.max() - close
                peaks, words = peaks + (found.peak_patch > 0), words + (found.peak_token > 0)
                if rank < OPTIONS.maps:
                    step = max(found.activation, 0) / 255
                    assert found.visual_values is not None and found.text_map is not None
                    assert np.abs(found.visual_values - visual.clip(0)).max() <= 0.51 * step + close
                    assert np.abs(found.text_map - text.clip(0)).max() <= 0.51 * step + close
    assert min(peaks, words) > 50


def test_shards_with_other_layouts_merge_into_the_whole(vlm: Vlm, data: Data, tmp_path: Path) -> None:
    options = replace(OPTIONS, batch=1)  # alone in its batch, an activation depends on nothing else
    scan(vlm, data, tmp_path / "whole", options, silent)
    shards = make_shards(vlm, data, tmp_path / "shards", 3, options)
    own = [ScanStore(shard).manifest for shard in shards]
    assert len({manifest.visual_tokens_max for manifest in own}) > 1
    assert len({manifest.layouts for manifest in own}) == 3
    merge_scans(shards, tmp_path / "merged", silent)
    equal(tmp_path / "whole", tmp_path / "merged")


def test_a_stopped_scan_continues_to_the_same(vlm: Vlm, data: Data, whole: ScanStore, tmp_path: Path) -> None:
    out = tmp_path / "scan"
    with pytest.raises(Cancelled):
        scan(vlm, data, out, replace(OPTIONS, save_samples=1), silent, stopped=stop_after(len(set(SIZES))))
    assert 0 < len([index for index in range(len(SIZES)) if ScanStore(out).processed(index)]) < len(SIZES)
    scan(vlm, data, out, OPTIONS, silent, resume=True)
    assert_equal(ScanStore(out), whole)


def test_pooled_maps(vlm: Vlm, data: Data, whole: ScanStore, tmp_path: Path) -> None:
    scan(vlm, data, tmp_path / "scan", replace(OPTIONS, map_cells=3), silent)
    pooled = ScanStore(tmp_path / "scan")
    assert pooled.manifest.visual_tokens_max == 9
    shapes = set()
    for index in range(whole.neurons):
        for rank in range(OPTIONS.maps):
            one, few = (store.example(Neuron(1, index), rank) for store in (whole, pooled))
            assert one.visual_values is not None and few.visual_values is not None and few.visual_map is not None
            layout = map_layout(one.sample.layout, 3)
            assert few.map_layout == layout and few.visual_map.shape == layout.grid
            expected = one.sample.layout.cells(one.visual_values, *layout.grid)
            assert np.array_equal(few.visual_map, expected)
            shapes.add(layout.grid)
    assert shapes == {(3, 3)}


def test_crops_have_the_shape_of_the_pictures(whole: ScanStore) -> None:
    for index, (width, height) in enumerate(SIZES):
        crop = Image.open(io.BytesIO(whole.crop(index)))
        assert crop.width / crop.height == pytest.approx(width / height, rel=0.1)


def test_a_picture_beyond_the_tables_of_positions_is_skipped_before_the_model_sees_it(
    family_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its description, and where the model writes it; on a GPU such a pass would end the process's use of it."""
    vlm = load(ModelSpec(str(family_folder("gemma4")), device="cpu"))
    lines = []
    for index, picture in enumerate(make_pictures(((160, 120), (600, 40), (600, 40), (90, 150)))):
        picture.save(tmp_path / f"{index}.png")
        words = {"description": "A dog."} if index in (0, 1) else {}
        lines.append(json.dumps({"image": f"{index}.png", **words}))
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(lines))
    shapes: list[int] = []
    generate, forward = vlm.model.generate, Vlm.forward

    def counted(**named: torch.Tensor) -> torch.Tensor:
        shapes.append(len(named["input_ids"]))
        found: torch.Tensor = generate(**named)
        return found

    def passed(self: Vlm, inputs: Inputs, hooks: dict[int, Hook], hook: HookPoint) -> None:
        shapes.append(len(inputs["input_ids"]))
        forward(self, inputs, hooks, hook)

    monkeypatch.setattr(vlm.model, "generate", counted)
    monkeypatch.setattr(Vlm, "forward", passed)
    out = tmp_path / "scan"
    manifest = scan(vlm, read_data(str(path)), out, OPTIONS, silent)
    assert [skipped.sample for skipped in manifest.skipped] == [1, 2]
    reasons = {skipped.reason for skipped in manifest.skipped}
    assert reasons == {"the model takes no picture of 600 x 40 pixels: index 95 is outside a table of 64"}
    assert shapes == [1, 2]  # one description, then both samples that count
    with pytest.raises(SamplesError, match="takes no picture of 600 x 40 pixels"):
        vlm.describe([load_image(tmp_path / "2.png")], manifest.prompt)
