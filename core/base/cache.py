"""A cache: a folder of small files, one for each key."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vlmscope.core.base.files import write_whole

T = TypeVar("T")


class FileCache:
    """A folder of files ``KEY.json``; several processes may use it at once.

    Some of these files hold answers that were paid for: a changed folder, key or content means to ask and pay again.
    """

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        """``folder`` is made when there is something to store; ``private`` files are readable by the user alone."""
        self.folder = folder
        self._private = private

    def kept(self) -> frozenset[str]:
        """The keys of the stored files."""
        try:
            return frozenset(
                path.stem for path in self.folder.iterdir() if path.name[0] != "." and path.suffix == ".json"
            )
        except OSError:
            return frozenset()

    def read(self, key: str, parse: Callable[[bytes], T]) -> T | None:
        """What is stored under ``key``, or None. A damaged file, which ``parse`` refuses, counts as missing."""
        try:
            return parse((self.folder / f"{key}.json").read_bytes())
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def write(self, key: str, data: bytes) -> None:
        """Store ``data``. Where the folder cannot be written, nothing is stored and no error is raised."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / f"{key}.json", data, private=self._private)
