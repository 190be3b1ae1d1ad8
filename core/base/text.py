"""Text from outside (captions, file names, model and API output) made safe to print.

Captions can hold terminal escape sequences, and right-to-left overrides that reorder a whole line. Callers show the
result with markup turned off: brackets are left as they are.
"""

import re

# C0 and C1 controls, DEL, and the bidirectional formatting characters (Unicode UAX #9): none has a width of its own.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\u2028\u2029]")
_NOT_PRINTED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\u2028\u2029\ud800-\udfff]"
)
# C0 and C1 controls and DEL, but for tab and line ends: what a terminal may obey.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: str, limit: int | None = None) -> str:
    """``text`` on one line, control characters replaced by a space, cut at ``limit`` characters with an ellipsis."""
    clean = _UNSAFE.sub(" ", text)
    # A lone surrogate (from a mis-encoded file name) cannot be written to a UTF-8 terminal.
    clean = clean.encode("utf-8", "replace").decode("utf-8")
    if limit is not None and len(clean) > limit:
        return clean[: max(0, limit - 1)] + "…"
    return clean


def written(text: str) -> str:
    """A note of several lines as it is kept: a space for each control character but tabs and line ends."""
    return _CONTROLS.sub(" ", text)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the name of its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def counted(number: int, noun: str) -> str:
    """``1 request``, ``2,000 requests``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def escaped(text: str) -> str:
    """``text`` on one line without control characters: JSON's escapes for them and for the backslash."""
    text = text.replace("\\", "\\\\")
    return _NOT_PRINTED.sub(lambda match: _SHORT.get(match[0], f"\\u{ord(match[0]):04x}"), text)
