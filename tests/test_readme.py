"""What the README says is so: its keys, commands, options, settings and files exist."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from vlmscope.core.base.config import Config
from vlmscope.core.worker.log import worker_log
from vlmscope.tui.cli import app
from vlmscope.tui.command_line import VERBS
from vlmscope.tui.keys import ACTIONS, keys_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands() -> dict[str, Any]:
    return dict(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_command_is_listed_and_no_other() -> None:
    listed = set(re.findall(r"^\| `vlmscope ([a-z]+)", section("Commands"), re.MULTILINE))
    assert listed == set(commands())


@pytest.mark.parametrize("line", sorted(set(re.findall(r"vlmscope ([a-z]+ [^`|\n]*--[^`|\n]*)", README))))
def test_every_option_that_is_shown_exists(line: str) -> None:
    name, *words = line.split()
    command = commands()[name]
    if words[0] in getattr(command, "commands", {}):  # a command of commands, as bench
        command = command.commands[words[0]]
    taken = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= taken


def test_every_key_that_is_listed_does_something() -> None:
    bound = {key for action in ACTIONS for key in keys_of(action.id, {})}
    rows = re.findall(r"^\| (`.*?) \|", section("Keys"), re.MULTILINE)
    listed = {key for row in rows for key in re.findall(r"`([^`]+)`", row)}
    assert len(listed) > 15
    assert listed <= bound


def test_every_screen_command_that_is_shown_exists() -> None:
    shown = re.findall(r"`:([A-Za-z]+)", section("Keys"))
    assert shown
    assert set(shown) <= set(VERBS)


def test_the_settings_are_all_there_with_their_defaults() -> None:
    shown = tomllib.loads(README.split("```toml\n")[1].split("```")[0])
    assert shown.keys() == Config.model_fields.keys()
    ids = {action.id for action in ACTIONS}
    assert shown.pop("keys").keys() <= ids
    assert Config.model_validate(shown) == Config()


def test_the_log_lies_where_it_says(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    if (own_home / ".local").as_posix() in worker_log().as_posix():  # Linux
        assert f"`~/{worker_log().relative_to(own_home)}`" in README


def test_every_file_that_is_named_exists() -> None:
    for name in re.findall(r"`((?:tui|core|sample_data|\.ci)/[\w./-]*|LICENSE|pyproject\.toml)`", README):
        assert (ROOT / name).exists(), name
