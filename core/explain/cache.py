"""Answers that were paid for, kept so that none is paid twice.

One file for each request, named by the SHA-256 of canonical JSON of everything that the answer depends on. Only
validated answers are kept, never the key. A damaged file counts as none.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vlmscope.core.base.config import cache_folder
from vlmscope.core.explain.prompt import PROMPT_VERSION
from vlmscope.core.llm.messages import ChatRequest, ImagePart
from vlmscope.core.notebook.explanation import Explanation

SCHEMA_VERSION = 1

_explanation = TypeAdapter(Explanation)


def cache_key(request: ChatRequest, base_url: str, samples: Sequence[int]) -> str:
    """64 hexadecimal digits: schema and prompt version, server, model, parameters, pictures, tokens and activations.

    Tokens and activations are in the request's words, pictures count by their SHA-256.
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
    """A folder of answers; several processes may use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: by default one in the user's cache folder; made when there is something to keep."""
        self.folder = cache_folder() / "explain" if folder is None else folder

    def read(self, key: str) -> Explanation | None:
        """The answer to the request of this key, as it was paid for, or None."""
        try:
            return _explanation.validate_json((self.folder / f"{key}.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, key: str, explanation: Explanation) -> None:
        """Keep a validated answer. A folder that cannot be written costs no answer: nothing is kept then."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_explanation.dump_json(explanation, indent=1))
                Path(name).replace(self.folder / f"{key}.json")
            except OSError:
                Path(name).unlink(missing_ok=True)
