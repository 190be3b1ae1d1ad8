"""The merge of shards equals the scan of one process, and refuses what does not belong together."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import Cancelled, SamplesError, StoreError, UsageError
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.data.samples import Data, read_data
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.scan.merge import merge_scans
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.manifest import MANIFEST, ShardInfo, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.store.shards import parse_shard
from vlmscope.core.worker.messages import ModelSpec

OPTIONS = ScanOptions(top_n=5, batch=1, maps=2, panel=8)  # alone in its batch, an activation depends on nothing else


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(ModelSpec(str(make_model(tmp_path_factory.mktemp("model")))))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """20 samples: three are skipped, of three images there are copies under other names."""
    folder = tmp_path_factory.mktemp("data")
    path = make_images(folder, 20)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for copy, of in ((7, 2), (12, 2), (15, 4), (16, 10)):
        shutil.copy(folder / f"{of:03}.png", folder / f"{copy:03}.png")
        lines[copy]["description"] = lines[of]["description"]
    (folder / "005.png").write_bytes(b"no picture")
    (folder / "006.png").unlink()
    lines[9]["description"] = " "
    for index, line in enumerate(lines[:18]):  # the last two have no field
        line |= {"culture": ("Korean", "Thai")[index % 2], "year": index}
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return read_data(str(path))


def make_shards(vlm: Vlm, data: Data, folder: Path, of: int, options: ScanOptions = OPTIONS) -> list[Path]:
    folders = [folder / f"shard {number}" for number in range(1, of + 1)]
    for number, out in enumerate(folders, 1):
        scan(vlm, data, out, replace(options, shard=ShardInfo(number=number, of=of)), silent)
    return folders


@pytest.fixture(scope="module")
def three(vlm: Vlm, data: Data, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three finished shards, to read only."""
    return make_shards(vlm, data, tmp_path_factory.mktemp("shards"), 3)


