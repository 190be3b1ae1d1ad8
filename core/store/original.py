"""Whether a file is the picture that a sample was made of: a scan from elsewhere may name any file of this disk."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from vlmscope.core.base.files import open_regular

#: Bytes of a picture that are read, at most: the largest that Pillow decodes, 179 million pixels, has 537 MB raw.
FILE_BYTES = 600_000_000
MISSING = "the picture is not at"  #: begins the reason where there is no file
UNCHECKED = "the scan has no digest of"  #: begins the reason where the user must agree first


def original_problem(path: Path, sha256: str | None, within: Path | None) -> str:
    """Why the original picture of a sample cannot be used, as the end of a sentence; empty if it can.

    A file whose SHA-256 is not the scan's is not that sample. Without a digest any file could be: the manifest's
    ``image_root`` is a stranger's word as well, and may be ``/``.

    Args:
        path: where the picture should be.
        sha256: the sample's; None if the scan has none.
        within: the folder whose files are used without a digest; None for any folder, once the user has agreed.
    """
    try:
        if not path.is_file():
            return f"{MISSING} {path}"
        if sha256 is None:
            inside = within is None or path.resolve().is_relative_to(within.resolve())
            return "" if inside else f"{UNCHECKED} the picture at {path}, which is outside {within}"
        found = path.stat()
        if found.st_size > FILE_BYTES or _digest((path, found.st_mtime_ns, found.st_size)) != sha256:
            return f"the file at {path} is not the picture that was scanned: its SHA-256 is another"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        return f"the picture at {path} cannot be read: {reason}"
    return ""


@lru_cache(maxsize=4096)
def _digest(state: tuple[Path, int, int]) -> str:
    """The SHA-256 of a file, by its path, time of change and size."""
    with os.fdopen(open_regular(state[0]), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
