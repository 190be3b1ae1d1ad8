"""The notebook's columns: texts that may hold anything, JSON, and the values made of them.

A text is TEXT, or a BLOB of UTF-8 with lone surrogates where it has any, which TEXT cannot hold.
"""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.validation import first_problem
from vlmscope.core.notebook.check import CausalCheck
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation
from vlmscope.core.notebook.values import Resume, Verdict

T = TypeVar("T")
JSON_VALUES = 1_000_000  #: in an object or list, at most: a score of 60 samples has some thousands
_EXPLANATION = TypeAdapter(Explanation)
_FAILURE = TypeAdapter(FailedExplanation)
_CHECK = TypeAdapter(CausalCheck)


class BadRecord(Exception):  # noqa: N818  # never leaves the notebook: ``NotebookFile`` makes a NotebookError of it
    """A record that this vlmscope could not have written."""


def packed(text: str) -> str | bytes:
    """``text`` as a value for SQLite, whatever is in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def unpacked(value: object) -> str:
    """The text that ``packed`` was given. Raises BadRecord if ``value`` is not a text that ``packed`` gave."""
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
        text = unpacked(stored)
        if text[:1] in ("[", "{") and text.count(",") > JSON_VALUES:
            raise BadRecord(f"a record has more than {JSON_VALUES:,} values")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"a record is not JSON: {error}") from error


def verdict_from(value: object) -> Verdict | None:
    """A verdict from its column."""
    try:
        return None if value is None else Verdict(str(value))
    except ValueError as error:
        raise BadRecord(str(error)) from error


def tags_from(stored: object) -> tuple[str, ...]:
    """Tags from a JSON column."""
    found = from_json(stored)
    if not isinstance(found, list) or not all(isinstance(tag, str) for tag in found):
        raise BadRecord("tags are not a list of texts")
    return tuple(found)


def explanation_from(
    source: object, model: object, prompt_version: object, created: object, text: object, details: object
) -> Explanation:
    """An explanation from its columns."""
    columns = {"source": source, "model": model, "prompt_version": prompt_version, "created": created, "text": text}
    return _read(_EXPLANATION, details, {name: unpacked(value) for name, value in columns.items()})


def failure_from(body: object) -> FailedExplanation:
    """A failure from its column."""
    return _read(_FAILURE, body, {})


def check_to_json(check: CausalCheck) -> str | bytes:
    """``check`` for its column.

    Raises:
        UsageError: if it holds a number that is not finite, or more values than are read back.
    """
    stored = to_json(_CHECK.dump_python(check, mode="json"))
    if unpacked(stored).count(",") > JSON_VALUES:
        raise UsageError("The check is too large for the notebook.", "Check fewer neurons, or with fewer controls.")
    return stored


def check_from(body: object, neuron: Neuron | None) -> CausalCheck:
    """A check from its columns; ``neuron`` is None for a set's."""
    found = _read(_CHECK, body, {})
    if not found.neurons or found.of_set != (neuron is None) or (not found.of_set and found.neurons != (neuron,)):
        raise BadRecord("a check is of other neurons than its row")
    if found.p is not None and (found.effect is None or not found.matched):
        raise BadRecord("a check has a p without an effect or controls")
    return found


def _read(adapter: TypeAdapter[T], stored: object, columns: dict[str, str]) -> T:
    """A frozen dataclass: some of its fields are ``columns``, all others are in the JSON ``stored``."""
    rest = from_json(stored)
    try:
        found = adapter.validate_python({**rest, **columns})
    except ValidationError as error:
        raise BadRecord(f"a record cannot be read: {first_problem(error)}") from error
    except TypeError as error:
        raise BadRecord(f"a record cannot be read: {error}") from error
    if {*rest, *columns} != vars(found).keys():  # what has a default is written, too
        raise BadRecord("a record lacks fields, or has more than this vlmscope knows")
    return found


def body_from(stored: object) -> dict[str, object]:
    """A score's body from its column."""
    found = from_json(stored)
    if not isinstance(found, dict):
        raise BadRecord("a score is not a JSON object")
    return found


def resume_from(value: object) -> Resume:
    """The place of the last session from its column."""
    try:
        found = dict(from_json(value))
        words = found["filter"], found["order"], found.get("places", "")  # which earlier versions did not keep
        if not all(isinstance(word, str) for word in words):
            raise BadRecord("the place to resume at holds no texts")
        return Resume(Neuron.parse(found["neuron"]), *words)
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise BadRecord(f"the place to resume at cannot be read: {error}") from error
