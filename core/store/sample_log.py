"""The samples of a scan on disk: ``samples.jsonl`` and ``crops.bin``, appended to as the samples are processed.

Bytes once written never change, so the places that an earlier checkpoint names stay valid. ``lines`` has the place of
each sample's line, by index: int64 (S, 2), first byte and the byte after the last; zeros if it is not processed.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vlmscope.core.base.fields import MOST, NAME_LENGTH, VALUE_LENGTH, Fields
from vlmscope.core.method.layout import Box

SAMPLES = "samples.jsonl"
CROPS = "crops.bin"
LINE_BYTES = 2 * 1024 * 1024  #: of a line, at most: a description of 32,768 tokens takes less than half of it
CROP_BYTES = 4 * 1024 * 1024  #: of a crop, at most: a JPEG of 168 pixels takes some 10 KB
_FILE_BYTES = 2**53  #: no file is larger
Share = Annotated[float, Meta(ge=0, le=1)]
_Name = Annotated[str, Meta(max_length=NAME_LENGTH)]
_Text = Annotated[str, Meta(max_length=VALUE_LENGTH)]


class SampleRecord(msgspec.Struct, frozen=True):
    """One line of ``samples.jsonl``; msgspec checks its fields, which a stranger may have written.

    Attributes:
        crop: where in ``crops.bin`` its crop begins, and the crop's bytes.
        sha256: of the image file; None if it was not read.
        layout: the id of its layout; None for a skipped sample, and in scans of schema 2, which have one layout.
        seen: the part of the picture that the model sees, as shares; None as for ``layout``.
        fields: what the listing has on it beside, by name.
    """

    image: str
    description: str
    tokens: tuple[str, ...]
    crop: tuple[Annotated[int, Meta(ge=0, le=_FILE_BYTES)], Annotated[int, Meta(ge=0, le=CROP_BYTES)]]
    sha256: str | None = None
    layout: str | None = None
    seen: tuple[Share, Share, Share, Share] | None = None
    fields: Annotated[dict[_Name, _Text | int | float | bool], Meta(max_length=MOST)] = {}


class SampleLog:
    """Both files, open for appending."""

    def __init__(self, folder: Path, lines: NDArray[np.int64], samples_bytes: int = 0, crops_bytes: int = 0) -> None:
        """Open the files, new or cut off after so many bytes. Raises OSError if they cannot be written."""
        self.lines = lines
        self._samples = (folder / SAMPLES).open("ab")
        self._crops = (folder / CROPS).open("ab")
        self._samples.truncate(samples_bytes)
        self._crops.truncate(crops_bytes)
        self._ends = [samples_bytes, crops_bytes]

    @classmethod
    def new(cls, folder: Path, samples: int) -> "SampleLog":
        """Files for ``samples`` samples, none of them processed."""
        return cls(folder, np.zeros((samples, 2), dtype=np.int64))

    def add(
        self,
        index: int,
        image: str,
        description: str,
        tokens: Sequence[str],
        crop: bytes,
        sha256: str | None,
        layout: str | None,
        seen: Box | None,
        fields: Fields | None = None,
    ) -> None:
        """Append one sample; a skipped one has no tokens, an empty crop, and None for ``layout`` and ``seen``.

        Args:
            sha256: of the image file; None if it could not be read.
            layout: the id of its layout. seen: the part of the picture that the model sees, as shares.
            fields: what the listing has on it beside.
        """
        record: dict[str, object] = {
            "image": image,
            "description": description,
            "tokens": list(tokens),
            "crop": [self._ends[1], len(crop)],
            "sha256": sha256,
            "layout": layout,
            "seen": seen,
        }
        if fields:
            record["fields"] = dict(fields)
        # ASCII only: a lone surrogate from a file name must survive the round trip.
        line = json.dumps(record).encode("ascii") + b"\n"
        self._samples.write(line)
        self._crops.write(crop)
        self.lines[index] = self._ends[0], self._ends[0] + len(line)
        self._ends[0] += len(line)
        self._ends[1] += len(crop)

    def sync(self) -> tuple[int, int]:
        """Flush both to the disk; returns their bytes."""
        for file in (self._samples, self._crops):
            file.flush()
            os.fsync(file.fileno())
        return self._ends[0], self._ends[1]

    def close(self) -> None:
        """Close both; bytes that no checkpoint names need not be on the disk."""
        for file in (self._samples, self._crops):
            with contextlib.suppress(OSError):
                file.close()
