"""How far a scan in progress is, whether anybody goes on with it, and what of it can be read already.

A reader opens it as any scan, with ``open_scan``; ``ScanWatch`` looks whether there is more.
"""

import fcntl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vlmscope.core.base.errors import StoreError
from vlmscope.core.store.manifest import MANIFEST, Manifest, Progress, read_manifest
from vlmscope.core.store.reader import ScanStore

#: Where no lock can be asked: a scan that has saved nothing for so long has stopped.
STILL = timedelta(minutes=15)


def open_scan(folder: Path) -> ScanStore:
    """Open a scan for reading: a whole one, or one in progress that has something to show.

    Raises:
        StoreError: if it is no scan, is damaged, or has met no sample yet.
    """
    try:
        store = ScanStore(folder)
    except StoreError:
        # While the manifest was read, a scan in progress may have replaced the checkpoint that it names.
        store = ScanStore(folder)
    manifest = store.manifest
    if manifest.progress is not None and not manifest.scanned:
        if being_scanned(folder, manifest.progress):
            raise StoreError(f"The scan into {folder} has just begun.", "Try again in a minute.")
        raise StoreError(
            f"The scan into {folder} was stopped before its first sample.",
            "Go on with it: run its command again with --resume.",
        )
    return store


def check_whole(store: ScanStore, what: str) -> None:
    """Refuse a scan that is not whole.

    Args:
        what: what takes a whole scan, as a sentence begins with it.

    Raises:
        StoreError: if it is in progress, was stopped, or is a shard.
    """
    progress = store.manifest.progress
    if progress is None:
        return
    if progress.shard is not None and store.manifest.is_done:
        raise StoreError(
            f"{store.folder} is shard {progress.shard} of a scan. {what} a whole one.",
            "Put the shards together: vlmscope merge SHARD... --out SCAN",
        )
    raise StoreError(
        f"{store.folder} has scanned {progress.done:,} of {progress.of:,} samples. {what} a whole scan.",
        "Finish it: run its command again with --resume.",
    )


def being_scanned(folder: Path, progress: Progress) -> bool:
    """Whether a process goes on with this scan now: it holds the folder's lock as long as it does.

    Where a file system has no locks, or does not let us ask, the last checkpoint's age tells.
    """
    from vlmscope.core.store.checkpoints import LOCK  # a scan that is whole opens without all that writing needs

    try:
        with (folder / LOCK).open("rb") as file:
            # Taken and let go of at once; a scan that would begin at this very moment is told that there is another.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
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


def progress_text(progress: Progress) -> str:
    """How far a scan is, as commands say it."""
    shard = "" if progress.shard is None else f"shard {progress.shard}, "
    return f"so far: {shard}{progress.done:,} of {progress.of:,} samples"


def progress_title(progress: Progress, scanning: bool) -> tuple[str, ...]:
    """How far a scan is, as titles say it: the longest first, the last one always short.

    Args:
        scanning: whether it goes on now.
    """
    shard = "" if progress.shard is None else f"shard {progress.shard} "
    short = "" if progress.shard is None else f"{progress.shard} "
    # Never 100 % before the last one.
    percent = f"{100 * progress.done // max(progress.of, 1)} %"
    count = f"{progress.done:,} of {progress.of:,}"
    if progress.shard is not None and progress.done == progress.of:
        return (f"{shard}done, {count}", f"{shard}done", shard.strip())
    if scanning:
        return (f"{shard}scanning {count} ({percent})", f"{shard}scanning {count}", f"{short}scanning {percent}")
    return (f"{shard}stopped at {count}", f"{short}stopped at {percent}", f"{short}at {percent}")


def can_go_on(manifest: Manifest) -> bool:
    """Whether there may be more of a scan later: not of a whole one, nor of a whole shard."""
    return manifest.progress is not None and not (manifest.progress.shard is not None and manifest.is_done)


class ScanWatch:
    """Looks whether a scan in progress has come further; for a thread, since a disk may take its time."""

    def __init__(self, store: ScanStore) -> None:
        self.store = store  #: the one that is shown; whoever shows the next one puts it here
        self.scanning = self._is_being_scanned()
        self._seen: tuple[int, int, int] | None = None  #: of the manifest: a new one is a new file

    def look(self) -> ScanStore | None:
        """The scan as it is now, or None if it is the one that is shown; ``scanning`` is as of now too.

        Raises:
            StoreError: if it cannot be read any more, or another scan has taken its place.
        """
        folder = self.store.folder
        try:
            found = (folder / MANIFEST).stat()
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be read any more: {error.strerror}.", "What is on the screen stays."
            ) from error
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        self.scanning = self._is_being_scanned()
        if seen == self._seen:
            return None
        manifest = read_manifest(folder)
        if manifest.scan_id != self.store.manifest.scan_id or manifest.model != self.store.manifest.model:
            raise StoreError(f"Another scan has taken the place of {folder}.", "What is on the screen stays.")
        if manifest == self.store.manifest or not manifest.scanned:
            self._seen = seen
            return None
        return open_scan(folder)

    def _is_being_scanned(self) -> bool:
        progress = self.store.manifest.progress
        return progress is not None and being_scanned(self.store.folder, progress)
