"""What an explanation is written from: odd ranks, exact where the pictures are, else what the scan keeps."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.support.explain_parts import FakeMaps, picture, with_pictures
from vlmscope.core.base.errors import ApiError, Cancelled, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.explain.evidence import complete, gather
from vlmscope.core.method.labels import Label
from vlmscope.core.method.norm import norm
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.messages import MapAnswer, MapRequest

NEURON = Neuron(3, 17)


def test_odd_ranks_as_many_as_there_are(scan: Path) -> None:
    store = ScanStore(scan)
    found = gather(store, NEURON, Label.VISUAL)
    assert (found.neuron, found.label, found.note) == (NEURON, Label.VISUAL, "")
    assert {sample.maximum for sample in found.samples} == {store.maximum[3, 17]}
    assert [sample.rank for sample in found.samples] == [0, 2, 4, 6]  # the scan has 8
    assert [sample.sample.index for sample in found.samples] == store.arrays["top_sample"][3, 17, [0, 2, 4, 6]].tolist()
    for sample in found.samples:
        assert sample.sample == store.sample(sample.sample.index)
        assert sample.read_crop() == store.crop(sample.sample.index)
        assert sample.sample.picture_here is None
    known = [sample.visual_map is not None for sample in found.samples]
    assert known == [True, True, False, False]  # maps of the first 3 are kept
    assert not found.wants_model


async def test_without_pictures_only_stored_maps_serve_and_the_note_says_so(scan: Path) -> None:
    store = ScanStore(scan)
    maps = FakeMaps(store)
    found = await complete(gather(store, NEURON, Label.VISUAL), store, maps)
    assert maps.requests == []
    assert [sample.rank for sample in found.samples] == [0, 2]
    top = store.example(NEURON, 2, store.manifest.thresholds.value())
    assert found.samples[1].visual_map is not None
    assert top.visual_map is not None
    np.testing.assert_array_equal(found.samples[1].visual_map, top.visual_map)
    assert found.note == (
        "2 of 4 samples, activations read from 8 bits: the scan keeps 3 maps and its pictures are not here"
    )


async def test_with_pictures_all_are_exact(scan: Path, tmp_path: Path) -> None:
    store = with_pictures(tmp_path, scan)
    gathered = gather(store, NEURON, Label.TEXT)
    assert gathered.wants_model
    maps = FakeMaps(store)
    found = await complete(gathered, store, maps)
    assert [sample.rank for sample in found.samples] == [0, 2, 4, 6]
    assert found.note == ""
    assert maps.lanes == [Lane.BACKGROUND] * 4  # no key that the user presses takes their place
    assert not found.wants_model
    for sample, request in zip(found.samples, maps.requests, strict=True):
        index = sample.sample.index
        kept = store.sample(index)
        assert request == MapRequest(
            NEURON, str(tmp_path / kept.image), store.manifest.prompt, kept.description, index, crop=True
        )
        assert sample.exact
        assert sample.read_crop() == picture(seed=index)
        assert sample.visual_map is not None and sample.visual_norms is not None
        assert (sample.visual_map == index).all()
        np.testing.assert_array_equal(sample.visual_norms, norm(sample.visual_map, sample.maximum))


async def test_what_the_model_cannot_answer_falls_back_to_the_scan(scan: Path, tmp_path: Path) -> None:
    store = with_pictures(tmp_path, scan)

    async def fail(_: MapRequest) -> None:
        raise WorkerError("out of\x1b memory.")

    found = await complete(gather(store, NEURON, Label.TEXT), store, FakeMaps(store, fail))
    assert [sample.rank for sample in found.samples] == [0, 2]
    assert "the model gave none (out of  memory)" in found.note


async def test_one_missing_picture_costs_one_sample(scan: Path, tmp_path: Path) -> None:
    store = with_pictures(tmp_path, scan)
    last = store.sample(int(store.arrays["top_sample"][3, 17, 6]))
    (tmp_path / last.image).unlink()
    found = await complete(gather(store, NEURON, Label.TEXT), store, FakeMaps(store))
    assert [sample.rank for sample in found.samples] == [0, 2, 4]
    assert found.note.startswith("3 of 4 samples: ")


async def test_another_models_maps_are_refused(scan: Path, tmp_path: Path) -> None:
    store = with_pictures(tmp_path, scan)

    class Other(FakeMaps):
        async def map(self, request: MapRequest) -> MapAnswer:
            answer = await super().map(request)
            return MapAnswer.of(request, answer.visual, answer.layout, answer.text[1:])

    found = await complete(gather(store, NEURON, Label.TEXT), store, Other(store))
    assert not any(sample.exact for sample in found.samples)
    assert "another model made it" in found.note


async def test_nothing_to_show_is_an_error_with_its_mend(scan_copy: Path) -> None:
    store = ScanStore(scan_copy)
    store.manifest = store.manifest.model_copy(update={"maps": 0, "image_root": "/gone"})
    with pytest.raises(ApiError, match="no activations to show: the scan keeps no maps and its pictures") as caught:
        await complete(gather(store, NEURON, Label.TEXT), store, None)
    assert "/gone" in caught.value.hint
    store.manifest = store.manifest.model_copy(update={"scanned": 0})
    with pytest.raises(ApiError, match="no top samples"):
        await complete(gather(store, NEURON, Label.TEXT), store, None)


async def test_stopping_the_model_stops(scan: Path, tmp_path: Path) -> None:
    store = with_pictures(tmp_path, scan)

    async def stop(_: MapRequest) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        await complete(gather(store, NEURON, Label.TEXT), store, FakeMaps(store, stop))


async def test_cancelling_reaches_the_model(scan: Path, tmp_path: Path) -> None:
    store = with_pictures(tmp_path, scan)
    asked = asyncio.Event()

    async def hang(_: MapRequest) -> None:
        asked.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(complete(gather(store, NEURON, Label.TEXT), store, FakeMaps(store, hang)))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
