"""``vlmscope`` and ``vlmscope open``: what the screen is started with."""

import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from vlmscope.core.base.config import Config
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store import reader
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui import cli
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands import open as open_command


@dataclass
class Started:
    """What the stand-in for the screen was given."""

    apps: list[dict[str, object]] = field(default_factory=list)
    return_code: int = 0


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    """What opening sets aside for good would stay in the tests' own process."""
    yield
    gc.unfreeze()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, scan: Path) -> Started:
    record = Started()

    class VlmscopeApp:
        def __init__(
            self, store: ScanStore, config: Config, start: Neuron | None, name: str, *, first_start: Path
        ) -> None:
            assert first_start.name == "started"
            record.apps.append({"folder": store.folder, "config": config, "start": start, "name": name})
            self.return_code = record.return_code
            self.console, self.browse = SimpleNamespace(color_system="truecolor"), SimpleNamespace()

        def run(self) -> None:
            pass

    module = ModuleType("vlmscope.tui.app")
    module.VlmscopeApp = VlmscopeApp  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vlmscope.tui.app", module)
    monkeypatch.setattr(open_command, "_check_terminal", lambda _: None)
    monkeypatch.setattr(reader, "scan_folder", lambda name: scan if name == "demo" else Path(name))
    return record


def test_without_a_command_the_demo_opens(started: Started, scan: Path) -> None:
    assert main([]) == 0
    assert started.apps == [{"folder": scan, "config": Config(), "start": None, "name": "demo"}]


def test_a_scan_opens_under_its_folders_name(started: Started, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["open", str(scan)]) == 0
    monkeypatch.chdir(scan)
    assert main(["open", "."]) == 0
    assert [app["name"] for app in started.apps] == ["small", "small"]


def test_an_address_is_where_it_begins(started: Started, scan: Path) -> None:
    assert main(["open", str(scan), "3:17"]) == 0
    assert started.apps[0]["start"] == Neuron(3, 17)


@pytest.mark.parametrize("args", [["open"], ["open", "demo"], ["open", "--", "demo"], ["open", "demo", "L3/N17"], []])
def test_both_ways_in_lead_to_the_same(started: Started, args: list[str]) -> None:
    assert cli.run(args) == 0
    assert main(args) == 0
    assert started.apps[0] == started.apps[1]


def test_the_settings_reach_the_screen(started: Started, own_home: Path) -> None:
    (own_home / "config.toml").write_text('theme = "nord"')
    assert main([]) == 0
    assert started.apps[0]["config"] == Config(theme="nord")


def test_the_screens_exit_code_is_the_commands(started: Started) -> None:
    started.return_code = 1
    assert main([]) == 1
    assert cli.run(["open", "demo"]) == 1


@pytest.mark.parametrize("address", ["L9/N9", "nonsense"])
def test_a_wrong_address_never_reaches_the_screen(started: Started, address: str) -> None:
    assert main(["open", "demo", address]) == 2
    assert started.apps == []


def test_garbage_is_collected_again_whatever_happened(started: Started) -> None:
    assert main(["open", "demo"]) == 0
    assert gc.isenabled()
    assert main(["open", "demo", "nonsense"]) == 2
    assert gc.isenabled()


def test_device_and_dtype_override_the_settings(started: Started, own_home: Path) -> None:
    (own_home / "config.toml").write_text('device = "cuda:1"\ndtype = "float16"')
    assert main(["open", "demo", "--device", "cpu"]) == 0
    assert started.apps[0]["config"] == Config(device="cpu", dtype="float16")
