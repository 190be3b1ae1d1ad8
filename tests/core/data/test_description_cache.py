"""What is kept of descriptions: by whom, for whom, and what damage costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmscope.core.base.config import cache_folder
from vlmscope.core.data.description_cache import DescriptionCache
from vlmscope.core.store.manifest import ModelInfo

MODEL = ModelInfo(name="hub/model", revision="abc", architecture="llava + llama", dtype="float32", layers=3, neurons=48)
ODD = "a \ud83d half character, a line\nbreak, \u2028 and 日本語"


def kept(
    cache: DescriptionCache, model: ModelInfo = MODEL, prompt: str = "What?", longest: int = 300
) -> dict[str, str]:
    with cache.open(model, prompt, longest) as found:
        return found.texts


def keep(cache: DescriptionCache, *batches: dict[str, str], model: ModelInfo = MODEL) -> Path:
    """Keep these as one process would; the file that they are in."""
    before = set(cache.folder.rglob("*.jsonl"))
    with cache.open(model, "What?", 300) as descriptions:
        for batch in batches:
            descriptions.keep(batch)
    [file] = set(cache.folder.rglob("*.jsonl")) - before
    return file


@pytest.fixture
def cache(tmp_path: Path) -> DescriptionCache:
    return DescriptionCache(tmp_path / "descriptions")


def test_any_text_comes_back(cache: DescriptionCache) -> None:
    keep(cache, {"a": "A train.", "b": ""}, {"c": ODD})
    assert kept(cache) == {"a": "A train.", "b": "", "c": ODD}
    assert cache.trouble is None


def test_nothing_is_made_where_nothing_is_kept(cache: DescriptionCache) -> None:
    assert kept(cache) == {}
    assert not cache.folder.exists()


def test_it_lies_in_the_users_cache() -> None:
    file = keep(DescriptionCache(), {"a": "A train."})
    assert file.is_relative_to(cache_folder() / "descriptions")


def test_each_batch_is_on_disk_before_the_next(cache: DescriptionCache) -> None:
    with cache.open(MODEL, "What?", 300) as descriptions:
        descriptions.keep({"a": "A train."})
        assert kept(cache) == {"a": "A train."}
        descriptions.keep({"b": "A cake."})
        assert kept(cache) == {"a": "A train.", "b": "A cake."} == descriptions.texts


def test_words_are_of_one_model_prompt_and_length(cache: DescriptionCache) -> None:
    keep(cache, {"a": "A train."})
    others: list[dict[str, object]] = [
        {"name": "hub/other"},
        {"name": "hub/model, random weights (seed 0)"},
        {"revision": "def"},
        {"dtype": "bfloat16"},
        {"layers": 4},
    ]
    assert [kept(cache, MODEL.model_copy(update=other)) for other in others] == [{}] * len(others)
    assert kept(cache, prompt="What? ") == {}
    assert kept(cache, longest=299) == {}
    assert kept(cache) == {"a": "A train."}


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_model_trained_on_in_its_folder_is_another(cache: DescriptionCache, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "README.md"):
        (folder / name).write_bytes(b"1234")
    model = MODEL.model_copy(update={"name": str(folder)})
    keep(cache, {"a": "A train."}, model=model)
    (folder / "README.md").write_text("New words on an old model.")
    assert kept(cache, model) == {"a": "A train."}
    status = (folder / file).stat()
    os.utime(folder / file, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))  # of the same size
    assert kept(cache, model) == {}


def test_a_torn_line_costs_only_itself(cache: DescriptionCache) -> None:
    """However far a killed process came with its last record."""
    file = keep(cache, {"a": "A train."}, {"b": ODD})
    whole = file.read_bytes()
    last = len(whole.rstrip(b"\n").rpartition(b"\n")[0]) + 1
    for end in range(last, len(whole) - 1):
        file.write_bytes(whole[:end])
        assert kept(cache) == {"a": "A train."}
    file.write_bytes(whole[:-1])  # only the line's end is missing
    assert kept(cache) == {"a": "A train.", "b": ODD}


def test_damage_is_passed_over(cache: DescriptionCache) -> None:
    file = keep(cache, {"a": "A train."})
    damage = [
        b"\0" * 64,
        b"\xff\xfe{",
        b"{",
        b"[" * 100_000,
        b'{"image": "x", "text": 3}',
        b'{"image": ["x"], "text": "t"}',
        b'{"text": "t"}',
        b"[1]",
    ]
    file.write_bytes(b"\n".join(damage) + b"\n" + file.read_bytes())
    (file.parent / "folder.jsonl").mkdir()
    (file.parent / "gone.jsonl").symlink_to("nowhere")
    assert kept(cache) == {"a": "A train."}


def test_many_write_at_once_and_all_is_read(cache: DescriptionCache) -> None:
    with cache.open(MODEL, "What?", 300) as one, cache.open(MODEL, "What?", 300) as two:
        one.keep({"a": "A train.", "b": "first"})
        two.keep({"b": "second", "c": "A cake."})
        one.keep({"d": "A house."})
    assert len(list(cache.folder.rglob("*.jsonl"))) == 2
    # Of two texts every later scan takes the same one: the older file's.
    assert kept(cache) == {"a": "A train.", "b": "first", "c": "A cake.", "d": "A house."}
    keep(cache, {"b": "third"})
    assert kept(cache)["b"] == "first"


def test_a_killed_process_leaves_what_it_kept(cache: DescriptionCache) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from vlmscope.core.data.description_cache import DescriptionCache\n"
        "from vlmscope.core.store.manifest import ModelInfo\n"
        "model = ModelInfo.model_validate_json(sys.argv[2])\n"
        "opened = DescriptionCache(Path(sys.argv[1])).open(model, 'What?', 300).__enter__()\n"
        "opened.keep({'a': 'A train.'})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(cache.folder), MODEL.model_dump_json()]
    assert subprocess.run(command, cwd=Path(__file__).parents[3], check=False).returncode == -9
    keep(cache, {"b": "A cake."})
    assert kept(cache) == {"a": "A train.", "b": "A cake."}


def test_a_folder_that_cannot_be_made_is_trouble_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = DescriptionCache(tmp_path / "file" / "descriptions")
    with cache.open(MODEL, "What?", 300) as descriptions:
        descriptions.keep({"a": "A train."})
        descriptions.keep({"b": "A cake."})
        assert descriptions.texts == {"a": "A train.", "b": "A cake."}
    assert cache.trouble is not None
    assert cache.trouble.startswith(f"Descriptions could not be kept in {tmp_path}") and "directory" in cache.trouble


def test_after_a_full_disk_it_goes_on_keeping(cache: DescriptionCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that failed half way leaves a torn line, which what follows does not continue."""

    def full(descriptor: int) -> None:
        os.truncate(descriptor, os.fstat(descriptor).st_size - 5)
        os.lseek(descriptor, 0, os.SEEK_END)
        raise OSError(28, "No space left on device")

    with cache.open(MODEL, "What?", 300) as descriptions:
        descriptions.keep({"a": "A train."})
        with monkeypatch.context() as patched:
            patched.setattr("vlmscope.core.data.description_cache.os.fsync", full)
            descriptions.keep({"b": "A cake."})
        assert cache.trouble is not None and cache.trouble.endswith(": No space left on device.")
        descriptions.keep({"c": "A house."})
        descriptions.keep({"d": "A dog."})
    assert kept(cache) == {"a": "A train.", "c": "A house.", "d": "A dog."}


def test_the_file_says_what_it_is_of(cache: DescriptionCache) -> None:
    file = keep(cache, {"a": "A train."})
    first, second = file.read_text(encoding="ascii").splitlines()
    assert json.loads(first) == {"model": MODEL.model_dump(), "prompt": "What?", "longest": 300}
    assert json.loads(second) == {"image": "a", "text": "A train."}
