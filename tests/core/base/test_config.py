"""Settings: read, refused by name, defaults where there are none."""

from pathlib import Path

import pytest

from vlmscope.core.base.config import Config, cache_folder, config_file, data_folder, load_config, log_folder
from vlmscope.core.base.errors import UsageError


def test_without_a_file_there_are_the_defaults() -> None:
    assert load_config() == Config()


def test_a_file_is_read() -> None:
    config_file().write_text(
        'theme = "nord"\nidle_unload_minutes = 0\n[keys]\n"verdict.keep" = "K"\n', encoding="utf-8"
    )
    config = load_config()
    assert (config.theme, config.idle_unload_minutes, config.keys) == ("nord", 0.0, {"verdict.keep": "K"})


def test_the_file_is_the_one_that_the_variable_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLMSCOPE_CONFIG", str(tmp_path / "other.toml"))
    (tmp_path / "other.toml").write_text('device = "cpu"')
    assert load_config().device == "cpu"


def test_without_the_variable_it_lies_in_the_users_config_folder(
    monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    monkeypatch.delenv("VLMSCOPE_CONFIG")
    assert config_file().name == "config.toml"
    assert config_file().is_relative_to(own_home)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("theme = ", "config.toml"),
        ("thme = 'nord'", "thme"),
        ("idle_unload_minutes = -1", "idle_unload_minutes"),
        ("idle_unload_minutes = 'soon'", "idle_unload_minutes"),
        ("[keys]\nquit = 3", "keys.quit"),
    ],
)
def test_a_wrong_setting_is_named(content: str, named: str) -> None:
    config_file().write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_config()
    assert named in caught.value.message
    assert str(config_file()) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00"])
def test_a_file_that_is_no_text_is_refused(content: bytes) -> None:
    config_file().write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        load_config()


def test_a_folder_in_the_files_place_is_refused() -> None:
    config_file().mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        load_config()


def test_data_cache_and_logs_lie_apart(own_home: Path) -> None:
    folders = {data_folder(), cache_folder(), log_folder()}
    assert len(folders) == 3
    assert all(folder.is_relative_to(own_home) for folder in folders)
