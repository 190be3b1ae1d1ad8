"""A cache costs nothing where it fails, and finds what the version before has kept."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from vlmscope.core.base.cache import FileCache
from vlmscope.core.base.config import Api, cache_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.explain.cache import cache_key as explain_key
from vlmscope.core.explain.cache import read_cached, write_cached
from vlmscope.core.llm.messages import ChatRequest, ImagePart, TextPart
from vlmscope.core.notebook.explanation import Confidence, Explanation, Source
from vlmscope.core.scoring.simulators.api_text import build_request
from vlmscope.core.scoring.simulators.api_text import cache_key as simulate_key
from vlmscope.core.store.manifest import ModelInfo
from vlmscope.core.worker.promoted_cache import load_promoted

PAID = """{
 "text": "trains",
 "source": "api",
 "created": "2026-01-02T03:04:05+00:00",
 "pattern_found": true,
 "visual_phrases": [
  "train"
 ],
 "text_cue": "",
 "confidence": "high",
 "model": "gpt-4o-2024-08-06",
 "prompt_version": "explain-1",
 "samples": [
  7,
  9
 ],
 "input_tokens": 10,
 "output_tokens": 5,
 "cost_usd": 0.01
}"""


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "a" / "b")
    assert cache.read("k", json.loads) is None
    assert cache.kept() == frozenset()
    cache.write("k", b"[1]")
    cache.write("k", b"[2]")
    assert cache.read("k", json.loads) == [2]
    assert [path.name for path in cache.folder.iterdir()] == ["k.json"]
    assert cache.kept() == {"k"}


def test_private_files_are_the_users_alone(tmp_path: Path) -> None:
    FileCache(tmp_path, private=True).write("k", b"")
    assert stat.S_IMODE((tmp_path / "k.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[]", b"3", b"{}"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, damage: bytes) -> None:
    cache = FileCache(tmp_path)
    cache.write("k", damage)
    assert cache.read("k", lambda kept: json.loads(kept)["field"]) is None


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = FileCache(tmp_path / "file" / "cache")
    cache.write("k", b"[1]")
    assert cache.read("k", json.loads) is None


def test_an_explanation_paid_for_earlier_is_found() -> None:
    """Key and content are those that vlmscope 0.1.0 wrote."""
    parts = (TextPart("0|A"), ImagePart(name="a.png", png=b"png", width=24, height=24))
    request = ChatRequest("gpt-4o", "Explain.", parts, "s", {"type": "object"}, 400)
    key = explain_key(request, "https://a/v1", (7, 9))
    assert key == "bf14c0bfae0d933585e375653b2080855a20ffbdd1f916953653c85ea2c3c54a"
    folder = cache_folder() / "explain"
    folder.mkdir(parents=True)
    (folder / f"{key}.json").write_text(PAID)
    found = read_cached(key)
    assert found == Explanation(
        text="trains",
        source=Source.API,
        created="2026-01-02T03:04:05+00:00",
        visual_phrases=("train",),
        confidence=Confidence.HIGH,
        model="gpt-4o-2024-08-06",
        prompt_version="explain-1",
        samples=(7, 9),
        input_tokens=10,
        output_tokens=5,
        cost_usd=0.01,
    )
    write_cached("again", found)
    assert (folder / "again.json").read_text() == PAID


def test_a_simulation_paid_for_earlier_has_the_same_key() -> None:
    """The key that vlmscope 0.1.0 gave to the request of prompt version simulate-1."""
    said = Explanation(text="trains", source=Source.USER, created="2026-01-02T03:04:05+00:00", text_cue="train")
    key = simulate_key(build_request(said, (" A", " tra", "in|", "\n"), Api()), "https://a/v1")
    assert key == "a0b687d3e46de66c822822517f8a58d7c044d339224777cbbed67fe533ed1836"


def test_promoted_tokens_of_earlier_are_found() -> None:
    model = ModelInfo(
        name="me/llava", revision="abc", architecture="llava + llama", dtype="float32", layers=4, neurons=32
    )
    folder = cache_folder() / "promoted" / "c4e7c2f74ed949bb91c46434"
    folder.mkdir(parents=True)
    (folder / "1-2.json").write_text('{"top": [["train", 1.5], ["\\ud800", 0.25]], "bottom": [["dog", -2.0]]}')
    found = load_promoted(model, Neuron(1, 2), 8)
    assert found is not None
    assert (found.top, found.bottom) == (("train", "\ud800"), ("dog",))
    assert found.top_logits.tolist() == [1.5, 0.25]
    assert found.bottom_logits.dtype == np.float32
