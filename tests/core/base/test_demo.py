"""Names: ``demo`` and everything else."""

from pathlib import Path

import pytest

from vlmscope.core.base import demo
from vlmscope.core.base.errors import StoreError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose demo is an empty package."""
    (tmp_path / "some_data").mkdir()
    (tmp_path / "some_data" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(demo, "find_spec", lambda _: __import__("importlib.util").util.find_spec("some_data"))
    return tmp_path / "some_data"


def test_demo_names_the_demos_own_files(installed: Path) -> None:
    assert demo.scan_folder("demo") == installed / "scan"
    assert demo.model_source("demo") == str(installed / "model")
    assert demo.samples_file() == installed / "samples.jsonl"
    assert demo.image_path("demo", "images/1.png") == installed / "images" / "1.png"


def test_other_names_are_what_they_say(own_home: Path) -> None:
    assert demo.scan_folder("scans/one") == Path("scans/one")
    assert demo.scan_folder("~/one") == own_home / "one"
    assert demo.model_source("llava-hf/llava-1.5-7b-hf") == "llava-hf/llava-1.5-7b-hf"
    assert demo.image_path("/data", "a.jpg") == Path("/data/a.jpg")
    assert demo.image_path(None, "a.jpg") == Path("a.jpg")


def test_an_installation_without_a_demo_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda _: None)
    with pytest.raises(StoreError) as caught:
        demo.scan_folder("demo")
    assert "demo" in caught.value.message
    assert "Install" in caught.value.hint
