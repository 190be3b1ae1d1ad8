"""Promoted tokens that the model has told once, kept in the user's cache folder: no model is needed the second time."""

import hashlib
import json
import re

import numpy as np

from vlmscope.core.base.cache import FileCache
from vlmscope.core.base.config import cache_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.manifest import ModelInfo
from vlmscope.core.worker.messages import PromotedAnswer

SCHEMA = 1
_KEY = re.compile(r"\d+-\d+")


def _files(model: ModelInfo, count: int) -> FileCache:
    identity = json.dumps([SCHEMA, count, model.model_dump()], sort_keys=True)
    return FileCache(cache_folder() / "promoted" / hashlib.sha256(identity.encode()).hexdigest()[:24])


def _key(neuron: Neuron) -> str:
    return f"{neuron.layer}-{neuron.index}"


def kept_promoted(model: ModelInfo, count: int) -> frozenset[Neuron]:
    """The neurons of which something was kept."""
    return frozenset(Neuron(*map(int, key.split("-"))) for key in _files(model, count).kept() if _KEY.fullmatch(key))


def load_promoted(model: ModelInfo, neuron: Neuron, count: int) -> PromotedAnswer | None:
    """What was kept, or None; a file that cannot be read counts as none."""

    def parse(kept: bytes) -> PromotedAnswer:
        sides = json.loads(kept)
        (top, top_logits), (bottom, bottom_logits) = (
            (tuple(str(word) for word, _ in side), np.array([value for _, value in side], dtype=np.float32))
            for side in (sides["top"], sides["bottom"])
        )
        return PromotedAnswer(neuron, top, top_logits, bottom, bottom_logits)

    return _files(model, count).read(_key(neuron), parse)


def save_promoted(model: ModelInfo, answer: PromotedAnswer, count: int) -> None:
    """Keep ``answer``; where that is not possible (a full disk, a read-only home) it is only asked for again."""
    sides = {
        "top": list(zip(answer.top, answer.top_logits.tolist(), strict=True)),
        "bottom": list(zip(answer.bottom, answer.bottom_logits.tolist(), strict=True)),
    }
    _files(model, count).write(_key(answer.neuron), json.dumps(sides).encode("ascii"))
