"""The screen starts without a model: importing it loads neither torch nor transformers, nor the API's client.

The contracts in pyproject.toml say the same of the source; this looks at what Python really loads.
"""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MODEL_SIDE = {
    "activations",
    "bench_scan",
    "descriptions",
    "devices",
    "engine",
    "kernels",
    "kernels_triton",
    "lens",
    "merge",
    "model_configs",
    "peak_memory",
    "promoted",
    "ranks",
    "scan",
    "scan_batches",
    "scan_run",
    "scan_state",
    "simulate.segmentation",
    "top_samples",
    "two_pass",
    "vlm",
    "worker",
}
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


@pytest.mark.parametrize("module", ["tui.app", "tui.cli", "tui.__main__", "tui.commands.open"])
def test_the_screen_and_the_command_line_load_no_model(module: str) -> None:
    assert loaded_by(module, *HEAVY) == []


def test_the_way_to_the_screen_skips_the_command_lines_libraries() -> None:
    assert loaded_by("tui.__main__, tui.commands.open", "typer", "textual", *HEAVY) == []


def test_what_browsing_needs_loads_neither_model_nor_screen() -> None:
    modules = next(found["source_modules"] for found in contracts() if found["name"].startswith("what browsing needs"))
    assert "core.scan_store" in modules
    assert loaded_by(", ".join(modules), *HEAVY, "textual", "rich_pixels") == []


def test_every_contract_names_files_that_exist() -> None:
    for contract in contracts():
        for module in contract["source_modules"]:
            path = ROOT / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), module


def test_every_file_of_core_is_on_one_side() -> None:
    """A new file must say whether browsing needs it; those that are named here may import torch."""
    light = next(found["source_modules"] for found in contracts() if found["name"].startswith("what browsing needs"))
    found = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "core").rglob("*.py"))
    everything = {".".join(path.parts) for path in found if path.name != "__init__"}
    assert everything - set(light) == {f"core.{name}" for name in MODEL_SIDE}


def test_a_heavy_import_would_be_noticed() -> None:
    assert loaded_by("core.vlm", "torch", "transformers") == ["torch", "transformers"]