@pytest.fixture(scope="module")
def whole(vlm: Vlm, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scan of one process, to read only."""
    scan(vlm, data, folder := tmp_path_factory.mktemp("whole") / "whole", OPTIONS, silent)
    return folder


def equal(whole: Path, merged: Path) -> None:
    """Everything that the two scans hold, except times and the places of samples in their files."""
    a, b = ScanStore(whole), ScanStore(merged)
    assert b.manifest == a.manifest.model_copy(update={"created": b.manifest.created, "arrays": b.manifest.arrays})
    assert a.arrays.keys() == b.arrays.keys()
    for name, array in a.arrays.items():
        if name == "moments":  # float64 sums, added in another order
            assert np.allclose(array, b.arrays[name], rtol=1e-6, atol=1e-9, equal_nan=True)
        elif name != "sample_lines":
            assert np.array_equal(array, b.arrays[name]), name
    for index in range(a.manifest.samples):
        assert structs.replace(a.record(index), crop=(0, 0)) == structs.replace(b.record(index), crop=(0, 0))
        assert a.crop(index) == b.crop(index)
    one, two = a.concepts, b.concepts
    assert one is not None and two is not None
    assert one.words == two.words and one.descriptions == two.descriptions
    for name in ("frequency", "word", "strength", "purity_hits"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    thresholds = Thresholds(T_v=1, n_v=2, T_t=5, n_t=1)
    assert np.array_equal(a.labels(thresholds).votes, b.labels(thresholds).votes)


@pytest.mark.parametrize("of", [1, 2, 23])
def test_a_merge_equals_the_scan_of_one_process(vlm: Vlm, data: Data, whole: Path, tmp_path: Path, of: int) -> None:
    """Also where a shard has no sample: 23 shards of 20 samples."""
    shards = make_shards(vlm, data, tmp_path / "shards", of)
    made = merge_scans(shards[::-1], tmp_path / "merged", silent)
    assert made == read_manifest(tmp_path / "merged")
    assert made.progress is None and [skipped.sample for skipped in made.skipped] == [5, 6, 9]
    equal(whole, tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "shards"]


def test_ties_between_shards_go_to_the_lower_sample(vlm: Vlm, data: Data, three: list[Path], tmp_path: Path) -> None:
    merge_scans(three, tmp_path / "merged", silent)
    tops = ScanStore(tmp_path / "merged").arrays["top_sample"].reshape(-1, OPTIONS.top_n)
    tied = 0
    for top in tops.tolist():
        for first, *copies in ((2, 7, 12), (4, 15), (10, 16)):
            for copy in copies:
                assert copy not in top or first in top[: top.index(copy)]
                tied += copy in top
    assert tied > 100  # the copies are of different shards, or this would prove nothing
    assert {2 % 3, 7 % 3, 12 % 3} == {0, 1, 2}


@pytest.mark.parametrize(
    "options",
    [replace(OPTIONS, top_n=3, maps=3, hook=HookPoint.GATE_UP), replace(OPTIONS, top_n=40), replace(OPTIONS, maps=0)],
    ids=["few", "more than there are", "no maps"],
)
def test_any_settings(vlm: Vlm, data: Data, tmp_path: Path, options: ScanOptions) -> None:
    shards = make_shards(vlm, data, tmp_path / "shards", 2, options)
    scan(vlm, data, tmp_path / "whole", options, silent)
    merge_scans(shards, tmp_path / "merged", silent)
    equal(tmp_path / "whole", tmp_path / "merged")


def test_images_without_descriptions(vlm: Vlm, tmp_path: Path) -> None:
    path = make_images(tmp_path / "data", 5, descriptions=False)
    (path.parent / "001.png").write_bytes(b"no picture")
    data = read_data(str(path))
    shards = make_shards(vlm, data, tmp_path / "shards", 2)
    scan(vlm, data, tmp_path / "whole", OPTIONS, silent)
    merge_scans(shards, tmp_path / "merged", silent)
    equal(tmp_path / "whole", tmp_path / "merged")


def changed(folder: Path, to: Path, **update: object) -> Path:
    """A copy with another manifest."""
    shutil.copytree(folder, to)
    (to / MANIFEST).write_text(read_manifest(to).model_copy(update=update).model_dump_json())
    return to


def refused(folders: Sequence[Path], out: Path, words: str) -> StoreError:
    with pytest.raises(StoreError, match=words) as caught:
        merge_scans(folders, out, silent)
    assert not out.exists() and not list(out.parent.glob(".*"))
    return caught.value


def test_missing_and_double_shards_are_named(three: list[Path], tmp_path: Path) -> None:
    one, two, last = three
    error = refused([one, two], tmp_path / "out", "^Shard 3/3 is missing")
    assert "--shard 3/3" in error.hint
    refused([last], tmp_path / "out", "^Shards 1/3, 2/3 are missing")
    shutil.copytree(two, tmp_path / "again")
    refused([one, two, last, tmp_path / "again"], tmp_path / "out", "shard 2 and .*again are both shard 2/3")
    with pytest.raises(UsageError, match="nothing to merge"):
        merge_scans([], tmp_path / "out", silent)


def test_what_is_not_a_finished_shard_is_named(
    vlm: Vlm, data: Data, whole: Path, three: list[Path], tmp_path: Path
) -> None:
    one, two, _ = three
    refused([one, two, whole], tmp_path / "out", "whole is a whole scan, not a shard")
    calls = iter(range(1000))
    options = replace(OPTIONS, shard=ShardInfo(number=3, of=3))
    with pytest.raises(Cancelled):
        scan(vlm, data, tmp_path / "third", options, silent, stopped=lambda: next(calls) == 1)
    error = refused(
        [one, two, tmp_path / "third"], tmp_path / "out", r"third, shard 3/3, has processed \d of 6 samples"
    )
    assert "--shard 3/3' with --resume" in error.hint
    scan(vlm, data, tmp_path / "third", options, silent, resume=True)
    merge_scans([one, two, tmp_path / "third"], tmp_path / "out", silent)
    equal(whole, tmp_path / "out")
    with pytest.raises(Cancelled):
        scan(vlm, data, tmp_path / "begun", OPTIONS, silent, stopped=lambda: True)
    refused([tmp_path / "begun"], tmp_path / "other", "begun is an unfinished scan of all samples")
    with pytest.raises(StoreError, match="nowhere is not a scan"):
        merge_scans([one, tmp_path / "nowhere"], tmp_path / "other", silent)


def test_shards_of_different_scans_are_refused(three: list[Path], tmp_path: Path) -> None:
    one, two, last = three
    for name, value, words in (
        ("hook", HookPoint.GATE_UP, r"--hook: gate in .*shard 1, gate_up in .*other hook"),
        ("top_n", 6, r"--top-n: 5 in .*shard 1, 6 in"),
        ("data_id", "another", r"--images: other names or descriptions"),
        ("scan_id", "another", r"shard 1 and .*other scan_id are not shards of one scan"),
    ):
        other = changed(last, tmp_path / f"other {name}", **{name: value})
        refused([one, two, other], tmp_path / "out", words)
    progress = read_manifest(last).progress
    assert progress is not None
    four = progress.model_copy(update={"shard": ShardInfo(number=3, of=4)})
    refused([one, two, changed(last, tmp_path / "four", progress=four)], tmp_path / "out", "shard 1/3, .* shard 3/4")


def test_shards_of_other_weights_are_refused(three: list[Path], tmp_path: Path) -> None:
    """A shard made by a version before has no fingerprint, and joins; its id is that version's."""
    one, two, last = three
    model = read_manifest(last).model
    assert model.weights is not None
    other = changed(last, tmp_path / "other", model=model.model_copy(update={"weights": "0f" * 32}))
    refused(
        [one, two, other], tmp_path / "out", f"the model's weights: {model.weights[:16]} in .*, 0f0f0f0f0f0f0f0f in"
    )
    old_model = model.model_copy(update={"weights": None})
    old_id = read_manifest(one).id_beside(old_model)
    assert old_id != read_manifest(one).scan_id
    old = changed(one, tmp_path / "old", model=old_model, scan_id=old_id)
    refused([old, two, other], tmp_path / "out", "the model's weights: ")
    merged = merge_scans([last, old, two], tmp_path / "merged", silent)
    assert (merged.scan_id, merged.model) == (old_id, old_model)


def test_shards_of_another_processor_are_refused(three: list[Path], tmp_path: Path) -> None:
    one, two, last = three
    model = read_manifest(last).model
    assert model.processor is not None
    other = changed(last, tmp_path / "other", model=model.model_copy(update={"processor": "0f" * 32}))
    refused([one, two, other], tmp_path / "out", "what the model's processor makes of a picture: .*0f0f0f0f0f0f0f0f in")
    old_model = model.model_copy(update={"processor": None})
    old = changed(one, tmp_path / "old", model=old_model, scan_id=read_manifest(one).id_beside(old_model))
    merged = merge_scans([last, old, two], tmp_path / "merged", silent)
    assert (merged.scan_id, merged.model) == (read_manifest(old).scan_id, old_model)
    elsewhere = changed(one, tmp_path / "elsewhere", model=old_model, scan_id="another")
    refused([elsewhere, two, last], tmp_path / "out", "are not shards of one scan")
    pooled = changed(last, tmp_path / "pooled", map_cells=2)
    refused([one, two, pooled], tmp_path / "out", "--map-cells: None in .*, 2 in")


def test_batch_and_place_of_the_images_may_differ(three: list[Path], tmp_path: Path) -> None:
    one, two, last = three
    elsewhere = changed(last, tmp_path / "elsewhere", batch=64, data="/elsewhere.jsonl", image_root="/elsewhere")
    merged = merge_scans([one, two, elsewhere], tmp_path / "out", silent)
    assert merged.batch == 1 and merged.data == read_manifest(one).data


def test_nothing_is_left_of_a_merge_that_failed(three: list[Path], tmp_path: Path) -> None:
    one, two, last = three
    damaged = Path(shutil.copytree(last, tmp_path / "damaged"))
    content = (damaged / "samples.jsonl").read_bytes()
    (damaged / "samples.jsonl").write_bytes(b"x" * len(content))
    refused([one, two, damaged], tmp_path / "out", "damaged")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        merge_scans(three, tmp_path / "out", silent)


def test_no_sample_counts(vlm: Vlm, tmp_path: Path) -> None:
    path = make_images(tmp_path / "data", 2)
    for name in ("000.png", "001.png"):
        (path.parent / name).write_bytes(b"")
    shards = make_shards(vlm, read_data(str(path)), tmp_path / "shards", 2)
    with pytest.raises(SamplesError, match=r"No sample of .* can be scanned; the first, 000.png"):
        merge_scans(shards, tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_found_before_the_work(
    three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    refused(three, tmp_path / "out", r"needs .* MB; 0.0 MB are free")


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/0", "a/b", "-1/8", "1/8/2", "", "1.5/8", "²/8"])
def test_what_is_not_a_shard(text: str) -> None:
    with pytest.raises(UsageError, match="is not a shard"):
        parse_shard(text)


def test_a_shard_is_parsed() -> None:
    assert parse_shard("2/8") == ShardInfo(number=2, of=8)
    assert parse_shard(" 1/1 ") == ShardInfo(number=1, of=1)


def test_ranks_are_those_of_torchrun() -> None:
    environment = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    ranks = Ranks.of_environment(environment)
    assert ranks == Ranks(3, 8, 1)
    assert ranks.shard == ShardInfo(number=4, of=8) and str(ranks) == "rank 3" and not ranks.is_first
    assert Ranks.of_environment({**environment, "WORLD_SIZE": "1", "RANK": "0"}) is None
    assert Ranks.of_environment({"RANK": "3", "WORLD_SIZE": "8"}) is None
    assert Ranks.of_environment({**environment, "RANK": ""}) is None
