"""The folder of a scan in progress: held by one process, written checkpoint by checkpoint."""

import contextlib
import fcntl
import os
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
from vlmscope.core.store.writer import write_arrays, write_manifest, writing

LOCK_TRIES = 5
_ARRAYS = re.compile(r"arrays-(\d+)")


class ScanFolder:
    """The folder of a scan in progress, held by one process, whose manifest always names a checkpoint that is whole.

    A checkpoint is a new folder of arrays, named by the manifest, which is replaced last. The previous one stays until
    the next is begun, so that its readers have time to open the new one.
    """

    def __init__(self, out: Path) -> None:
        """Lock ``out`` for this process, and make it if it is missing.

        Raises:
            StoreError: if another process scans into it, or it cannot be written.
        """
        self.out = out
        try:
            out.mkdir(parents=True, exist_ok=True)
            # Read and write, not blocking: a pipe of this name would wait for its other end.
            self._lock = os.fdopen(os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666), "rb")
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
                time.sleep(0.1)  # a reader (being_scanned) holds it for an instant
            except OSError:
                return True  # some network file systems have no locks
        return False

    @property
    def log(self) -> SampleLog:
        """The samples; open after ``begin`` or ``resume``."""
        assert self._log is not None
        return self._log

    def begin(self, samples: int) -> None:
        """Open an empty log. Files of a scan that was stopped before its first checkpoint are removed.

        Raises:
            StoreError: if there is a scan by now, or the folder cannot be written.
        """
        if (self.out / MANIFEST).exists():
            raise StoreError(f"{self.out} exists already.", "Name another folder with --out, or remove it first.")
        with writing(self.out):
            self._clear()
            self._log = SampleLog.new(self.out, samples)

    def resume(self) -> ScanStore:
        """Continue from the last checkpoint: the log is cut off at the lengths that it names.

        Raises:
            StoreError: if the checkpoint is damaged, or the folder cannot be written.
        """
        store = ScanStore(self.out)
        manifest = store.manifest
        if manifest.progress is None:
            raise StoreError(f"{self.out} is a finished scan.", "Name another folder with --out.")
        lines = np.array(store.arrays["sample_lines"])
        with writing(self.out):
            self._log = SampleLog(self.out, lines, manifest.progress.samples_bytes, manifest.progress.crops_bytes)
            self._remove_arrays(keep={manifest.arrays})
        found = _ARRAYS.fullmatch(manifest.arrays)
        self._number = int(found[1]) if found else 0
        return store

    def save(self, manifest: Manifest, arrays: Mapping[str, NDArray[Any]]) -> Manifest:
        """Write a checkpoint; returns the manifest with the checkpoint's folder and the log's lengths in it.

        Raises:
            StoreError: if it cannot be written; the last checkpoint then remains valid.
        """
        log = self.log
        name = f"arrays-{self._number + 1}"
        folder = self.out / name
        with writing(self.out):
            self._remove_arrays(keep={f"arrays-{self._number}"})
            samples_bytes, crops_bytes = log.sync()
            progress = manifest.progress
            if progress is not None:
                progress = progress.model_copy(update={"samples_bytes": samples_bytes, "crops_bytes": crops_bytes})
            manifest = manifest.model_copy(update={"arrays": name, "progress": progress})
            try:
                write_arrays(folder, manifest, arrays, log.lines)
                write_manifest(self.out, manifest)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        self._number += 1
        return manifest

    def finish(self, manifest: Manifest, arrays: Mapping[str, NDArray[Any]], concepts: Concepts) -> Manifest:
        """Write the whole scan, and remove everything else. Raises as ``save``."""
        with writing(self.out):
            shutil.rmtree(self.out / CONCEPTS, ignore_errors=True)  # of a process that was killed here
            write_concepts(self.out / CONCEPTS, concepts, manifest)
        manifest = self.save(manifest, arrays)
        with contextlib.suppress(OSError):
            self._remove_arrays(keep={manifest.arrays})
            (self.out / LOCK).unlink()
        return manifest

    def discard(self) -> None:
        """Remove everything, and release the folder; for a scan that has nothing to keep."""
        with contextlib.suppress(OSError):
            self._clear()
            (self.out / LOCK).unlink(missing_ok=True)
            self.out.rmdir()
        self.close()

    def close(self) -> None:
        """Release the folder."""
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
    """Whether ``out`` holds only the files of a scan that was stopped before its first checkpoint."""
    own = {LOCK, SAMPLES, CROPS}
    return out.is_dir() and all(
        path.name in own or _ARRAYS.fullmatch(path.name) or path.name.startswith(f".{MANIFEST}.")
        for path in out.iterdir()
    )
