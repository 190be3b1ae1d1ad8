"""The words of a server's error, from a body of any form.

OpenAI has ``{"error": {"message": ..., "code": ...}}``, FastAPI ``{"detail": ...}``, LM Studio ``{"error": "..."}``,
Mistral ``{"message": {"detail": [...]}}``, OpenRouter adds ``metadata.raw``; proxies send HTML or text.
"""

import html
import json
import re
from dataclasses import dataclass

from vlmscope.core.base.text import plain

WORDS_LENGTH = 300  #: characters of a server's words that are shown
_HTML_LENGTH = 20_000  #: characters of a page that are searched for words
_DEPTH = 6  #: of a body that is searched for words
_ITEMS = 3  #: of a list of errors that are shown

#: Where words are, the most telling first.
_KEYS = ("message", "msg", "detail", "error", "errors", "error_description", "description", "reason", "title", "raw")
_NOT_SHOWN = re.compile(r"<(script|style)\b.*?(</\1\s*>|\Z)|<!--.*?(-->|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class ServerError:
    """An error as a body describes it.

    Attributes:
        words: for a person, on one line; empty if the body has none.
        codes: its ``code`` and ``type``, as far as there are any.
        param: which part of the request is meant; may be empty.
        status: an HTTP status that the body itself names, or 0.
        text: the whole body.
    """

    words: str = ""
    codes: frozenset[str] = frozenset()
    param: str = ""
    status: int = 0
    text: str = ""


def read_error(text: str) -> ServerError:
    """Read the body of an error."""
    try:
        body: object = json.loads(text)
    except (ValueError, RecursionError):
        return ServerError(_line(_page_words(text)), text=text)
    found = _error_object(body)
    codes = [found.get("code"), found.get("type"), found.get("status")]
    return ServerError(
        words=_line(_words(body) or text),
        codes=frozenset(str(code) for code in codes if isinstance(code, str | int)),
        param=str(found.get("param") or ""),
        status=next(filter(None, map(_status, (*codes, found.get("status_code")))), 0),
        text=text,
    )


def _error_object(body: object) -> dict[str, object]:
    """The object that has ``code`` and ``type``: the body's ``error`` if that is one, else the body."""
    if isinstance(body, list) and body:
        body = body[0]  # Google's list of one
    if not isinstance(body, dict):
        return {}
    inner = body.get("error")
    return inner if isinstance(inner, dict) else body


def _status(value: object) -> int:
    """An HTTP status of an error, or 0."""
    if isinstance(value, str) and len(value) == 3 and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else 0


def _words(value: object, depth: int = 0) -> str:
    if isinstance(value, str):
        return value.strip()
    if depth > _DEPTH:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(item, depth + 1) for item in value[:_ITEMS])))
    if not isinstance(value, dict):
        return ""
    by_key = {str(key).lower(): item for key, item in value.items()}
    found = next(filter(None, (_words(by_key.get(key), depth + 1) for key in _KEYS)), "")
    where = by_key.get("loc")
    if found and isinstance(where, list):
        found = f"{'.'.join(map(str, where[:8]))}: {found}"
    more = _words(by_key.get("metadata"), depth + 1)
    return f"{found}: {more}" if found and more else found or more


def _page_words(text: str) -> str:
    """The text of a page without its tags; other text as it is."""
    if not text.lstrip().startswith("<"):
        return text
    return html.unescape(_TAG.sub(" ", _NOT_SHOWN.sub(" ", text[:_HTML_LENGTH])))


def _line(text: str) -> str:
    """One line without repeated spaces, not longer than ``WORDS_LENGTH``."""
    return plain(" ".join(text[:_HTML_LENGTH].split()), WORDS_LENGTH).strip().rstrip(".")
