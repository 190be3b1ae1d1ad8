"""The log of all that the model process prints: libraries' warnings, progress bars, tracebacks."""

import os
from pathlib import Path

from vlmscope.core.base.config import log_folder

LIMIT = 1 << 20  #: bytes; a larger log is emptied when it is opened


def worker_log() -> Path:
    """Its path."""
    return log_folder() / "model.log"


def open_worker_log() -> int:
    """Open it to append, readable by its owner alone; returns the file descriptor, which the caller closes.

    Where it cannot be written (a read-only or full home), output goes to the null device: the model must not stop.
    """
    path = worker_log()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several vlmscope may share the file: writes that append stay whole, and survive a truncation.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        if os.fstat(descriptor).st_size > LIMIT:
            os.ftruncate(descriptor, 0)
    except OSError:
        # Another user's file, or not a regular one: it still takes what is written.
        return descriptor
    return descriptor
