"""Batches made ready ahead of the model, and samples or models that a scan refuses."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.core.scan.test_resume import Small, silent
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import ModelError, SamplesError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Encoded, Hook, Inputs, Vlm
from vlmscope.core.scan.batches import AHEAD, Ready, ReadyBatches
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec

SIZE = (40, 30)
OPTIONS = ScanOptions(top_n=3, maps=2, batch=2)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(ModelSpec(str(make_model(tmp_path_factory.mktemp("model")))))


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return read_data(str(make_images(tmp_path / "data", 24)))


def ready(vlm: Vlm, data: Data, batches: Sequence[list[int]], most: list[int] | None = None) -> ReadyBatches:
    prompt = vlm.prompt("What?")
    encoded = {i: vlm.encode(prompt, source.description or "", SIZE) for i, source in enumerate(data.sources)}
    size = None if most is None else lambda: most[0]
    return ReadyBatches(vlm, data, encoded, dict.fromkeys(encoded, SIZE), batches, size)


def test_whole_batches_are_packed_as_the_model_takes_them(vlm: Vlm, data: Data) -> None:
    prompt = vlm.prompt("What?")
    with ready(vlm, data, [[3, 1], [0, 2, 4]]) as batches:
        found = list(batches)
    assert [list(batch.images) for batch in found] == [[3, 1], [0, 2, 4]]
    for batch in found:
        images = [Image.open(data.root / data.sources[index].image).convert("RGB") for index in batch.images]
        expected = vlm.inputs(
            [vlm.encode(prompt, data.sources[i].description or "", SIZE) for i in batch.images], images
        )
        assert batch.inputs is not None and batch.inputs.keys() == expected.keys()
        assert all(torch.equal(part, expected[name]) for name, part in batch.inputs.items())


def test_a_picture_that_cannot_be_read_or_has_changed_is_left_out(vlm: Vlm, data: Data) -> None:
    (data.root / data.sources[1].image).unlink()
    Image.new("RGB", (41, 30)).save(data.root / data.sources[2].image)
    for index in (4, 5):
        (data.root / data.sources[index].image).write_bytes(b"")
    with ready(vlm, data, [[0, 1, 2, 3], [4, 5]]) as batches:
        first, second = batches
    assert first.inputs is not None and len(first.inputs["input_ids"]) == 2
    assert [isinstance(image, Ready) for image in first.images.values()] == [True, False, False, True]
    changed = first.images[2]
    assert isinstance(changed, SamplesError) and "has changed since the scan was begun" in changed.message
    assert second.inputs is None and all(isinstance(image, SamplesError) for image in second.images.values())


def test_only_a_few_batches_are_ahead_of_the_model(vlm: Vlm, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []
    threads = set()
    inputs = vlm.inputs

    def counted(encoded: Sequence[Encoded], images: Sequence[Image.Image]) -> Inputs:
        threads.add(threading.current_thread())
        packed.append(len(encoded))
        return inputs(encoded, images)

    monkeypatch.setattr(vlm, "inputs", counted)
    with ready(vlm, data, [[index] for index in range(24)]) as batches:
        assert not packed
        for taken, _ in enumerate(batches, 1):
            time.sleep(0.05)
            assert len(packed) <= taken + AHEAD
    assert len(packed) == 24 and threading.current_thread() not in threads


def test_leaving_early_ends_the_threads(vlm: Vlm, data: Data) -> None:
    before = set(threading.enumerate())
    with ready(vlm, data, [[index] for index in range(24)]) as batches:
        next(iter(batches))
    assert set(threading.enumerate()) <= before


def test_what_a_thread_raises_is_raised(vlm: Vlm, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_encoded: Sequence[Encoded], _images: Sequence[Image.Image]) -> Inputs:
        raise ModelError("The processor's tokens are others.", "")

    monkeypatch.setattr(vlm, "inputs", refuses)
    with ready(vlm, data, [[0]]) as batches, pytest.raises(ModelError, match="tokens are others"):
        list(batches)


def test_batches_are_cut_to_the_size_that_fits_by_now(vlm: Vlm, data: Data) -> None:
    most = [4]
    with ready(vlm, data, [[*range(12)], [*range(12, 24)]], most) as batches:
        found = []
        for batch in batches:
            found.append(len(batch.images))
            most[0] = 3
    assert sum(found) == 24 and found[: AHEAD + 1] == [4] * (AHEAD + 1)
    assert set(found[AHEAD + 1 :]) <= {3, 2, 1}


def test_after_an_out_of_memory_batches_are_packed_ahead_in_the_size_that_fits(
    vlm: Vlm, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, bool]] = []
    inputs = vlm.inputs

    def noted(encoded: Sequence[Encoded], images: Sequence[Image.Image]) -> Inputs:
        sizes.append((len(encoded), threading.current_thread() is threading.main_thread()))
        return inputs(encoded, images)

    monkeypatch.setattr(vlm, "inputs", noted)
    Small(vlm, 2, monkeypatch)
    scan(vlm, data, tmp_path / "scan", replace(OPTIONS, batch=4), silent)
    here = [size for size, in_main in sizes if in_main]
    ahead = [size for size, in_main in sizes if not in_main]
    assert set(here) == {2} and len(here) <= 2 * (AHEAD + 1)  # the halves of what was packed by then
    assert 2 in ahead and sum(ahead) == 24


def test_a_scan_whose_model_does_not_go_through_an_ffn_leaves_nothing(
    vlm: Vlm, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = vlm.forward

    def without_layer_1(inputs: Inputs, hooks: dict[int, Hook], hook: HookPoint) -> None:
        forward(inputs, {layer: take for layer, take in hooks.items() if layer != 1}, hook)

    monkeypatch.setattr(vlm, "forward", without_layer_1)
    with pytest.raises(ModelError, match="did not go through the FFN that layer 1 has") as caught:
        scan(vlm, data, tmp_path / "scan", OPTIONS, silent)
    assert caught.value.hint
    assert not (tmp_path / "scan").exists()


def test_more_visual_tokens_than_a_scan_can_store_are_refused(
    vlm: Vlm, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """65,535 of them: the peak of the last would stand for none."""
    encode = vlm.encode
    edges = np.tile(VisualLayout.plain(1, 1).edges, (65535, 1))
    huge = VisualLayout(edges, np.zeros(65535, np.uint8))

    def encoded(prompt: str, description: str, size: tuple[int, int]) -> Encoded:
        found = encode(prompt, description, size)
        return replace(found, layout=huge) if size == (8, 8) else found

    monkeypatch.setattr(vlm, "encode", encoded)
    Image.new("RGB", (8, 8)).save(data.root / data.sources[5].image)
    manifest = scan(vlm, data, tmp_path / "scan", OPTIONS, silent)
    assert [skipped.sample for skipped in manifest.skipped] == [5]
    assert "has 65,535 visual tokens" in manifest.skipped[0].reason and "at most 65,534" in manifest.skipped[0].reason
    assert manifest.visual_tokens_max == 9


def test_a_resumed_scan_skips_a_picture_whose_layout_has_grown(
    vlm: Vlm, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    out = tmp_path / "scan"
    with pytest.raises(Exception, match="Stopped"):
        scan(vlm, data, out, OPTIONS, silent, stopped=lambda: next(calls) == 2)
    left = [index for index in range(24) if not ScanStore(out).processed(index)]
    encode = vlm.encode

    def grown(prompt: str, description: str, size: tuple[int, int]) -> Encoded:
        found = encode(prompt, description, size)
        return (
            replace(found, layout=VisualLayout.plain(2, 5))
            if description == data.sources[left[0]].description
            else found
        )

    monkeypatch.setattr(vlm, "encode", grown)
    manifest = scan(vlm, data, out, OPTIONS, silent, resume=True)
    same_words = [index for index in left if data.sources[index].description == data.sources[left[0]].description]
    assert [skipped.sample for skipped in manifest.skipped] == same_words
    assert "its picture has grown since the scan was begun, to 9 tokens" in manifest.skipped[0].reason
