"""Finds the next checkpoint of a scan in progress."""

from vlmscope.core.base.errors import StoreError
from vlmscope.core.store.lock import being_scanned
from vlmscope.core.store.manifest import MANIFEST, read_manifest
from vlmscope.core.store.reader import ScanStore, open_scan


class ScanWatch:
    """Checks whether a scan in progress has a new checkpoint; for a thread, since a disk may be slow."""

    def __init__(self, store: ScanStore) -> None:
        self.store = store  #: the scan that is shown; the caller sets the next one when it is shown
        self.scanning = self._is_being_scanned()
        self._seen: tuple[int, int, int] | None = None  #: identifies the manifest: each new one is a new file

    def look(self) -> ScanStore | None:
        """The scan at its newest checkpoint, or None if that is shown already; updates ``scanning`` as well.

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
