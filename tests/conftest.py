"""What every test gets: folders of its own, no settings of whoever runs it, and a small scan to read."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.json_page import keeping_to_the_page
from vlmscope.core.store.synthetic import write_synthetic_scan

# No test asks a model hub for anything; read when the first of them imports transformers. Asking takes seconds.
os.environ["HF_HUB_OFFLINE"] = "1"

# Several processes run tests: torch takes one core in each of them, and in what they start. The models are tiny; and a
# process whose torch has started no threads may be forked.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Few examples by default, many with HYPOTHESIS_PROFILE=ci. A slow machine fails no test. A failing example is printed
# in a form that can be pasted back.
settings.register_profile("default", max_examples=25, deadline=None, print_blob=True)
settings.register_profile("ci", max_examples=200, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

LAYERS, NEURONS, SAMPLES = 4, 32, 12


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: the screen's tests wait half of their time for timers."""
    return (os.cpu_count() or 1) + 1


_FOREIGN = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "TTY_COMPATIBLE",
    "COLUMNS",
    "LINES",
    "GITHUB_ACTIONS",  # typer colours its messages there
)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, so that no test reads or writes a user's settings, notebooks or caches."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_STATE_HOME", "state"),
    ):
        monkeypatch.setenv(name, str(home / folder))
    monkeypatch.setenv("VLMSCOPE_CONFIG", str(home / "config.toml"))
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(autouse=True)
def _json_keeps_to_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test asks a command for with ``--json`` must be what docs/json.md has."""
    from vlmscope.tui import __main__

    monkeypatch.setattr(__main__, "_run", keeping_to_the_page(__main__._run))


@pytest.fixture(scope="session")
def _small_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans") / "small"
    write_synthetic_scan(
        folder, layers=LAYERS, neurons=NEURONS, samples=SAMPLES, top_n=8, maps=3, grid=(4, 4), image=32
    )
    return folder


@pytest.fixture
def scan(_small_scan: Path) -> Path:
    """A scan to read only: 4 layers of 32 neurons, 12 samples, top 8, maps of the first 3, 4 x 4 patches."""
    return _small_scan


@pytest.fixture
def scan_copy(_small_scan: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(_small_scan, tmp_path / "copy"))


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder of the tiny random model of a family, made once: to read only."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        from tests.support.families import make_family  # late: it imports torch

        if name not in made:
            made[name] = make_family(tmp_path_factory.mktemp("families") / name, name)
        return made[name]

    return folder
