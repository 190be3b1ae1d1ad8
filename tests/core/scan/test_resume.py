"""A scan that is stopped, killed or refused by the disk continues where it was, and ends as if never interrupted."""

import errno
import json
import multiprocessing
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.long import times
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import Cancelled, ModelError, StoreError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.data.samples import read_data
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Hook, Inputs, Vlm
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.state import ScanState
from vlmscope.core.store.arrays import array_shapes
from vlmscope.core.store.checkpoints import ScanFolder
from vlmscope.core.store.digest import DataDigest
from vlmscope.core.store.manifest import Manifest, make_scan_id, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.sample_log import SampleLog
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec, PromotedAnswer
from vlmscope.core.worker.promoted_cache import load_promoted, save_promoted

SAMPLES = 23
OPTIONS = ScanOptions(top_n=6, maps=2, batch=4, save_samples=1, panel=9)  # after every batch


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(ModelSpec(str(make_model(tmp_path_factory.mktemp("model")))))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of them cannot be decoded, one has an empty description."""
    path = make_images(tmp_path_factory.mktemp("data"), SAMPLES)
    (path.parent / "007.png").write_bytes(b"no picture")
    lines = path.read_text().splitlines()
    lines[11] = '{"image": "011.png", "description": " "}'
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def whole(vlm: Vlm, images: Path, tmp_path_factory: pytest.TempPathFactory) -> ScanStore:
    """The scan as it is if nothing interrupts it, with no checkpoint on the way but the first."""
    out = tmp_path_factory.mktemp("whole") / "scan"
    scan(vlm, read_data(str(images)), out, replace(OPTIONS, save_samples=None, save_seconds=1e9), silent)
    return ScanStore(out)


def assert_equal(found: ScanStore, expected: ScanStore) -> None:
    same = {"scan_id", "data_id", "data_sha256", "samples", "scanned", "skipped", "visual_tokens", "text_tokens"}
    assert found.manifest.model_dump(include=same) == expected.manifest.model_dump(include=same)
    assert found.manifest.progress is None
    for name in array_shapes(expected.manifest):
        if name != "sample_lines":  # the places of the lines
            assert np.array_equal(found.arrays[name], expected.arrays[name], equal_nan=True), name
    for index in range(expected.manifest.samples):
        assert found.sample(index) == expected.sample(index)
        assert found.crop(index) == expected.crop(index)
    assert found.has_concepts and expected.has_concepts


def stop_after(batches: int) -> Callable[[], bool]:
    left = iter([False] * (batches - 1))
    return lambda: next(left, True)


@pytest.mark.parametrize("batches", [1, 3, 5])
def test_a_stopped_scan_names_its_progress_and_continues(
    vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, batches: int
) -> None:
    out = tmp_path / "scan"
    options = replace(OPTIONS, save_samples=None)
    with pytest.raises(Cancelled, match=f"Stopped at .* of {SAMPLES} samples; they are saved in .*scan"):
        scan(vlm, read_data(str(images)), out, options, silent, stopped=stop_after(batches))
    saved = read_manifest(out)
    assert saved.progress is not None and 0 < saved.progress.done < SAMPLES and not saved.is_done
    assert saved.progress.done == saved.scanned + len(saved.skipped)
    so_far = ScanStore(out)
    assert sum(so_far.processed(index) for index in range(SAMPLES)) == saved.progress.done
    assert set(np.unique(so_far.arrays["top_sample"])) - {-1} <= {i for i in range(SAMPLES) if so_far.processed(i)}
    assert so_far.stored_labels().counts().sum() == so_far.layers * so_far.neurons
    scan(vlm, read_data(str(images)), out, options, silent, resume=True)
    assert_equal(ScanStore(out), whole)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [ScanStore(out).manifest.arrays, "concepts", "crops.bin", "manifest.json", "samples.jsonl"]
    )


def test_from_every_checkpoint_with_whatever_was_half_written(
    vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves: the last checkpoint, longer logs, arrays that no manifest names yet."""
    out = tmp_path / "scan"
    copies: list[Path] = []
    save = ScanFolder.save

    def save_and_copy(self: ScanFolder, *args: object) -> Manifest:
        manifest = save(self, *args)  # type: ignore[arg-type]
        copy = tmp_path / f"copy{len(copies)}"
        shutil.copytree(out, copy)
        copies.append(copy)
        return manifest

    monkeypatch.setattr(ScanFolder, "save", save_and_copy)
    scan(vlm, read_data(str(images)), out, OPTIONS, silent)
    monkeypatch.undo()
    assert_equal(ScanStore(out), whole)
    assert len(copies) == 1 + 6 + 1  # before the first batch, after each of six, the whole; 22 samples have words
    for number, copy in enumerate(copies[:-1]):
        for name in ("samples.jsonl", "crops.bin"):
            with (copy / name).open("ab") as file:
                file.write(b'{"image": "half a li')
        half = copy / f"arrays-{number + 2}"
        half.mkdir()
        (half / "maximum.npy").write_bytes(b"\x93NUMPY")
        scan(vlm, read_data(str(images)), copy, OPTIONS, silent, resume=True)
        assert_equal(ScanStore(copy), whole)


