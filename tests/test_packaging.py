"""What a built wheel holds: everything that the demo needs, and nothing of tests and docs."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST = 40 * 2**20  #: bytes; the demo is most of it


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the source: building in place would leave a folder ``build`` behind."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("core", "tui", "sample_data", "docs"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def shipped(folder: str) -> set[str]:
    return {
        f"vlmscope/{path.relative_to(ROOT)}"
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_every_folder_of_modules_is_named() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        packages = tomllib.load(file)["tool"]["setuptools"]["packages"]
    made = [path.parent for name in ("core", "tui", "sample_data") for path in (ROOT / name).rglob("*.py")]
    assert set(packages) == {".".join(("vlmscope", *folder.relative_to(ROOT).parts)) for folder in made}


@pytest.mark.parametrize("folder", ["core", "tui", "sample_data"])
def test_the_wheel_holds_every_file_of(folder: str, names: set[str]) -> None:
    assert shipped(folder)
    assert shipped(folder) <= names


def test_the_demo_is_whole(names: set[str]) -> None:
    for name in ("scan/manifest.json", "scan/samples.jsonl", "scan/crops.bin", "samples.jsonl", "model/config.json"):
        assert f"vlmscope/sample_data/{name}" in names
    assert any(name.startswith("vlmscope/sample_data/images/") for name in names)
    assert any(name.endswith(".tcss") for name in names)


def test_the_wheel_holds_nothing_else(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"vlmscope", "vlmscope-0.1.0.dist-info"}


def test_licences_come_along(names: set[str]) -> None:
    licences = {name.split("/licenses/")[-1] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "sample_data/LICENSE-sprites"}


def test_the_command_is_there(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert (
            "vlmscope = vlmscope.tui.__main__:main"
            in archive.read("vlmscope-0.1.0.dist-info/entry_points.txt").decode()
        )


def test_the_wheel_is_not_too_large(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST


def test_the_demo_opens_from_a_read_only_installation(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for path in (*site.rglob("*"), site):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        code = (
            f"import sys; sys.path.insert(0, {str(site)!r}); from vlmscope.tui.__main__ import main as m; sys.exit(m())"
        )
        answer = subprocess.run(
            [sys.executable, "-P", "-c", code, "labels", "demo", "--json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        assert '"total"' in answer.stdout
    finally:
        for path in (site, *site.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
