"""Files: written whole or not at all, and read in parts through one descriptor."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import weakref
from collections.abc import Generator
from functools import cached_property
from pathlib import Path

from vlmscope.core.base.errors import UsageError


def user_path(text: str) -> Path:
    """The path that the user typed, with ``~`` as a home folder.

    Raises:
        UsageError: if it begins with ``~`` and a name that is not a user's.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text} is not a path: {error}", "Write the path in full.") from error


def beside(target: Path) -> Path:
    """A new hidden name in ``target``'s folder, for the file or folder that will replace ``target``."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")


def write_whole(path: Path, data: bytes, *, sync: bool = False, private: bool = False) -> None:
    """Put ``data`` into the file ``path``: it is written beside and renamed, so no reader ever finds half of it.

    Args:
        sync: have the bytes on the disk before the rename.
        private: only the user may read the file; otherwise the umask decides.

    Raises:
        OSError: if it cannot be written. The file that was there before stays, and no other is left.
    """
    partial = beside(path)
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with open(handle, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(target: Path, *, replace: bool = False) -> Generator[Path]:
    """A new folder to fill, beside ``target``; it becomes ``target`` where the context ends without an exception.

    Nothing else is left beside ``target`` in any case.

    Args:
        replace: an old folder at ``target`` is removed, or put back if the new one cannot take its place. Without
            ``replace`` only an empty folder may be there.

    Raises:
        OSError: if the folder cannot be made or renamed.
    """
    partial = beside(target)
    old = partial.with_suffix(".old")
    try:
        partial.mkdir(parents=True)
        yield partial
        if replace and target.exists():
            target.replace(old)
        elif target.exists():
            target.rmdir()
        partial.replace(target)
    finally:
        if old.exists() and not target.exists():
            with contextlib.suppress(OSError):
                old.replace(target)
        for left in (partial, old) if target.exists() else (partial,):
            shutil.rmtree(left, ignore_errors=True)


def open_regular(path: Path) -> int:
    """A descriptor of the regular file ``path``, to be read and closed by the caller.

    Raises:
        OSError: if it cannot be opened or is not a regular file: a pipe would block, a device would never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor


def read_json(path: Path, limit: int, values: int) -> bytes:
    """All bytes of the regular file ``path``, which is JSON.

    Raises:
        OSError: as ``open_regular``, and if the file has more than ``limit`` bytes or about ``values`` values: parsed,
            a value of three bytes takes some 150.
    """
    with open(open_regular(path), "rb") as file:  # a descriptor, not a path
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", str(path))
    if data.count(b",") > values:
        raise OSError(errno.EFBIG, f"it has more than {values:,} values", str(path))
    return data


class PartReader:
    """Reads parts of one file through one descriptor, in any number of threads.

    The file is opened at the first read. Later reads are of that file, even if another takes its name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _descriptor(self) -> int:
        descriptor = open_regular(self.path)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start`` on, ``length`` of them, or fewer where the file ends before.

        Raises:
            OSError: if the file cannot be opened or read.
        """
        parts = []
        while length > 0 and (part := os.pread(self._descriptor, length, start)):  # may return less than there is
            parts.append(part)
            start, length = start + len(part), length - len(part)
        return b"".join(parts)
