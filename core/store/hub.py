"""Whether loading a model would download it: a scan from elsewhere may name any model of the hub."""

import json
import re
from pathlib import Path

from vlmscope.core.base.demo import DEMO

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")  #: of a model on the hub; other names are of folders
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  #: each alone, or in the parts that an index beside it names


def would_download(name: str, revision: str | None, *, weights: bool = True) -> bool:
    """Whether the model is neither a folder nor whole in the hub's cache, and the hub may be asked.

    Args:
        name: what ``from_pretrained`` takes, or ``demo``.
        weights: False where configuration and processor are enough.
    """
    if name == DEMO or not _HUB_NAME.fullmatch(name) or Path(name).exists():
        return False
    from huggingface_hub import constants, try_to_load_from_cache  # late: 0.1 s, and most models are folders

    def cached(file: str) -> Path | None:
        found = try_to_load_from_cache(name, file, revision=revision)
        return Path(found) if isinstance(found, str) else None

    def has_parts(index: Path | None) -> bool:
        if index is None:
            return False
        try:
            parts = json.loads(index.read_bytes())["weight_map"].values()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False
        return all(isinstance(part, str) and cached(part) is not None for part in parts)

    try:
        if constants.HF_HUB_OFFLINE:
            return False
        whole = not weights or any(cached(one) or has_parts(cached(f"{one}.index.json")) for one in _WEIGHTS)
        return cached("config.json") is None or not whole
    except (OSError, ValueError):  # a name or a revision that the hub does not have: loading gives the reason
        return False
