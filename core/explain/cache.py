"""Answers that were paid for, kept so that none is paid twice.

One file for each request, named by the SHA-256 of canonical JSON of everything that the answer depends on. Only
validated answers are kept, never the API key.
"""

import json
from collections.abc import Sequence
from hashlib import sha256

from pydantic import TypeAdapter

from vlmscope.core.base.cache import FileCache
from vlmscope.core.base.config import cache_folder
from vlmscope.core.explain.prompt import PROMPT_VERSION
from vlmscope.core.llm.messages import ChatRequest, ImagePart
from vlmscope.core.notebook.explanation import Explanation

SCHEMA_VERSION = 1

_explanation = TypeAdapter(Explanation)


def cache_key(request: ChatRequest, base_url: str, samples: Sequence[int]) -> str:
    """64 hexadecimal digits: schema and prompt version, server, model, parameters, pictures, tokens and activations.

    Tokens and activations are in the request's words, pictures count by their SHA-256. Whatever changes a key has every
    answer paid for again.
    """
    parts = [part.sha256 if isinstance(part, ImagePart) else {"text": part.text} for part in request.parts]
    everything = {
        "schema_version": SCHEMA_VERSION,
        "prompt_version": PROMPT_VERSION,
        "base_url": base_url,
        "model": request.model,
        "max_output_tokens": request.max_output_tokens,
        "schema": request.schema,
        "system": request.system,
        "parts": parts,
        "samples": list(samples),
    }
    return sha256(json.dumps(everything, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class ExplainCache:
    """The answers in the user's cache folder."""

    def __init__(self) -> None:
        self._files = FileCache(cache_folder() / "explain", private=True)

    def read(self, key: str) -> Explanation | None:
        """The answer to the request of this key, as it was paid for, or None."""
        return self._files.read(key, _explanation.validate_json)

    def write(self, key: str, explanation: Explanation) -> None:
        """Keep a validated answer, if the folder can be written."""
        self._files.write(key, _explanation.dump_json(explanation, indent=1))