@pytest.mark.parametrize("seed", range(5, 5 + times(1, 12)))  # 12 scans are killed 30 times or more
def test_kill_9_at_any_moment(vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, seed: int) -> None:
    out = tmp_path / "scan"
    forked = multiprocessing.get_context("fork")

    def scan_and_tell(told: Connection) -> None:
        def progress(what: str, done: int, total: int) -> None:
            told.send((what, done))

        scan(vlm, read_data(str(images)), out, OPTIONS, progress, resume=True)

    rng = random.Random(seed)
    kills = 0
    for _ in range(4):  # six batches are left to it
        told, tells = forked.Pipe(duplex=False)
        child = forked.Process(target=scan_and_tell, args=(tells,))
        child.start()
        tells.close()
        try:
            for _ in range(rng.randint(2, 3)):
                told.recv()
            # Somewhere within the batch that follows, or the checkpoint after it.
            child.join(rng.uniform(0, 0.05))
            kills += child.is_alive()
        except EOFError:
            pass
        finally:
            child.kill()
            child.join()
            told.close()
        if (out / "manifest.json").exists() and read_manifest(out).is_done:
            break
    assert kills
    print(f"{kills} kills")
    scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True)
    assert_equal(ScanStore(out), whole)


def test_resume_with_nothing_saved_starts(vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path) -> None:
    out = tmp_path / "scan"
    scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True)
    assert_equal(ScanStore(out), whole)
    begun = tmp_path / "begun"  # killed before its first checkpoint was whole
    (begun / "arrays-1").mkdir(parents=True)
    for name in (".lock", "samples.jsonl", "crops.bin", "arrays-1/votes.npy"):
        (begun / name).write_bytes(b"x")
    scan(vlm, read_data(str(images)), begun, OPTIONS, silent, resume=True)
    assert_equal(ScanStore(begun), whole)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        scan(vlm, read_data(str(images)), foreign, OPTIONS, silent, resume=True)
    assert (foreign / "thesis.txt").read_text() == "precious"


