"""Command lines made at random end with a message, whatever is wrong with them: never with a traceback."""

import io
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.support.api_server import KEY
from tests.support.long import times
from vlmscope.tui.__main__ import main
from vlmscope.tui.cli import app

SEED = 20261130
LINES = times(60, 298)
#: Before the random ones: a line that succeeds, one that fails and one of wrong use, so that all codes are seen.
KNOWN = (["labels", "scan"], ["labels", "gone"], ["labels", "scan", "--unknown"])
#: What runs a model gets a device that does not exist: nothing is computed for minutes.
RUNS_A_MODEL = ("scan", "describe", "bench", "ablate", "at", "check", "explain", "score", "simulate")
#: These start a model process before they see the device, which takes seconds: one line of both in the short form.
STARTS_A_PROCESS = (["bench", "causal"], ["bench", "scores"])
NOWHERE = ("nowhere", "cuda:99", "", "-1")
PATHS = ("scan", "gone", "file", "/", ".", "", "~nobody/x", "a" * 300, "x/" * 2500, "dir", "/dev/null", "pipe", "link")
ADDRESSES = ("L0/N1", "0:1", "3.17", "L9/N9", "L0/N-1", "L/N", "L99999999999999999999/N1", "", "١:٢")
WORDS = (
    "visual",
    "keep",
    "train",
    "json",
    "",
    " ",
    "é",
    "漢字",
    "\x1b[31m",
    "[bold]",
    "-",
    "--",
    "%s",
    "a" * 5000,
    "\udc80",
)
NUMBERS = ("0", "1", "3", "-1", "1e9", "nan", "inf", "-inf", "2.5", "10", "99999999999999999999", "0x10", "1_0", "٣")
NUMERIC = ("NORM", "COUNT", "SHARE", "RANK", "N", "SECONDS")
EVERYTHING = (*PATHS, *ADDRESSES, *WORDS, *NUMBERS, "demo")


def commands() -> dict[str, Any]:  # typer's parameters are untyped
    """The parameters of each command by its words, such as ``bench scan``; not of ``open``, which takes a terminal."""
    found: dict[str, Any] = {}

    def walk(words: str, command: Any) -> None:
        below = getattr(command, "commands", None)
        if below is None:
            found[words] = command.params
            return
        for name, one in below.items():
            walk(f"{words} {name}".strip(), one)

    walk("", get_command(app))
    del found["open"]
    return found


def value_of(parameter: Any, draw: random.Random) -> str:
    """Often one of the parameter's kind, else anything."""
    name = f"{parameter.name} {parameter.metavar}".lower()
    if draw.random() < 0.3:
        return draw.choice(EVERYTHING)
    if "scan" in name:
        return draw.choice((*PATHS, "demo", "scan", "scan", "scan"))
    if "address" in name or "neuron" in name:
        return draw.choice(ADDRESSES)
    if parameter.metavar in NUMERIC or parameter.min is not None:
        return draw.choice(NUMBERS)
    return draw.choice((*PATHS, *WORDS, *NUMBERS))


def line(draw: random.Random, known: dict[str, Any]) -> list[str]:
    words = draw.choice(sorted(known))
    made: list[str] = []
    for parameter in known[words]:
        if not parameter.opts[0].startswith("-"):
            most = 3 if parameter.nargs == -1 else 1
            made += [value_of(parameter, draw) for _ in range(draw.randint(0 if draw.random() < 0.1 else 1, most))]
        elif draw.random() < 0.15:
            made.append(draw.choice(parameter.opts))
            if not parameter.is_flag and draw.random() < 0.95:
                made.append(value_of(parameter, draw))
    if draw.random() < 0.05:
        made.append(draw.choice(EVERYTHING))
    if draw.random() < 0.1:
        draw.shuffle(made)
    if words.split()[0] in RUNS_A_MODEL:
        made += ["--device", draw.choice(NOWHERE)]
    return [*words.split(), *made]


@pytest.fixture
def here(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a scan and what else may be named; no terminal to ask on."""
    shutil.copytree(scan, tmp_path / "scan")
    (tmp_path / "file").write_text("{")
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("link")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    yield tmp_path


@pytest.mark.slow
def test_random_command_lines(
    here: Path, own_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # nothing listens there
    draw, known = random.Random(SEED), commands()
    codes: dict[int, int] = {}
    lines = [line(draw, known) for _ in range(LINES)]
    starting = [at for at, made in enumerate(lines) if made[:2] in STARTS_A_PROCESS]
    dropped = starting[times(1, LINES) :]
    for number, made in enumerate([*KNOWN, *(made for at, made in enumerate(lines) if at not in dropped)]):
        try:
            code = main(made)
        except BaseException as error:
            raise AssertionError(f"line {number}: vlmscope {made!r:.2000}") from error
        said = capsys.readouterr()
        assert code in (0, 1, 2), made
        reason = said.out if made[0] == "doctor" and code == 1 else said.err  # what is missing is a finding: data
        assert code == 0 or reason.strip(), made
        assert "Traceback" not in said.err, made
        assert "\x1b" not in said.out and "\x1b" not in said.err, made
        codes[code] = codes.get(code, 0) + 1
    assert sorted(codes) == [0, 1, 2] and codes[1] + codes[2] > len(KNOWN), codes
    assert not [path for root in (here, own_home) for path in files(root) if KEY.encode() in path.read_bytes()]
    print(f"{LINES - len(dropped)} lines: exit codes {codes}")


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
