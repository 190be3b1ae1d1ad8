"""The lock of a folder that a process scans into, and whether there is such a process now."""

import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vlmscope.core.base.files import open_regular
from vlmscope.core.store.manifest import Progress

LOCK = ".lock"
#: Where a file system has no locks: a scan that has not saved for so long has stopped.
STILL = timedelta(minutes=15)


def being_scanned(folder: Path, progress: Progress) -> bool:
    """Whether a process is scanning into ``folder`` now: it holds the folder's lock all the time.

    Where a file system has no locks, or the file cannot be opened, the last checkpoint's age decides.
    """
    try:
        descriptor = open_regular(folder / LOCK)
        try:
            # Taken and released at once; a scan that begins at this moment tries again (checkpoints.LOCK_TRIES).
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False  # a copy
    except OSError:
        return _age(progress) < STILL
    return False


def _age(progress: Progress) -> timedelta:
    try:
        updated = datetime.fromisoformat(progress.updated)
    except ValueError:
        return timedelta.max
    return datetime.now(UTC) - (updated if updated.tzinfo is not None else updated.replace(tzinfo=UTC))
