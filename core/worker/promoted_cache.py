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
    """Units are kept: a model's are the same in scans of one pole and of both."""
    return f"{neuron.layer}-{neuron.unit}"


def _unit(key: str) -> Neuron:
    layer, unit = map(int, key.split("-"))
    return Neuron(layer, unit)


def kept_promoted(model: ModelInfo, count: int) -> frozenset[Neuron]:
    """The units of which something was kept (``Neuron.whole``)."""
    return frozenset(_unit(key) for key in _files(model, count).kept() if _KEY.fullmatch(key))


def load_promoted(model: ModelInfo, neuron: Neuron, count: int) -> PromotedAnswer | None:
    """What was kept, or None; a file that cannot be read counts as none."""

    def parse(kept: bytes) -> PromotedAnswer:
        sides = json.loads(kept)
        (top, top_logits), (bottom, bottom_logits) = (
            (tuple(str(word) for word, _ in side), np.array([value for _, value in side], dtype=np.float32))
            for side in (sides["top"], sides["bottom"])
        )
        return PromotedAnswer(neuron.whole, top, top_logits, bottom, bottom_logits).of_pole(neuron)

    return _files(model, count).read(_key(neuron), parse)


def save_promoted(model: ModelInfo, answer: PromotedAnswer, count: int) -> None:
    """Keep ``answer``; where that is not possible (a full disk, a read-only home) it is only asked for again."""
    answer = answer.of_pole(answer.neuron.whole)
    sides = {
        "top": list(zip(answer.top, answer.top_logits.tolist(), strict=True)),
        "bottom": list(zip(answer.bottom, answer.bottom_logits.tolist(), strict=True)),
    }
    _files(model, count).write(_key(answer.neuron), json.dumps(sides).encode("ascii"))
