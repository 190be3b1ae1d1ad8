"""Promoted tokens that the model has told once, kept in the user's cache folder: no model is needed the second time."""

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path

import numpy as np

from vlmscope.core.base.config import cache_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.manifest import ModelInfo
from vlmscope.core.worker.messages import PromotedAnswer

SCHEMA = 1


def _folder(model: ModelInfo, count: int) -> Path:
    identity = json.dumps([SCHEMA, count, model.model_dump()], sort_keys=True)
    return cache_folder() / "promoted" / hashlib.sha256(identity.encode()).hexdigest()[:24]


def _file(model: ModelInfo, neuron: Neuron, count: int) -> Path:
    return _folder(model, count) / f"{neuron.layer}-{neuron.index}.json"


def kept_promoted(model: ModelInfo, count: int) -> frozenset[Neuron]:
    """The neurons of which something was kept."""
    try:
        names = [path.stem.split("-") for path in _folder(model, count).glob("[0-9]*-[0-9]*.json")]
        return frozenset(Neuron(int(layer), int(index)) for layer, index in names)
    except (OSError, ValueError):
        return frozenset()


def load_promoted(model: ModelInfo, neuron: Neuron, count: int) -> PromotedAnswer | None:
    """What was kept, or None; a file that cannot be read counts as none."""
    try:
        found = json.loads(_file(model, neuron, count).read_text(encoding="utf-8"))
        sides = []
        for side in ("top", "bottom"):
            words = tuple(str(word) for word, _ in found[side])
            sides.append((words, np.array([value for _, value in found[side]], dtype=np.float32)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    (top, top_logits), (bottom, bottom_logits) = sides
    return PromotedAnswer(neuron, top, top_logits, bottom, bottom_logits)


def save_promoted(model: ModelInfo, answer: PromotedAnswer, count: int) -> None:
    """Keep ``answer``; where that is not possible (a full disk, a read-only home) it is only asked for again."""
    path = _file(model, answer.neuron, count)
    text = json.dumps(
        {
            "top": list(zip(answer.top, answer.top_logits.tolist(), strict=True)),
            "bottom": list(zip(answer.bottom, answer.bottom_logits.tolist(), strict=True)),
        }
    )
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
