"""Whether a scan in progress has come further than the one that is shown."""

from vlmscope.core.base.errors import StoreError
from vlmscope.core.store.lock import being_scanned
from vlmscope.core.store.manifest import MANIFEST, Manifest, read_manifest
from vlmscope.core.store.reader import ScanStore, open_scan


def can_go_on(manifest: Manifest) -> bool:
    """Whether there may be more of a scan later: not of a whole one, nor of a whole shard."""
    return manifest.progress is not None and not (manifest.progress.shard is not None and manifest.is_done)


class ScanWatch:
    """Looks whether a scan in progress has come further; for a thread, since a disk may take its time."""

    def __init__(self, store: ScanStore) -> None:
        self.store = store  #: the one that is shown; who shows the next one puts it here
        self.scanning = self._is_being_scanned()
        self._seen: tuple[int, int, int] | None = None  #: of the manifest: a new one is a new file

    def look(self) -> ScanStore | None:
        """The scan as it is now, or None if it is the one that is shown; ``scanning`` is renewed as well.

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
