"""What the model told once is kept; what cannot be read or written is as if it were not there."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from vlmscope.core.base.config import cache_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.manifest import ModelInfo
from vlmscope.core.worker.messages import PromotedAnswer
from vlmscope.core.worker.promoted_cache import kept_promoted, load_promoted, save_promoted

MODEL = ModelInfo(name="me/llava", revision="abc", architecture="llava + llama", dtype="float32", layers=4, neurons=32)
NEURON = Neuron(1, 2)
ANSWER = PromotedAnswer(
    NEURON, ("train", "\x1b[31m\ud800"), np.array([1.5, 0.25], np.float32), ("dog",), np.array([-2], np.float32)
)


def files() -> list[Path]:
    return [path for path in cache_folder().rglob("*") if path.is_file()]


def test_what_is_kept_comes_back_for_this_model_neuron_and_count_alone() -> None:
    assert load_promoted(MODEL, NEURON, 8) is None
    save_promoted(MODEL, ANSWER, 8)
    found = load_promoted(MODEL, NEURON, 8)
    assert found is not None
    assert (found.neuron, found.top, found.bottom) == (NEURON, ANSWER.top, ANSWER.bottom)
    np.testing.assert_array_equal(found.top_logits, ANSWER.top_logits)
    assert load_promoted(MODEL, NEURON, 9) is None
    assert load_promoted(MODEL, Neuron(1, 3), 8) is None
    assert load_promoted(MODEL.model_copy(update={"revision": "abd"}), NEURON, 8) is None


def test_the_neurons_that_are_kept_are_named() -> None:
    assert kept_promoted(MODEL, 8) == frozenset()
    save_promoted(MODEL, ANSWER, 8)
    (path,) = files()
    for other in (".1-3.json.ab.partial", "x.json", "1-.json", "1-3.txt"):
        path.with_name(other).write_text("")
    assert kept_promoted(MODEL, 8) == {NEURON}
    assert kept_promoted(MODEL, 9) == frozenset()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"top": 3}', '{"top": [["a", "b"]], "bottom": []}'])
def test_a_damaged_file_counts_as_none(damage: str) -> None:
    save_promoted(MODEL, ANSWER, 8)
    (path,) = files()
    path.write_text(damage)
    assert load_promoted(MODEL, NEURON, 8) is None


def test_a_folder_that_cannot_be_written_is_no_failure() -> None:
    cache_folder().parent.mkdir(parents=True, exist_ok=True)
    cache_folder().write_text("in the way")
    save_promoted(MODEL, ANSWER, 8)
    assert load_promoted(MODEL, NEURON, 8) is None


def test_a_model_without_a_fingerprint_has_the_cache_folder_it_had_before() -> None:
    """The folder's name as the versions without fingerprints made it; see also ``ModelInfo``."""
    save_promoted(MODEL, ANSWER, 8)
    fields = ("name", "revision", "architecture", "dtype", "layers", "neurons")
    identity = json.dumps([1, 8, {name: getattr(MODEL, name) for name in fields}], sort_keys=True)
    (path,) = files()
    assert path.parent.name == hashlib.sha256(identity.encode()).hexdigest()[:24]
    assert load_promoted(MODEL.model_copy(update={"weights": "0f"}), NEURON, 8) is None
