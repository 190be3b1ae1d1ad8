"""Writing a scan: whole at once (``StoreWriter``), or checkpoint by checkpoint (``ScanFolder``)."""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.concept_files import FOLDER as CONCEPTS
from core.concept_files import write_concepts
from core.concepts import Concepts
from core.errors import StoreError
from core.layer_arrays import LayerArrays
from core.manifest import MANIFEST, Manifest
from core.sample_log import CROPS, SAMPLES, SampleLog
from core.scan_store import ScanStore, array_shapes

LOCK = ".lock"
LOCK_TRIES = 5
_ARRAYS = re.compile(r"arrays-(\d+)")


def check_out(out: Path) -> None:
    """Find out before any work whether a scan can be written to ``out``.

    Raises:
        StoreError: if something is there already, or no folder can be made there.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise StoreError(f"{out} exists already.", "Name another folder with --out, or remove it first.")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(f"{parent} is no folder that you may write to.", "Name another folder with --out.")


def check_space(out: Path, manifest: Manifest) -> None:
    """Find out before any work whether a scan of this shape, and a checkpoint beside it, fit on the disk.

    A quota does not show here; the first checkpoint, written before the first batch, meets it.

    Raises:
        StoreError: if they do not.
    """
    check_free(
        out,
        2 * arrays_bytes(manifest),
        " while the scan goes on",
        "Free some space, name a folder on another disk with --out, or keep fewer: --maps, --top-n.",
    )


def arrays_bytes(manifest: Manifest) -> int:
    """What the arrays of a scan take."""
    return sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in array_shapes(manifest).values())


def check_free(
    out: Path,
    needed: int,
    when: str = "",
    mend: str = "Free some space, or name a folder on another disk with --out.",
) -> None:
    """Find out before any work whether so many bytes fit on the disk of ``out``.

    Raises:
        StoreError: if they do not; it says ``when`` they are needed.
    """
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise StoreError(f"{out} needs {needed / 1e6:,.1f} MB{when}; {free / 1e6:,.1f} MB are free.", mend)


def write_arrays(
    folder: Path, manifest: Manifest, arrays: Mapping[str, NDArray[Any]], lines: NDArray[np.int64]
) -> None:
    """Write a scan's arrays into the new folder ``folder`` and have them on the disk.

    Raises:
        ValueError: if an array is missing, or of another dtype or shape than ``array_shapes`` has it.
        OSError: if they cannot be written.
    """
    folder.mkdir()
    for name, (dtype, shape) in array_shapes(manifest).items():
        array = lines if name == "sample_lines" else arrays[name]
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"{name}: {array.dtype} {array.shape} is not {np.dtype(dtype)} {shape}")
        _write_array(folder / f"{name}.npy", array)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest in the place of the one that may be there: whole, or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    partial = folder / f".{MANIFEST}.{secrets.token_hex(4)}"
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(manifest.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / MANIFEST)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


class StoreWriter:
    """A context manager that makes a whole scan's folder; leaving it without ``finish`` leaves nothing behind.

    It is written into a hidden folder beside the target, renamed when whole. Samples are added in order of their index,
    skipped ones too.
    """

    def __init__(self, out: Path, samples: int) -> None:
        """Prepare to write ``out``.

        Raises:
            StoreError: if ``out`` exists already or its parent cannot be written.
        """
        check_out(out)
        self.out = out
        self.folder = out.parent / f".{out.name}.{secrets.token_hex(4)}.partial"
        self._samples = samples
        self._added = 0

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True)
            self._log = SampleLog.new(self.folder, self._samples)
        except OSError as error:
            raise StoreError(
                f"{self.out.parent} cannot be written: {error.strerror}.", "Name another folder with --out."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise unwritten(self.out, error) from error

    def add_sample(
        self, image: str, description: str, tokens: Sequence[str], crop: bytes, sha256: str | None = None
    ) -> None:
        """Append one sample; a skipped one has no tokens and an empty crop."""
        self._log.add(self._added, image, description, tokens, crop, sha256)
        self._added += 1

    def layers(self, manifest: Manifest) -> LayerArrays:
        """Write the arrays layer by layer: a context manager; ``finish`` is then given none."""
        return LayerArrays(self.folder / manifest.arrays, manifest)

    def finish(
        self, manifest: Manifest, arrays: Mapping[str, NDArray[Any]] | None, concepts: Concepts | None = None
    ) -> None:
        """Write arrays, manifest and concepts if there are any, then rename the folder into place.

        Args:
            arrays: None if ``layers`` has written them.

        Raises:
            ValueError: if an array is missing, or of another dtype or shape than ``array_shapes`` has it.
        """
        self._log.sync()
        if arrays is None:
            _write_array(self.folder / manifest.arrays / "sample_lines.npy", self._log.lines)
        else:
            write_arrays(self.folder / manifest.arrays, manifest, arrays, self._log.lines)
        if concepts is not None:
            write_concepts(self.folder / CONCEPTS, concepts, manifest)
        write_manifest(self.folder, manifest)
        if self.out.exists():
            self.out.rmdir()
        self.folder.replace(self.out)


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
                time.sleep(0.1)  # whoever only looks holds it for an instant
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


def unwritten(out: Path, error: OSError) -> StoreError:
    """What to say when the disk refuses."""
    return StoreError(f"{out} could not be written: {error.strerror}.", "Free some space, or name another folder.")
