"""``--help`` and ``--version``."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command

from vlmscope.tui.__main__ import main
from vlmscope.tui.cli import app


def helped(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main([*args, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_help_lists_every_command_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    out = helped(capsys)
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        summary = command.get_short_help_str(limit=40).removesuffix("...").strip()
        assert summary
        assert any(line.strip("│ ").startswith(name) and summary in line for line in out.splitlines()), name


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "vlmscope open SCAN L27/N3900" in helped(capsys)


@pytest.mark.parametrize("command", ["labels", "show", "stats"])
def test_every_command_that_labels_takes_the_thresholds(capsys: pytest.CaptureFixture[str], command: str) -> None:
    out = helped(capsys, command)
    for option in ("--Tv", "--nv", "--Tt", "--nt", "--high-confidence", "--json"):
        assert option in out


def test_help_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], *([name] for name in get_command(app).commands)):  # type: ignore[attr-defined]
        assert max(len(line) for line in helped(capsys, *command).splitlines()) <= 80


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vlmscope {version('vlmscope')}\n"


def test_python_m_tui_is_the_same_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "vlmscope.tui", "--version"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"vlmscope {version('vlmscope')}\n"
