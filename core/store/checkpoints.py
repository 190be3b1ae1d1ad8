"""The folder of a scan in progress: held by one process, written checkpoint by checkpoint."""

import contextlib
import fcntl
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.store.concept_files import FOLDER as CONCEPTS
from vlmscope.core.store.concept_files import write_concepts
from vlmscope.core.store.lock import LOCK
from vlmscope.core.store.manifest import MANIFEST, Manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.sample_log import CROPS, SAMPLES, SampleLog
from vlmscope.core.store.writer import unwritten, write_arrays, write_manifest

LOCK_TRIES = 5
_ARRAYS = re.compile(r"arrays-(\d+)")


class ScanFolder:
    """The folder of a scan in progress, held by one process, whose manifest always names a checkpoint that is whole.

    A checkpoint is a new folder of arrays, named by the manifest, which is replaced last. The one before stays until
    the next is begun, so that whoever reads it has time to open the new one.
    """

    def __init__(self, out: Path) -> None:
        """Take ``out`` for this process, and make it if there is none.

        Raises:
            StoreError: if another process scans into it, or it cannot be written.
        """
        self.out = out
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._lock = (out / LOCK).open("ab")
        except OSError as error:
            raise StoreError(
                f"{out} cannot be written: {error.strerror}.", "Name another folder with --out."
            ) from error
        if not self._locked():
            self._lock.close()
            raise StoreError(f"Another process is scanning into {out}.", "Wait for it, or stop it first.")
        self._log: SampleLog | None = None
        self._number = 0

    def _locked(self) -> bool:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.1)  # a reader that looks (being_scanned) holds it for an instant
            except OSError:
                return True  # some network file systems have no locks
        return False

    @property
    def log(self) -> SampleLog:
        """The samples; open once the folder is begun or resumed."""
        if self._log is None:
            raise RuntimeError("neither begun nor resumed")
        return self._log

    def begin(self, samples: int) -> None:
        """Open an empty log; what a scan left that was stopped before its first checkpoint goes.

        Raises:
            StoreError: if there is a scan by now, or the folder cannot be written.
        """
        if (self.out / MANIFEST).exists():
            raise StoreError(f"{self.out} exists already.", "Name another folder with --out, or remove it first.")
        try:
            self._clear()
            self._log = SampleLog.new(self.out, samples)
        except OSError as error:
            raise unwritten(self.out, error) from error

    def resume(self) -> ScanStore:
        """Go on from the last checkpoint: the log is cut off where it stood.

        Raises:
            StoreError: if the checkpoint is damaged, or the folder cannot be written.
        """
        store = ScanStore(self.out)
        manifest = store.manifest
        if manifest.progress is None:
            raise StoreError(f"{self.out} is a finished scan.", "Name another folder with --out.")
        lines = np.array(store.arrays["sample_lines"])
        try:
            self._log = SampleLog(self.out, lines, manifest.progress.samples_bytes, manifest.progress.crops_bytes)
            self._remove_arrays(keep={manifest.arrays})
        except OSError as error:
            raise unwritten(self.out, error) from error
        found = _ARRAYS.fullmatch(manifest.arrays)
        self._number = int(found[1]) if found else 0
        return store

    def save(self, manifest: Manifest, arrays: Mapping[str, NDArray[Any]]) -> Manifest:
        """Write a checkpoint; its place and the log's lengths are put into the manifest, which is returned.

        Raises:
            StoreError: if it cannot be written; the last checkpoint then still stands.
        """
        log = self.log
        current = f"arrays-{self._number}"
        name = f"arrays-{self._number + 1}"
        folder = self.out / name
        try:
            self._remove_arrays(keep={current})
            samples_bytes, crops_bytes = log.sync()
            progress = manifest.progress
            if progress is not None:
                progress = progress.model_copy(update={"samples_bytes": samples_bytes, "crops_bytes": crops_bytes})
            manifest = manifest.model_copy(update={"arrays": name, "progress": progress})
            write_arrays(folder, manifest, arrays, log.lines)
            write_manifest(self.out, manifest)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise unwritten(self.out, error) from error
        self._number += 1
        return manifest

    def finish(self, manifest: Manifest, arrays: Mapping[str, NDArray[Any]], concepts: Concepts) -> Manifest:
        """Write the whole scan; only what belongs to it remains.

        Raises:
            StoreError: as ``save``.
        """
        try:
            shutil.rmtree(self.out / CONCEPTS, ignore_errors=True)  # of a process that was killed in this place
            write_concepts(self.out / CONCEPTS, concepts, manifest)
        except OSError as error:
            raise unwritten(self.out, error) from error
        manifest = self.save(manifest, arrays)
        with contextlib.suppress(OSError):
            self._remove_arrays(keep={manifest.arrays})
            (self.out / LOCK).unlink()
        return manifest

    def discard(self) -> None:
        """Remove everything; for a scan that has nothing to keep."""
        with contextlib.suppress(OSError):
            self._clear()
            (self.out / LOCK).unlink(missing_ok=True)
            self.out.rmdir()
        self.close()

    def leave(self) -> None:
        """Let go of a folder in which nothing was to be done."""
        with contextlib.suppress(OSError):
            (self.out / LOCK).unlink()
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        if self._log is not None:
            self._log.close()
        self._lock.close()

    def _remove_arrays(self, keep: set[str]) -> None:
        for path in self.out.iterdir():
            if _ARRAYS.fullmatch(path.name) and path.name not in keep:
                shutil.rmtree(path)

    def _clear(self) -> None:
        self._remove_arrays(keep=set())
        for name in (MANIFEST, SAMPLES, CROPS):
            (self.out / name).unlink(missing_ok=True)


def is_begun(out: Path) -> bool:
    """Whether ``out`` holds nothing but what a scan leaves that was stopped before its first checkpoint."""
    own = {LOCK, SAMPLES, CROPS}
    return out.is_dir() and all(
        path.name in own or _ARRAYS.fullmatch(path.name) or path.name.startswith(f".{MANIFEST}.")
        for path in out.iterdir()
    )
