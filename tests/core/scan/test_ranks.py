"""A scan by two processes of torchrun's equals that of one. An end of one ends both; the next run continues."""

import os
import shutil
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from tests.core.scan.test_merge import equal, silent
from tests.support.ranks_scan import MAPS, TOP_N, Run, run
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import Cancelled, ModelError, RanksError, StoreError
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.load import load
from vlmscope.core.scan.ranks import _begin, _check_shared, _joined, _merge, named, rank_device
from vlmscope.core.scan.scan import scan
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.manifest import ShardInfo, read_manifest
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.store.shards import shard_folder, shards_folder
from vlmscope.core.worker.messages import ModelSpec

TWO = Ranks(0, 2, 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A model, 13 samples of which one is skipped, and their scan by one process."""
    model = make_model(tmp_path_factory.mktemp("model"))
    data = make_images(tmp_path_factory.mktemp("data"), 13)
    (data.parent / "004.png").write_bytes(b"no picture")
    whole = tmp_path_factory.mktemp("scans") / "whole"
    scan(load(ModelSpec(str(model))), read_data(str(data)), whole, ScanOptions(top_n=TOP_N, maps=MAPS, batch=1), silent)
    return model, data, whole


def die(made: tuple[Path, Path, Path], out: Path, death: str) -> Run:
    """Begin a scan of two processes, of which the second dies when both have run three samples.

    The first has a fourth behind it then: its picture that is not one was skipped before the first batch.
    """
    pipe = out.parent.parent / "pipe"
    os.mkfifo(pipe)
    died = run(pipe.with_name("logs"), made[:2], out, death=death, pipe=pipe)
    assert died.failure
    assert not out.exists()
    assert "rank 0: Stopped at 4 of 7 samples" in died.stderr
    return died


def done(out: Path, number: int) -> int:
    progress = read_manifest(shard_folder(out, ShardInfo(number=number, of=2))).progress
    assert progress is not None
    return progress.done


@pytest.mark.slow
def test_two_processes_make_the_scan_of_one(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """One of them is killed first: the run ends with its reason, and the next run makes what was missing."""
    whole = made[2]
    out = tmp_path / "scans" / "out"
    assert "SIGKILL" in die(made, out, "killed").failure
    assert done(out, 1) == 4
    resumed = run(tmp_path / "more logs", made[:2], out, resume=True)
    assert not resumed.failure, resumed.stderr
    assert sorted(resumed.stdout.splitlines()) == ["rank 0 made 12, began with 4", "rank 1 made None, began with 0"]
    equal(whole, out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.slow
def test_a_process_that_fails_ends_the_run_with_its_reason(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "scans" / "out"
    assert "rank 1: the disk of the images is gone" in die(made, out, "raises").stderr
    assert (done(out, 1), done(out, 2)) == (4, 3)


@pytest.mark.slow
def test_a_finished_scan_is_left_as_it_is(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    whole = made[2]
    out = Path(shutil.copytree(whole, tmp_path / "scans" / "out"))
    before = (out / "manifest.json").stat().st_mtime_ns
    shard_folder(out, ShardInfo(number=1, of=2)).mkdir(parents=True)  # the first process died before it removed them
    resumed = run(tmp_path / "logs", made[:2], out, resume=True)
    assert not resumed.failure, resumed.stderr
    assert (out / "manifest.json").stat().st_mtime_ns == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_existing_shards_are_resumed_only_on_request(tmp_path: Path) -> None:
    out = tmp_path / "out"
    token = _begin(out, TWO, resume=False)
    _check_shared([shards_folder(out) / token], "is elsewhere")
    assert _begin(out, TWO, resume=False)  # nothing was begun but the folder
    shard_folder(out, TWO.shard).mkdir()
    with pytest.raises(StoreError, match=r"out\.shards exists already: a scan that was not finished"):
        _begin(out, TWO, resume=False)
    assert _begin(out, TWO, resume=True)
    with pytest.raises(StoreError, match=r"1-of-2 was begun by 2 processes; these are 3"):
        _begin(out, Ranks(0, 3, 0), resume=True)


def test_what_one_process_has_begun_is_not_resumed_by_several(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, data, whole = made
    options = ScanOptions(top_n=TOP_N, batch=1)
    with pytest.raises(Cancelled):
        scan(load(ModelSpec(str(model))), read_data(str(data)), tmp_path / "out", options, silent, stopped=lambda: True)
    with pytest.raises(StoreError, match="was begun by one process; these are 2"):
        _begin(tmp_path / "out", TWO, resume=True)
    assert _begin(whole, TWO, resume=True) == ""
    with pytest.raises(StoreError, match="exists already"):
        _begin(whole, TWO, resume=False)


def test_machines_that_share_no_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmscope.core.scan.ranks.SEEN_SECONDS", 0)
    with pytest.raises(StoreError, match=r"out\.shards is elsewhere: the machines share no disk") as caught:
        _check_shared([tmp_path / "out.shards" / ".shared-0"], "is elsewhere")
    assert "--shard" in caught.value.hint and "vlmscope merge" in caught.value.hint
    with pytest.raises(StoreError, match=r"1-of-2 is not visible on the machine of rank 0"):
        _merge(tmp_path / "out", TWO, silent)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert rank_device(Ranks(1, 2, 1), "auto") == "auto"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert rank_device(Ranks(5, 8, 1), "auto") == "cuda:1"
    assert rank_device(Ranks(5, 8, 1), "cuda") == "cuda:1"
    assert rank_device(Ranks(5, 8, 3), "cpu") == "cpu"
    with pytest.raises(ModelError, match=r"2 GPUs; local rank 3 has none") as caught:
        rank_device(Ranks(3, 4, 3), "auto")
    assert "--nproc-per-node 2" in caught.value.hint


def test_an_error_names_its_process() -> None:
    with pytest.raises(StoreError, match=r"^rank 1: it burns") as caught, named(Ranks(1, 2, 1)):
        raise StoreError("it burns", "Put it out.")
    assert str(caught.value) == "rank 1: it burns\nPut it out."
    with pytest.raises(ZeroDivisionError) as defect, named(Ranks(1, 2, 1)):
        _ = 1 / 0
    assert defect.value.__notes__ == ["This was rank 1."]


def test_processes_that_do_not_begin_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("vlmscope.core.scan.ranks.BEGUN", timedelta(seconds=0.2))
    with pytest.raises(RanksError, match="The 2 processes do not find each other"), _joined(TWO):
        pass
