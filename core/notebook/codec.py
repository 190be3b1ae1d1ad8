"""The notebook's columns: texts that may hold anything, JSON, and the values made of them.

A text is TEXT, or a BLOB of UTF-8 with lone surrogates where it has any, which TEXT cannot hold.
"""

import json
from typing import Any

from vlmscope.core.base.errors import UsageError
from vlmscope.core.notebook.explanation import Confidence, Explanation, FailedExplanation, Source
from vlmscope.core.notebook.values import Verdict


class BadRecord(Exception):  # noqa: N818  # never leaves the notebook: ``NotebookFile`` turns it into words
    """A record that this vlmscope could not have written."""


def packed(text: str) -> str | bytes:
    """``text`` as a value for SQLite, whatever is in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def unpacked(value: object) -> str:
    """The text that ``packed`` was given.

    Raises:
        BadRecord: if it was given none.
    """
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise BadRecord(f"a text cannot be decoded: {error}") from error
    if not isinstance(value, str):
        raise BadRecord(f"{value!r} stands where a text should")
    return value


def to_json(value: object) -> str | bytes:
    """``value`` for a JSON column.

    Raises:
        UsageError: if it holds a number that is not finite, which JSON does not know.
    """
    try:
        # Escaped, two lone surrogates side by side would be read back as one character.
        return packed(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except ValueError as error:
        raise UsageError(
            f"The notebook cannot keep this value: {error}.", "Write None where there is no number."
        ) from error


def from_json(stored: object) -> Any:
    """What ``to_json`` was given; tuples have become lists."""
    try:
        return json.loads(unpacked(stored))
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"a record is no JSON: {error}") from error


def verdict_from(value: object) -> Verdict | None:
    """A verdict from its column."""
    try:
        return None if value is None else Verdict(str(value))
    except ValueError as error:
        raise BadRecord(str(error)) from error


def explanation_from(
    source: object, model: object, prompt_version: object, created: object, text: object, details: object
) -> Explanation:
    """An explanation from its columns."""
    try:
        rest = dict(from_json(details))
        rest["confidence"] = None if rest["confidence"] is None else Confidence(rest["confidence"])
        rest["visual_phrases"] = tuple(rest["visual_phrases"])
        rest["samples"] = tuple(rest["samples"])
        return Explanation(
            text=unpacked(text),
            source=Source(unpacked(source)),
            created=unpacked(created),
            model=unpacked(model),
            prompt_version=unpacked(prompt_version),
            **rest,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"an explanation cannot be read: {error}") from error


def failure_from(body: object) -> FailedExplanation:
    """A failure from its column."""
    try:
        return FailedExplanation(**from_json(body))
    except TypeError as error:
        raise BadRecord(f"a failure cannot be read: {error}") from error
