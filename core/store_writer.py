"""Writing a scan: into a hidden folder beside the target, renamed when whole, so that nothing half-written remains."""

import json
import os
import secrets
import shutil
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
from core.manifest import MANIFEST, Manifest
from core.scan_store import array_shapes


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


class StoreWriter:
    """A context manager that makes a scan's folder; leaving it without ``finish`` leaves nothing behind.

    Samples must be added in the order of their index, skipped ones too.
    """

    def __init__(self, out: Path) -> None:
        """Prepare to write ``out``.

        Raises:
            StoreError: if ``out`` exists already or its parent cannot be written.
        """
        check_out(out)
        self.out = out
        self.folder = out.parent / f".{out.name}.{secrets.token_hex(4)}.partial"
        self._lines = [0]

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True)
            self._samples = (self.folder / "samples.jsonl").open("wb")
            self._crops = (self.folder / "crops.bin").open("wb")
        except OSError as error:
            raise StoreError(
                f"{self.out.parent} cannot be written: {error.strerror}.", "Name another folder with --out."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._samples.close()
        self._crops.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreError(
                f"{self.out} could not be written: {error.strerror}.", "Free some space, or name another folder."
            ) from error

    def add_sample(self, image: str, description: str, tokens: Sequence[str], crop: bytes) -> None:
        """Append one sample; a skipped one has no tokens and an empty crop."""
        where = [self._crops.tell(), len(crop)]
        record = {"image": image, "description": description, "tokens": list(tokens), "crop": where}
        # ASCII only: a lone surrogate from a file name must survive the round trip.
        self._samples.write(json.dumps(record).encode("ascii") + b"\n")
        self._crops.write(crop)
        self._lines.append(self._samples.tell())

    def finish(self, manifest: Manifest, arrays: Mapping[str, NDArray[Any]], concepts: Concepts | None = None) -> None:
        """Write arrays, manifest and concepts if there are any, then rename the folder into place.

        Raises:
            ValueError: if an array is missing, or of another dtype or shape than ``array_shapes`` has it.
        """
        folder = self.folder / manifest.arrays
        folder.mkdir()
        for name, (dtype, shape) in array_shapes(manifest).items():
            array = arrays[name]
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name}: {array.dtype} {array.shape} is not {np.dtype(dtype)} {shape}")
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        np.save(self.folder / "sample_lines.npy", np.array(self._lines, dtype=np.int64), allow_pickle=False)
        self._samples.close()
        self._crops.close()
        if concepts is not None:
            write_concepts(self.folder / CONCEPTS, concepts, manifest)
        (self.folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if self.out.exists():
            self.out.rmdir()
        self.folder.replace(self.out)
