"""Wrong input: each is refused with a message that names it, and the exit code that its kind has."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmscope.core.store.manifest import MANIFEST
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main

ROOT = Path(__file__).parents[3]


def vlmscope(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vlmscope.tui", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def refused(capsys: pytest.CaptureFixture[str], code: int, *args: str) -> str:
    """stderr of a command that fails with ``code`` and writes no data."""
    assert main(args) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return " ".join(captured.err.replace("│", " ").split())


def no_manifest(folder: Path) -> str:
    (folder / MANIFEST).unlink()
    return "is not a scan"


def another_schema(folder: Path) -> str:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 7}))
    return "schema version 7"


def disagreeing(folder: Path) -> str:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "top_n": 9}))
    return "top_sample.npy"


def truncated(folder: Path) -> str:
    path = next(folder.glob("*/votes.npy"))
    path.write_bytes(path.read_bytes()[:-4])
    return "votes.npy"


def empty(folder: Path) -> str:
    next(folder.glob("*/maximum.npy")).write_bytes(b"")
    return "maximum.npy"


@pytest.mark.parametrize("damage", [no_manifest, another_schema, disagreeing, truncated, empty])
@pytest.mark.parametrize("command", [("labels",), ("show", "L0/N0"), ("open",)])
def test_a_damaged_scan_is_explained(
    scan_copy: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], str], command: tuple[str, ...]
) -> None:
    named = damage(scan_copy)
    error = refused(capsys, 1, command[0], str(scan_copy), *command[1:])
    assert error.startswith("vlmscope: The scan cannot be used")
    assert named in error
    assert str(scan_copy) in error


def test_a_damaged_crop_is_explained(scan_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = scan_copy / "crops.bin"
    path.write_bytes(bytes(path.stat().st_size))
    assert "crop" in refused(capsys, 1, "show", str(scan_copy), "L0/N0", "--png", str(tmp_path / "x.png"))
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("command", ["show", "open"])
@pytest.mark.parametrize(("address", "named"), [("L4/N0", "from 0 to 3"), ("L0/N32", "from 0 to 31"), ("x", "'x'")])
def test_an_address_outside_the_model_is_wrong_use(
    scan: Path, capsys: pytest.CaptureFixture[str], command: str, address: str, named: str
) -> None:
    assert named in refused(capsys, 2, command, str(scan), address)


@pytest.mark.parametrize("command", [("labels",), ("show", "L0/N0")])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--Tv", "much"),
        ("--Tv", "11"),
        ("--Tv", "nan"),
        ("--Tt", "-1"),
        ("--Tt", "inf"),
        ("--nv", "2.5"),
        ("--nv", "9"),
        ("--nt", "0"),
        ("--high-confidence", "80"),
        ("--high-confidence", ""),
    ],
)
def test_a_threshold_that_is_none_is_wrong_use(
    scan: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], option: str, value: str
) -> None:
    error = refused(capsys, 2, command[0], str(scan), *command[1:], option, value)
    assert option.lstrip("-") in error
    assert value in error


@pytest.mark.parametrize("rank", ["0", "9", "-1", "first"])
def test_a_rank_out_of_range_is_wrong_use(scan: Path, capsys: pytest.CaptureFixture[str], rank: str) -> None:
    assert "--sample" in refused(capsys, 2, "show", str(scan), "L0/N0", "--sample", rank)


def test_the_range_of_ranks_is_told(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "from 1, the best, to 8" in refused(capsys, 2, "show", str(scan), "L0/N0", "--sample", "9")


def test_a_picture_of_a_map_that_is_not_stored_names_those_that_are(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.png"
    error = refused(capsys, 1, "show", str(scan), "L0/N0", "--sample", "4", "--png", str(file))
    assert "sample 4" in error
    assert "samples 1 to 3" in error
    assert not file.exists()


def test_a_picture_that_cannot_be_written_names_the_file(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nowhere" / "out.png"
    assert str(file) in refused(capsys, 1, "show", str(scan), "L0/N0", "--png", str(file))


@pytest.mark.parametrize(
    "args", [("nonsense",), ("--nonsense",), ("labels",), ("show", "demo"), ("open", "a", "b", "c")]
)
def test_wrong_use_shows_how(capsys: pytest.CaptureFixture[str], args: tuple[str, ...]) -> None:
    assert "vlmscope" in refused(capsys, 2, *args)


def test_a_folder_in_a_commands_place_is_met_with_the_command(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"vlmscope open {scan}" in refused(capsys, 2, str(scan))
    assert "vlmscope open demo" in refused(capsys, 2, "demo")


def test_an_invalid_settings_file_is_named(scan: Path, own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_home / "config.toml").write_text("colour = 1")
    assert "config.toml" in refused(capsys, 2, "open", str(scan))


def test_a_hostile_name_reaches_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", str(tmp_path / "\x1b[31mred")]) == 1
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert "[31mred" in error


def test_the_screen_without_a_terminal_names_what_works_in_a_pipe(scan: Path) -> None:
    found = vlmscope("open", str(scan), stdin=subprocess.DEVNULL)
    assert found.returncode == 1
    assert "not a terminal" in found.stderr
    assert "vlmscope show" in found.stderr


def test_a_closed_pipe_is_silent(scan: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        command = [sys.executable, "-m", "vlmscope.tui", "show", str(scan), "L0/N0"]
        found = subprocess.run(command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert found.stderr == b""
    assert found.returncode == 128 + signal.SIGPIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("args", [["labels", "SCAN"], ["labels", "SCAN", "--json"], ["--help"]])
def test_a_full_disk_is_explained(scan: Path, args: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "vlmscope.tui", *(str(scan) if arg == "SCAN" else arg for arg in args)]
        found = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert found.returncode == 1
    assert "No space left" in found.stderr
    assert "Traceback" not in found.stderr


def test_ctrl_c_says_one_line(scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ScanStore, "stored_labels", interrupted)
    assert main(["labels", str(scan)]) == 130
    assert capsys.readouterr().err == "vlmscope: stopped\n"


def test_an_encoding_without_these_letters_is_no_failure(scan: Path) -> None:
    found = vlmscope("labels", str(scan), env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert found.returncode == 0
    assert "V visual" in found.stdout


def test_a_defect_shows_its_traceback(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ScanStore, "stored_labels", broken)
    with pytest.raises(ZeroDivisionError):
        main(["labels", str(scan)])


@pytest.mark.parametrize("args", [["labels", "x/" * 2500], ["show", "a" * 300, "L0/N1"], ["a" * 5000]])
def test_a_path_that_is_too_long_is_named(capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    assert main(args) in (1, 2)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "File name too long" in err


def test_a_notebook_setting_that_is_not_a_path_is_named(
    scan: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_home / "config.toml").write_text('notebooks = "~nobody-there/x"')
    assert "'~nobody-there/x' is not a folder for notebooks" in refused(
        capsys, 1, "verdict", str(scan), "L0/N1", "keep"
    )


def test_settings_in_the_home_of_an_unknown_user_are_named(
    scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLMSCOPE_CONFIG", "~nobody-there/config.toml")
    assert "~nobody-there/config.toml is not a path" in refused(capsys, 2, "verdict", str(scan), "L0/N1", "keep")
