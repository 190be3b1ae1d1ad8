"""Fields of a sample: what its listing has on it beside image and description, such as its culture.

A scan keeps those that are one value each. They are bounded, as they stand in the line of every sample.
"""

from collections.abc import Mapping

Scalar = str | int | float | bool
Fields = Mapping[str, Scalar]  #: by name, in the listing's order

MOST = 32  #: fields of a scan
NAME_LENGTH, VALUE_LENGTH = 64, 200  #: characters, at most


def value_text(value: Scalar) -> str:
    """A value as a user types it: ``true``, ``0.5``, ``Korean``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_value(value: Scalar, typed: str) -> bool:
    """Whether a value is the one that was typed: a text to the letter, a number if it is equal."""
    if isinstance(value, str | bool):
        return value_text(value) == typed
    try:
        return float(typed) == value
    except (ValueError, OverflowError):
        return False
