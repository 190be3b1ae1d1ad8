"""The scan that a command was given, opened for reading; the progress of one that is not whole goes to stderr."""

import sys

from vlmscope.core.base.text import plain
from vlmscope.core.store.manifest import Progress
from vlmscope.core.store.progress import progress_text
from vlmscope.core.store.reader import ScanStore, open_scan


def opened(scan: str, *, among_others: bool = False) -> ScanStore:
    """Open the scan that the user named; if it is not whole, say so on stderr, by name if there are others.

    Raises:
        StoreError: if it cannot be read, or has met no sample yet.
    """
    store = open_scan(scan)
    progress = store.manifest.progress
    if progress is not None:
        print(f"{plain(scan)}: {progress_text(progress)}" if among_others else progress_text(progress), file=sys.stderr)
    return store


def progress_json(progress: Progress | None) -> dict[str, object] | None:
    """A scan's progress for JSON; null for a whole one."""
    if progress is None:
        return None
    shard = {} if progress.shard is None else {"shard": str(progress.shard)}
    return {"done": progress.done, "of": progress.of, **shard}
