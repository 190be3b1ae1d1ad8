"""Which fields of a listing's records a scan keeps, within the bounds of core/base/fields.py."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vlmscope.core.base.fields import MOST, NAME_LENGTH, VALUE_LENGTH, Fields, Scalar, value_text
from vlmscope.core.base.text import plain

NOT_FIELDS = ("image", "description", "conversations")  #: what a scan reads itself


def kept_fields(records: Sequence[Mapping[str, Any]]) -> tuple[list[Fields], list[str]]:
    """The fields of each record, and a note on each that is left out for its size or its number.

    Lists, objects, null, empty texts and numbers that are not finite are not fields, without a note.
    """
    names: dict[str, None] = {}
    notes, long = list[str](), dict[str, int]()
    for record in records:
        for name, value in record.items():
            if name in NOT_FIELDS or name in names or _scalar(value) is None:
                continue
            names[name] = None
    unusable = [name for name in names if not _is_name(name)]
    if unusable:
        shown = ", ".join(plain(name, 30) for name in unusable[:3])
        notes.append(f"Fields with a name of more than {NAME_LENGTH} characters, or with '=', are not kept: {shown}.")
    usable = [name for name in names if _is_name(name)]
    if len(usable) > MOST:
        left_out = ", ".join(plain(name, 30) for name in usable[MOST : MOST + 3])
        notes.append(f"Of {len(usable)} fields the first {MOST} are kept, without {left_out} and those that follow.")
    kept = usable[:MOST]
    found = list[Fields]()
    for record in records:
        own: dict[str, Scalar] = {}
        for name in kept:
            value = _scalar(record.get(name))
            if value is None:
                continue
            if len(value_text(value)) > VALUE_LENGTH:
                long[name] = long.get(name, 0) + 1
            else:
                own[name] = value
        found.append(own)
    for name, count in long.items():
        notes.append(f"Field {plain(name)}: {count:,} values of more than {VALUE_LENGTH} characters are not kept.")
    return found, notes


def _scalar(value: Any) -> Scalar | None:
    """The value if it is a field's, or None."""
    if isinstance(value, str):
        return value if value and _is_whole(value) else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else None


def _is_name(name: str) -> bool:
    return 0 < len(name) <= NAME_LENGTH and "=" not in name and name == name.strip() and _is_whole(name)


def _is_whole(text: str) -> bool:
    """Whether it has no half characters: JSON can hold ``\\ud83d``, which no UTF-8 file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
