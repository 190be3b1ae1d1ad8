"""Whether loading a model would download it: the cache of the hub is read, the hub is not asked."""

import json
from pathlib import Path

import huggingface_hub.constants
import pytest

from vlmscope.core.base.demo import DEMO
from vlmscope.core.store.hub import would_download

NAME, COMMIT = "someone/llava-tiny", "c" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, on a machine that may ask the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def keep(hub: Path, **files: object) -> None:
    """Put files of the model, by name without dots, into the cache."""
    model = hub / "models--someone--llava-tiny"
    snapshot = model / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    (model / "refs").mkdir(exist_ok=True)
    (model / "refs/main").write_text(COMMIT)
    for name, content in files.items():
        (snapshot / name.replace("_dot_", ".")).write_text(json.dumps(content))


def test_a_model_that_is_not_here_would_be_downloaded(hub: Path) -> None:
    assert would_download(NAME, None) and would_download(NAME, COMMIT) and would_download("gpt2", None)
    assert not hub.exists()


def test_a_model_in_the_cache_would_not(hub: Path) -> None:
    keep(hub, config_dot_json={})
    assert would_download(NAME, None), "a configuration without weights"
    assert not would_download(NAME, None, weights=False)
    keep(hub, model_dot_safetensors=0)
    assert not would_download(NAME, None) and not would_download(NAME, COMMIT)
    assert would_download(NAME, "d" * 40), "another revision"
    assert would_download("someone/other", None)


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_weights_in_parts_are_here_if_all_parts_are(hub: Path, kind: str) -> None:
    index = {f"{kind.replace('.', '_dot_')}_dot_index_dot_json": {"weight_map": {"a": "one.x", "b": "two.x"}}}
    keep(hub, config_dot_json={}, one_dot_x=0, **index)
    assert would_download(NAME, None)
    keep(hub, two_dot_x=0)
    assert not would_download(NAME, None)


@pytest.mark.parametrize("index", [[], {}, {"weight_map": 3}, {"weight_map": {"a": None}}])
def test_a_damaged_index_is_not_a_model(hub: Path, index: object) -> None:
    keep(hub, config_dot_json={}, model_dot_safetensors_dot_index_dot_json=index)
    assert would_download(NAME, None)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    "name", [DEMO, "/gone/model", "a/b/c", "../b", "x, random weights (seed 3)", "", "a\0b", "x--y"]
)
def test_what_is_not_a_name_of_the_hub_is_not_downloaded(name: str) -> None:
    assert not would_download(name, None)


@pytest.mark.usefixtures("hub")
def test_a_folder_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert would_download(NAME, None)
    Path(NAME).mkdir(parents=True)
    assert not would_download(NAME, None)


@pytest.mark.usefixtures("hub")
def test_offline_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert not would_download(NAME, None)