def test_a_finished_scan_is_left_as_it_is(vlm: Vlm, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "scan"
    made = scan(vlm, read_data(str(images)), out, OPTIONS, silent)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True) == made
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"top_n": 5}, "--top-n: 6, now 5"),
        ({"maps": 1}, "--maps: 2, now 1"),
        ({"map_cells": 2}, "--map-cells: None, now 2"),
        ({"batch": 2}, "--batch: 4, now 2"),
        ({"question": "What is this?"}, r"--question: Could you describe the image\?, now What is this\?"),
        ({"thresholds": Thresholds(T_v=1)}, "T_v 2, .*now T_v 1"),
    ],
)
def test_other_settings_are_refused_and_named(
    vlm: Vlm, images: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    out = tmp_path / "scan"
    with pytest.raises(Cancelled):
        scan(vlm, read_data(str(images)), out, OPTIONS, silent, stopped=lambda: True)
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(StoreError, match=said) as caught:
        scan(vlm, read_data(str(images)), out, replace(OPTIONS, **change), silent, resume=True)  # type: ignore[arg-type]
    assert "begun with" in caught.value.message
    with pytest.raises(StoreError, match="number of samples: 23, now 20"):
        scan(vlm, read_data(str(images), 20), out, OPTIONS, silent, resume=True)
    with pytest.raises(StoreError, match="exists already"):
        scan(vlm, read_data(str(images)), out, OPTIONS, silent)
    assert (out / "manifest.json").read_bytes() == before


def test_a_full_disk_is_explained_and_nothing_is_lost(
    vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scan"
    fsync, calls = os.fsync, 0

    def full(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 46:  # in the midst of the third checkpoint's arrays
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(fd)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        scan(vlm, read_data(str(images)), out, OPTIONS, silent)
    monkeypatch.undo()
    assert "Free some space" in caught.value.hint
    saved = ScanStore(out)
    # The first batch of four, the empty description, and the picture that is not one.
    assert saved.manifest.progress is not None and saved.manifest.progress.done == 6
    assert len([path for path in out.iterdir() if path.name.startswith("arrays-")]) <= 2
    scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True)
    assert_equal(ScanStore(out), whole)


@pytest.mark.parametrize("failing", [2, 10, 22])
def test_a_disk_that_is_full_for_a_sample_loses_nothing_that_is_saved(
    vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The state has the sample then, the log has not: what is on the disk must not be made of both."""
    out = tmp_path / "scan"
    add, calls = SampleLog.add, 0

    def full(self: SampleLog, *args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(SampleLog, "add", full)
        with pytest.raises(StoreError, match="No space left"):
            scan(vlm, read_data(str(images)), out, OPTIONS, silent)
    scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True)
    assert_equal(ScanStore(out), whole)


@pytest.mark.parametrize("where", ["cat", "gather"])
def test_a_merge_that_runs_out_of_memory_is_done_again(
    vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    calls = 0

    def short(self: ScanState) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # the first that has something to merge is the second
            work = torch.Tensor.gather if where == "gather" else torch.cat
            seen = 0

            def fail(*args: Any, **options: Any) -> torch.Tensor:
                nonlocal seen
                seen += 1
                if seen == 6:  # in the second layer
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return work(*args, **options)

            with monkeypatch.context() as patch:
                patch.setattr(torch.Tensor if where == "gather" else torch, where, fail)
                try:
                    flush(self)
                except torch.OutOfMemoryError:
                    pass
                else:
                    raise AssertionError("nothing was merged")
        flush(self)

    flush = ScanState.flush
    monkeypatch.setattr(ScanState, "flush", short)
    out = tmp_path / "scan"
    scan(vlm, read_data(str(images)), out, OPTIONS, silent)
    assert_equal(ScanStore(out), whole)


def test_an_image_that_is_gone_when_the_scan_continues_is_skipped(vlm: Vlm, tmp_path: Path) -> None:
    make_images(tmp_path / "data", 9)
    (tmp_path / "data" / "samples.jsonl").unlink()
    (tmp_path / "data" / "004.png").write_bytes(b"no picture")
    out, data = tmp_path / "scan", read_data(str(tmp_path / "data"))
    processed = 0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal processed
        processed = done if what == "scanning" else 0

    with pytest.raises(Cancelled):
        scan(vlm, data, out, replace(OPTIONS, batch=2), progress, stopped=lambda: processed >= 4)
    so_far = ScanStore(out)
    assert "not a picture" in next(s.reason for s in so_far.manifest.skipped if s.sample == 4)
    gone = next(index for index in range(9) if not so_far.processed(index))
    words = {index: so_far.sample(index).description for index in range(9) if so_far.processed(index)}
    (tmp_path / "data" / data.sources[gone].image).unlink()
    # Nor are the words that the model wrote kept anywhere but in the scan.
    cache = DescriptionCache(tmp_path / "another cache")
    scan(vlm, data, out, replace(OPTIONS, batch=2), silent, resume=True, cache=cache)
    made = ScanStore(out)
    # What an untrained model writes may be too long; the same samples were skipped for that before.
    assert {s.sample for s in made.manifest.skipped} == {gone, *(s.sample for s in so_far.manifest.skipped)}
    assert "does not exist" in next(s.reason for s in made.manifest.skipped if s.sample == gone)
    assert made.manifest.progress is None and made.manifest.scanned > so_far.manifest.scanned - 1 > 0
    assert {index: made.sample(index).description for index in words} == words
    digest = DataDigest()
    for index in range(9):
        record = made.record(index)
        digest.add(record.image, record.sha256, record.description)
    assert digest.hexdigest() == made.manifest.data_sha256


def test_a_scan_that_another_process_finished_meanwhile_stays(
    vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scan"

    def late(path: Path, manifest: Manifest) -> None:
        monkeypatch.undo()
        scan(vlm, read_data(str(images)), out, OPTIONS, silent)

    monkeypatch.setattr("vlmscope.core.scan.scan.check_space", late)
    with pytest.raises(StoreError, match="exists already"):
        scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True)
    assert_equal(ScanStore(out), whole)


@pytest.mark.parametrize(
    ("takes", "batch_takes", "expected"),
    [
        (0, 4, [0, 12, 72]),
        (1.5, 8, [0, 17.5, 17.5 + 1.5 + 80]),  # 75 s, which is 1.5 / 0.02, end in a batch
        (30, 100, [0, 130, 130 + 30 + 600]),  # at most ten minutes
    ],
)
def test_the_first_labels_come_soon(
    vlm: Vlm,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    takes: float,
    batch_takes: float,
    expected: list[float],
) -> None:
    """Ten seconds after the start, whatever the first checkpoint took, and then as ``SAVE_SHARE`` lets them."""
    now, saved = 0.0, []
    forward, save = vlm.forward, ScanFolder.save

    def slow(*args: Any) -> None:
        nonlocal now
        now += batch_takes
        forward(*args)

    def noted(self: ScanFolder, *args: Any) -> Manifest:
        nonlocal now
        saved.append(now)
        now += takes
        return save(self, *args)

    monkeypatch.setattr("vlmscope.core.scan.run.time.monotonic", lambda: now)
    monkeypatch.setattr(vlm, "forward", slow)
    monkeypatch.setattr(ScanFolder, "save", noted)
    scan(vlm, read_data(str(images)), tmp_path / "scan", replace(OPTIONS, batch=1, save_samples=None), silent)
    assert saved[:3] == expected


def test_descriptions_that_start_at_different_tokens_share_a_batch(vlm: Vlm, tmp_path: Path) -> None:
    """A lone space before a digit is a token of its own: such a description starts one token later."""
    path = make_images(tmp_path / "data", 12)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for index in (1, 4, 5, 9):
        lines[index]["description"] = f"3 {lines[index]['description']}"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = read_data(str(path))
    prompt = vlm.prompt("Could you describe the image?")
    assert len({vlm.encode(prompt, source.description or "", (40, 30)).text.start for source in data.sources}) == 2
    for batch in (1, 12):
        scan(vlm, data, tmp_path / str(batch), replace(OPTIONS, batch=batch), silent)
    a, b = ScanStore(tmp_path / "1"), ScanStore(tmp_path / "12")
    assert a.manifest.text_tokens == b.manifest.text_tokens
    for name in ("top_sample", "peak_text", "peak_visual", "votes"):
        assert (a.arrays[name] != b.arrays[name]).mean() < 0.01, name  # rounding


def test_a_disk_too_small_is_found_before_the_first_batch(
    vlm: Vlm, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StoreError, match=r"needs .* MB while the scan runs") as caught:
        scan(vlm, read_data(str(images)), tmp_path / "scan", OPTIONS, silent)
    assert "--maps" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_are_refused(vlm: Vlm, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "scan"
    with pytest.raises(Cancelled):
        scan(vlm, read_data(str(images)), out, OPTIONS, silent, stopped=lambda: True)
    other = ScanFolder(out)
    try:
        with pytest.raises(StoreError, match="Another process is scanning"):
            scan(vlm, read_data(str(images)), out, OPTIONS, silent, resume=True)
    finally:
        other.close()


class Small:
    """A model on a GPU that holds so many samples at once."""

    def __init__(self, vlm: Vlm, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        forward = vlm.forward

        def small(inputs: Inputs, hooks: dict[int, Hook], hook: HookPoint) -> None:
            size = len(inputs["input_ids"])
            self.sizes.append(size)
            if size > most:
                forward(inputs, dict(list(hooks.items())[:1]), hook)  # one layer was done already
                raise torch.OutOfMemoryError("CUDA out of memory")
            forward(inputs, hooks, hook)

        monkeypatch.setattr(vlm, "forward", small)


def test_out_of_memory_halves_the_batch_and_continues(
    vlm: Vlm, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, halved = tmp_path / "alone", tmp_path / "halved"
    scan(vlm, read_data(str(images)), alone, replace(OPTIONS, batch=1), silent)
    model = Small(vlm, 1, monkeypatch)
    scan(vlm, read_data(str(images)), halved, replace(OPTIONS, batch=8), silent)
    assert model.sizes[0] > 4 and model.sizes[1:3] == [4, 2] and set(model.sizes[3:]) == {1}
    a, b = ScanStore(alone), ScanStore(halved)
    for name in ("top_sample", "top_visual", "top_text", "maps_visual", "maps_text", "maximum", "histogram", "votes"):
        assert np.array_equal(a.arrays[name], b.arrays[name]), name
    assert b.manifest.batch == 8


def test_not_even_one_sample_fits(
    vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scan"
    with monkeypatch.context() as patch:
        Small(vlm, 0, patch)
        with pytest.raises(ModelError, match="Not even one sample fits"):
            scan(vlm, read_data(str(images)), out, OPTIONS, silent)
    assert not out.exists()


def test_what_the_scan_keeps_does_not_fit(
    vlm: Vlm, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory is left")

    monkeypatch.setattr("vlmscope.core.scan.spread.ScanState.of_layers", full)
    with pytest.raises(ModelError, match="What the scan keeps does not fit") as caught:
        scan(vlm, read_data(str(images)), tmp_path / "scan", OPTIONS, silent)
    assert "--maps" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_device_without_float64_is_refused(
    vlm: Vlm, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vlm, "device", torch.device("mps"))
    with pytest.raises(ModelError, match="float64, which MPS does not have"):
        scan(vlm, read_data(str(images)), tmp_path / "scan", OPTIONS, silent)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_trained_on_in_its_place_is_another(images: Path, tmp_path: Path) -> None:
    """It is neither resumed with nor has the same scan id, and its promoted tokens are not those that were kept."""
    model = make_model(tmp_path / "model")
    out, data = tmp_path / "scan", read_data(str(images))
    before = load(ModelSpec(str(model)))
    with pytest.raises(Cancelled):
        scan(before, data, out, OPTIONS, silent, stopped=stop_after(2))
    saved = read_manifest(out)
    assert saved.model.weights is not None
    make_model(model, seed=1)
    after = load(ModelSpec(str(model)))
    with pytest.raises(StoreError, match=f"the model's weights: {saved.model.weights[:16]}, now"):
        scan(after, data, out, OPTIONS, silent, resume=True)
    assert read_manifest(out) == saved
    made = scan(after, data, tmp_path / "other", OPTIONS, silent)
    assert made.scan_id != saved.scan_id
    answer = PromotedAnswer(Neuron(0, 0), ("a",), np.ones(1, np.float32), ("b",), np.ones(1, np.float32))
    save_promoted(saved.model, answer, 1)
    assert load_promoted(saved.model, Neuron(0, 0), 1) is not None
    assert load_promoted(made.model, Neuron(0, 0), 1) is None


def test_another_processor_is_refused(vlm: Vlm, images: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "scan", read_data(str(images))
    with pytest.raises(Cancelled):
        scan(vlm, data, out, OPTIONS, silent, stopped=stop_after(2))
    saved = read_manifest(out)
    assert saved.model.processor is not None
    other = saved.model.model_copy(update={"processor": "0f" * 32})
    (out / "manifest.json").write_text(saved.model_copy(update={"model": other}).model_dump_json())
    now = f"0f0f0f0f0f0f0f0f, now {saved.model.processor[:16]}"
    with pytest.raises(StoreError, match=f"what the model's processor makes of a picture: {now}"):
        scan(vlm, data, out, OPTIONS, silent, resume=True)
    prompt = vlm.prompt(OPTIONS.question)
    ids = {make_scan_id(model, OPTIONS.hook, prompt, OPTIONS.top_n, data.identity) for model in (saved.model, other)}
    assert len(ids) == 2 and saved.scan_id in ids


@pytest.mark.parametrize("names", [["weights"], ["processor"], ["weights", "processor"]])
def test_a_scan_without_a_fingerprint_is_resumed_and_stays_as_it_is(
    vlm: Vlm, images: Path, whole: ScanStore, tmp_path: Path, names: list[str]
) -> None:
    """As versions before made it; the id is what they gave it."""
    out, data = tmp_path / "scan", read_data(str(images))
    with pytest.raises(Cancelled):
        scan(vlm, data, out, OPTIONS, silent, stopped=stop_after(2))
    manifest = json.loads((out / "manifest.json").read_text())
    for name in names:
        del manifest["model"][name]
    (out / "manifest.json").write_text(json.dumps(manifest))
    made = scan(vlm, data, out, OPTIONS, silent, resume=True)
    assert made.scan_id == manifest["scan_id"]
    assert not set(names) & json.loads((out / "manifest.json").read_text())["model"].keys()
    assert all(getattr(made.model, name) is None for name in names)
    assert_equal(ScanStore(out), whole)
