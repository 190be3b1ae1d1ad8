"""The progress of a scan that is not whole, in words, and the refusal of such a scan."""

from vlmscope.core.base.errors import StoreError
from vlmscope.core.store.manifest import Progress
from vlmscope.core.store.reader import ScanStore


def check_whole(store: ScanStore, what: str) -> None:
    """Refuse a scan that is not whole.

    Args:
        what: the beginning of the sentence that ends with "a whole scan."

    Raises:
        StoreError: if it is in progress, was stopped, or is a shard.
    """
    progress = store.manifest.progress
    if progress is None:
        return
    if store.manifest.is_done:
        raise StoreError(
            f"{store.folder} is shard {progress.shard} of a scan. {what} a whole one.",
            "Put the shards together: vlmscope merge SHARD... --out SCAN",
        )
    raise StoreError(
        f"{store.folder} has scanned {progress.done:,} of {progress.of:,} samples. {what} a whole scan.",
        "Finish it: run its command again with --resume.",
    )


def progress_text(progress: Progress) -> str:
    """The progress, as commands write it."""
    shard = "" if progress.shard is None else f"shard {progress.shard}, "
    return f"so far: {shard}{progress.done:,} of {progress.of:,} samples"


def progress_title(progress: Progress, scanning: bool) -> tuple[str, ...]:
    """The progress, as titles write it: the longest text first, the last one always short.

    Args:
        scanning: whether a process is scanning now.
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
