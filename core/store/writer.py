"""Writing a whole scan at once; ``core/store/checkpoints.py`` writes a scan in progress."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.fields import Fields
from vlmscope.core.base.files import beside, write_whole
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.method.layout import Box
from vlmscope.core.store.arrays import array_shapes, check_array, layer_shapes
from vlmscope.core.store.concept_files import FOLDER as CONCEPTS
from vlmscope.core.store.concept_files import write_concepts
from vlmscope.core.store.manifest import MANIFEST, Manifest
from vlmscope.core.store.sample_log import SampleLog

SAMPLE_BYTES = 10_000  #: about what the crop of a photograph takes, and a sample's line in the log


def check_out(out: Path) -> None:
    """Check before any work whether a scan can be written to ``out``.

    Raises:
        StoreError: if ``out`` exists and is not an empty folder, or no folder can be made there.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise StoreError(f"{out} exists already.", "Name another folder with --out, or remove it first.")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(f"{parent} is not a folder that you may write to.", "Name another folder with --out.")


def check_space(out: Path, manifest: Manifest) -> None:
    """Check before any work that such a scan and its next checkpoint fit on the disk. Raises StoreError if not.

    A quota does not show here, but at the first checkpoint, which is written before the first batch.
    """
    samples = manifest.samples if manifest.progress is None else manifest.progress.of
    check_free(
        out,
        2 * arrays_bytes(manifest) + samples * SAMPLE_BYTES,
        " while the scan runs",
        "Free some space, name a folder on another disk with --out, or keep fewer: --maps, --small-maps, "
        "--map-cells, --top-n, --panel.",
    )


def arrays_bytes(manifest: Manifest) -> int:
    """The size of a scan's arrays."""
    return sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in array_shapes(manifest).values())


def check_free(
    out: Path,
    needed: int,
    when: str = "",
    hint: str = "Free some space, or name a folder on another disk with --out.",
) -> None:
    """Check before any work that ``needed`` bytes fit on the disk of ``out``. Raises StoreError if not.

    Args:
        when: they are needed, for the message.
    """
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise StoreError(f"{out} needs {needed / 1e6:,.1f} MB{when}; {free / 1e6:,.1f} MB are free.", hint)


def write_arrays(
    folder: Path,
    manifest: Manifest,
    arrays: Mapping[str, NDArray[Any]],
    lines: NDArray[np.int64],
    written: Set[str] = frozenset(),
) -> None:
    """Write a scan's arrays into ``folder``, which is new unless some are there, and flush them to the disk.

    Args:
        lines: the array ``sample_lines``. written: arrays that are there already.

    Raises:
        ValueError: if an array is missing, or of another dtype or shape than ``array_shapes`` has it.
        OSError: if they cannot be written.
    """
    folder.mkdir(exist_ok=bool(written))
    for name, (dtype, shape) in array_shapes(manifest).items():
        if name in written:
            continue
        array = lines if name == "sample_lines" else arrays[name]
        check_array(name, array, dtype, shape)
        _write_array(folder / f"{name}.npy", array)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest in place of any old one: whole, or not at all. Raises OSError if it cannot be written."""
    write_whole(folder / MANIFEST, f"{manifest.model_dump_json(indent=1)}\n".encode(), sync=True)


class StoreWriter:
    """A context manager that makes a whole scan's folder; leaving it without ``finish`` leaves nothing behind.

    It is written into a hidden folder beside the target, renamed when whole. Samples are added in order of their index,
    skipped ones too. Raises StoreError as ``check_out``, and if the disk refuses.
    """

    def __init__(self, out: Path, samples: int) -> None:
        check_out(out)
        self.out = out
        self.folder = beside(out)
        self._samples = samples
        self._added = 0

    def __enter__(self) -> Self:
        with writing(self.out):
            self.folder.mkdir(parents=True)
            self._log = SampleLog.new(self.folder, self._samples)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            with writing(self.out):
                raise error

    def add_sample(
        self,
        image: str,
        description: str,
        tokens: Sequence[str],
        crop: bytes,
        sha256: str | None = None,
        layout: str | None = None,
        seen: Box | None = None,
        fields: Fields | None = None,
    ) -> None:
        """Append one sample, as ``SampleLog.add``. Where ``layout`` is None, the manifest's only one is meant."""
        self._log.add(self._added, image, description, tokens, crop, sha256, layout, seen, fields)
        self._added += 1

    def finish(
        self,
        manifest: Manifest,
        arrays: Mapping[str, NDArray[Any]],
        concepts: Concepts | None = None,
        *,
        by_layer: bool = False,
    ) -> None:
        """Write arrays, manifest and concepts if there are any, then rename the folder into place.

        Args:
            arrays: all arrays but ``sample_lines``. by_layer: ``LayerArrays`` has written those that have layers.

        Raises:
            ValueError: if an array is missing, or of another dtype or shape than ``array_shapes`` has it.
        """
        self._log.sync()
        written = frozenset(layer_shapes(manifest)) if by_layer else frozenset[str]()
        write_arrays(self.folder / manifest.arrays, manifest, arrays, self._log.lines, written)
        if concepts is not None:
            write_concepts(self.folder / CONCEPTS, concepts, manifest)
        write_manifest(self.folder, manifest)
        if self.out.exists():
            self.out.rmdir()
        self.folder.replace(self.out)


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Raise StoreError where the disk refuses to write ``out``."""
    try:
        yield
    except OSError as error:
        hint = "Free some space, or name another folder."
        raise StoreError(f"{out} could not be written: {error.strerror}.", hint) from error
