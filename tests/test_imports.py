"""The screen starts without a model: importing it loads neither torch nor transformers, nor the API's client.

The contracts in pyproject.toml say the same of the source; this looks at what Python really loads.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "openai")


def contracts() -> list[dict[str, Any]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[dict[str, Any]] = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return found


def loaded_by(module: str, *watched: str) -> list[str]:
    """Which of ``watched`` a fresh Python has loaded after ``import module``."""
    code = f"import sys, {module}; print([name for name in {watched!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return list(eval(answer.stdout))


@pytest.mark.parametrize("module", ["app", "cli", "__main__", "commands.open"])
def test_the_screen_and_the_command_line_load_no_model(module: str) -> None:
    assert loaded_by(f"vlmscope.tui.{module}", *HEAVY) == []


def test_the_way_to_the_screen_skips_the_command_lines_libraries() -> None:
    assert loaded_by("vlmscope.tui.__main__, vlmscope.tui.commands.open", "typer", "textual", *HEAVY) == []


def test_what_browsing_needs_loads_neither_model_nor_screen() -> None:
    packages = next(found["source_modules"] for found in contracts() if found["name"].startswith("browsing holds"))
    modules = [module for package in packages for module in modules_of(package)]
    assert "vlmscope.core.store.reader" in modules
    assert loaded_by(", ".join(modules), *HEAVY, "textual", "rich_pixels") == []


def modules_of(package: str) -> list[str]:
    """Every module of an installed package, by its folder."""
    folder = ROOT.joinpath(*package.split(".")[1:])
    files = (path.relative_to(ROOT).with_suffix("") for path in sorted(folder.rglob("*.py")))
    return [".".join(("vlmscope", *file.parts)) for file in files if file.name != "__init__"]


def test_no_file_imports_a_folder_by_its_short_name() -> None:
    """``core`` may be a folder of the user's: what is installed is ``vlmscope.core``."""
    wrong = re.compile(r"^\s*(?:from|import) (?:core|tui|sample_data)\b", re.MULTILINE)
    files = [path for folder in ("core", "tui", "sample_data", "tests") for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in files if wrong.search(path.read_text(encoding="utf-8"))] == []


def test_a_heavy_import_would_be_noticed() -> None:
    assert loaded_by("vlmscope.core.model.vlm", "torch", "transformers") == ["torch", "transformers"]
