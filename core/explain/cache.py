"""Answers that were paid for, kept so that none is paid twice: validated ones only, never the API key."""

from collections.abc import Sequence

from pydantic import TypeAdapter

from vlmscope.core.base.cache import FileCache
from vlmscope.core.base.config import cache_folder
from vlmscope.core.explain.prompt import PROMPT_VERSION
from vlmscope.core.llm.messages import ChatRequest, ImagePart, request_key
from vlmscope.core.notebook.explanation import Explanation

SCHEMA_VERSION = 1

_explanation = TypeAdapter(Explanation)


def cache_key(request: ChatRequest, base_url: str, samples: Sequence[int], prompt_version: str = PROMPT_VERSION) -> str:
    """The request's key: tokens and activations are in the request's words, pictures count by their SHA-256."""
    parts = [part.sha256 if isinstance(part, ImagePart) else {"text": part.text} for part in request.parts]
    return request_key(
        request,
        schema_version=SCHEMA_VERSION,
        prompt_version=prompt_version,
        base_url=base_url,
        parts=parts,
        samples=list(samples),
    )


def _files() -> FileCache:
    return FileCache(cache_folder() / "explain", private=True)


def read_cached(key: str) -> Explanation | None:
    """The answer to the request of this key, as it was paid for, or None."""
    return _files().read(key, _explanation.validate_json)


def write_cached(key: str, explanation: Explanation) -> None:
    """Keep a validated answer, if the folder can be written."""
    _files().write(key, _explanation.dump_json(explanation, indent=1))
