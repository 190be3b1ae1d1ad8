"""The scan that a command was given, opened for reading, and its notebook."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vlmscope.core.base.config import load_config
from vlmscope.core.notebook.notebook import Notebook, note_on_path, notebook_path
from vlmscope.core.notebook.score_order import lead_with
from vlmscope.core.store.manifest import Progress
from vlmscope.core.store.progress import progress_text
from vlmscope.core.store.reader import ScanStore, open_scan
from vlmscope.tui.commands.shared.notes import note


def opened(scan: str, *, among_others: bool = False) -> ScanStore:
    """Open the scan that the user named; how far one in progress is goes to stderr, with its name if there are others.

    Raises:
        StoreError: if it cannot be read, or has no sample yet.
    """
    store = open_scan(scan)
    progress = store.manifest.progress
    if progress is not None:
        note(f"{scan}: {progress_text(progress)}" if among_others else progress_text(progress))
    return store


def path_of_notebook(store: ScanStore) -> Path:
    """Where the scan's notebook is, or would be."""
    config = load_config()
    lead_with(config.leading_score)  # wherever scores are shown, their notebook was opened
    return notebook_path(store.manifest.scan_id, store.folder, config.notebooks)


def open_notebook(store: ScanStore) -> Notebook:
    """The scan's notebook, made if there is none; one that was found beside the scan is named on stderr.

    Raises:
        NotebookError: if it cannot be opened.
    """
    which = note_on_path(store.manifest.scan_id, store.folder, load_config().notebooks)
    if which:
        note(which)
    return Notebook.open(path_of_notebook(store), store.manifest.scan_id, poled=store.numbering.poled)


@contextlib.contextmanager
def kept_notebook(store: ScanStore) -> Iterator[Notebook | None]:
    """The scan's notebook while the block runs, or None if there is none. Raises as ``open_notebook``."""
    if not path_of_notebook(store).exists():
        yield None
        return
    with open_notebook(store) as notebook:
        yield notebook


def progress_json(progress: Progress | None) -> dict[str, object] | None:
    """A scan's progress for JSON; null for a whole one."""
    if progress is None:
        return None
    shard = {} if progress.shard is None else {"shard": str(progress.shard)}
    return {"done": progress.done, "of": progress.of, **shard}
