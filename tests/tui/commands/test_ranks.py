"""``torchrun --no-python vlmscope scan`` and ``vlmscope scan --shard`` as a user types them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.scan.test_merge import equal
from tests.support.tiny import make_images, make_model
from vlmscope.core.store.manifest import read_manifest
from vlmscope.tui.__main__ import main

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """The options of a scan of nine samples, one of them skipped, and the scan by one process."""
    folder = tmp_path_factory.mktemp("made")
    samples = make_images(folder / "data", 9)
    (folder / "data" / "004.png").write_bytes(b"no picture")
    options = ["--model", str(make_model(folder / "model")), "--images", str(samples), "--batch", "1", "--top-n", "4"]
    assert main(["scan", *options, "--out", str(folder / "whole")]) == 0
    return options, folder / "whole"


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "--no-python",
            str(Path(sys.executable).with_name("vlmscope")),
            *arguments,
        ],
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_make_the_scan_of_one(made: tuple[list[str], Path], tmp_path: Path) -> None:
    options, whole = made
    out = tmp_path / "scans" / "out"
    done = torchrun("scan", *options, "--out", str(out))
    assert done.returncode == 0, done.stderr
    equal(whole, out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert done.stdout.count("high-confidence >") == 1  # one table
    assert done.stderr.count("loading ") == 1 and done.stderr.count("skipped #4") == 1
    assert "rank 0 of 2: scanning" in done.stderr and "rank 1 of 2: scanning" not in done.stderr


def test_shards_by_hand(made: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, whole = made
    shards = [str(tmp_path / "a"), str(tmp_path / "b")]
    for number, shard in enumerate(shards, 1):
        assert main(["scan", *options, "--out", shard, "--shard", f"{number}/2"]) == 0
        assert f"This is shard {number}/2" in capsys.readouterr().err
    assert read_manifest(Path(shards[0])).progress is not None
    assert main(["merge", *shards, "--out", str(tmp_path / "merged")]) == 0
    equal(whole, tmp_path / "merged")
    capsys.readouterr()
    assert main(["scan", *options, "--out", str(tmp_path / "c"), "--shard", "3/2"]) == 2
    assert "is not a shard" in capsys.readouterr().err


def test_a_shard_of_a_shard_is_refused(
    made: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["scan", *made[0], "--out", str(tmp_path / "out"), "--shard", "1/2"]) == 2
    assert "--shard does not go with torchrun" in capsys.readouterr().err


def test_torchrun_on_a_finished_scan_says_so(
    made: tuple[list[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("vlmscope.tui.commands.scan_run.run_by_ranks", lambda *_: None)
    assert main(["scan", *made[0], "--out", str(made[1]), "--resume"]) == 0
    assert f"{made[1]} is finished: nothing is left to do." in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    assert main(["scan", *made[0], "--out", str(made[1]), "--resume"]) == 0
    assert capsys.readouterr().err == ""


def test_a_finished_scan_of_fewer_samples_is_another(
    made: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", *made[0], "--limit", "5", "--out", str(made[1]), "--resume"]) == 1
    assert "the number of samples: 9, now 5" in capsys.readouterr().err


def test_a_shard_of_a_control_needs_a_folder(made: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--control", str(made[1]), "--shard", "1/2"]) == 2
    said = capsys.readouterr().err
    assert "A shard of a control needs a folder of its own." in said and "Name it with --out." in said
