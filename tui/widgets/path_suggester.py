"""Completes the path of a picture while it is typed, as it stands in the line: quoted, or with its blanks escaped."""

import asyncio
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from textual.suggester import Suggester

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MOST = 20_000  #: names of a folder that are looked at
_ESCAPED = frozenset(" '\"\\")


def complete_path(typed: str) -> str | None:
    """``typed`` with the first picture or folder that begins so; None where nothing follows.

    A folder ends in ``/``, so that the next completion is in it.
    """
    quote = typed[:1] if typed[:1] in ("'", '"') else ""
    path = typed[1:] if quote else _unescaped(typed)
    if path is None or (quote and quote in path):
        return None  # the path has ended, and words follow
    folder, slash, begun = path.rpartition("/")
    try:
        with os.scandir(Path(f"{folder}{slash}" or ".").expanduser()) as entries:
            names = [one for one in islice(entries, MOST) if _fits(one, begun)]
            found = min(names, key=lambda one: one.name, default=None)
            if found is None:
                return None
            is_folder = found.is_dir()
    except (OSError, RuntimeError, ValueError):  # a folder that is not there, a home of no user, a zero byte
        return None
    rest = found.name[len(begun) :]
    if not quote:
        rest = "".join(f"\\{letter}" if letter in _ESCAPED else letter for letter in rest)
    elif quote in rest:
        return None
    after = "/" if is_folder else quote
    return f"{typed}{rest}{after}" if rest or after else None


def _fits(entry: "os.DirEntry[str]", begun: str) -> bool:
    name = entry.name
    if not name.startswith(begun) or (name.startswith(".") and not begun) or not name.isprintable():
        return False
    return name.lower().endswith(SUFFIXES) or entry.is_dir()


def _unescaped(typed: str) -> str | None:
    """The path without its backslashes; None if a blank ends it."""
    letters, escaped = "", False
    for letter in typed:
        if letter == "\\" and not escaped:
            escaped = True
            continue
        if letter.isspace() and not escaped:
            return None
        letters, escaped = letters + letter, False
    return letters


class PathSuggester(Suggester):
    """Suggests pictures after ``before``, and otherwise one of some lines."""

    def __init__(self, before: str = "", lines: Sequence[str] = ()) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._before = before
        self._lines = lines

    async def get_suggestion(self, value: str) -> str | None:
        if value.startswith(self._before) and len(value) > len(self._before):
            found = await asyncio.to_thread(complete_path, value[len(self._before) :])
            return None if found is None else f"{self._before}{found}"
        return next((line for line in self._lines if line.startswith(value)), None)
