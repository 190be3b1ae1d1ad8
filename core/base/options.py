"""Options of the form ``name=value`` that are passed on to a library: read, and written in one form."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vlmscope.core.base.errors import UsageError

_NAME = re.compile(r"[A-Za-z_]\w*")
_WORDS = {"True": True, "False": False, "None": None}  #: as Python writes them


def read_options(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """The values of ``name=value`` texts, by name: JSON where they are, else plain text.

    Args:
        option: as typed, such as ``--image-option``, for messages.

    Raises:
        UsageError: if a text has no name, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError(f"{option} is {text!r}, not name=value.", f"Write {option} do_pan_and_scan=true.")
        if name in found:
            raise UsageError(f"{option} has {name} twice.", "Leave one out.")
        try:
            found[name] = _WORDS[value] if value in _WORDS else json.loads(value)
        except ValueError:
            found[name] = value
    return found


def written_options(values: Mapping[str, Any]) -> tuple[str, ...]:
    """``name=value`` texts that ``read_options`` reads back: JSON, by name, so that equal options are equal texts."""
    return tuple(f"{name}={json.dumps(values[name], sort_keys=True)}" for name in sorted(values))
