"""Concepts on disk: the folder ``concepts`` of a scan; ``core/method/concepts.py`` describes the values."""

import os
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import FailFast, NonNegativeInt, PositiveInt, ValidationError

from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.files import read_json, whole_folder
from vlmscope.core.base.validation import Frozen, first_problem
from vlmscope.core.method.concepts import KEPT, PURITY_SAMPLES, Concepts
from vlmscope.core.method.words import NO_WORD
from vlmscope.core.store.arrays import open_array
from vlmscope.core.store.manifest import Manifest

FOLDER = "concepts"
WORDS = "words.json"
#: What is read, at most: 65,535 words (uint16) with their frequencies take some 2 MB.
WORDS_BYTES, WORDS_VALUES = 16 * 1024 * 1024, 200_000
AGAIN = "Make them again: vlmscope concepts SCAN --again"
ELSEWHERE = "Copy the scan to a folder that you may write to."


class _Words(Frozen):
    """``words.json``. ``frequency`` is, for each word, how many of the ``descriptions`` have it."""

    format: Literal["vlmscope-concepts"] = "vlmscope-concepts"
    schema_version: Literal[1] = 1
    scan_id: str  #: the manifest's
    descriptions: NonNegativeInt
    words: Annotated[tuple[str, ...], FailFast()]
    frequency: Annotated[tuple[PositiveInt, ...], FailFast()]


def write_concepts(folder: Path, concepts: Concepts, manifest: Manifest) -> None:
    """Write ``concepts`` into ``folder``, made where it is missing. Raises OSError if it cannot be written."""
    words = _Words(
        scan_id=manifest.scan_id,
        descriptions=concepts.descriptions,
        words=concepts.words,
        frequency=tuple(concepts.frequency.tolist()),
    )
    folder.mkdir(exist_ok=True)
    (folder / WORDS).write_text(words.model_dump_json(indent=0) + "\n", encoding="utf-8")
    for name in ("word", "strength", "purity_hits"):
        np.save(folder / f"{name}.npy", getattr(concepts, name), allow_pickle=False)


def replace_concepts(scan: Path, concepts: Concepts, manifest: Manifest) -> None:
    """Put ``concepts`` into the finished scan ``scan``, in place of any old ones: whole, or not at all.

    Raises:
        StoreError: if the scan's folder cannot be written.
    """
    place = scan / FOLDER
    try:
        with whole_folder(place, replace=True) as folder:
            write_concepts(folder, concepts, manifest)
    except OSError as error:
        raise StoreError(f"{place} cannot be written: {error.strerror}.", ELSEWHERE) from error


def check_writable(scan: Path) -> None:
    """Check before any work whether ``replace_concepts`` can succeed. Raises StoreError if it cannot."""
    if not os.access(scan, os.W_OK | os.X_OK):
        raise StoreError(f"You may not write to {scan}.", ELSEWHERE)


def read_concepts(scan: Path, manifest: Manifest) -> Concepts | None:
    """The concepts of the scan in the folder ``scan``, mapped into memory; None if it has none.

    Raises:
        StoreError: if they are damaged, of another schema version, or of another scan.
    """
    folder = scan / FOLDER
    if not folder.exists():
        return None
    words = _read_words(folder / WORDS, manifest)
    shape = (manifest.model.layers, manifest.neurons)
    word = open_array(folder / "word.npy", np.uint16, (*shape, KEPT), AGAIN)
    if ((word >= len(words.words)) & (word != NO_WORD)).any():
        raise StoreError(f"{folder / 'word.npy'} is damaged: it names words that {WORDS} lacks.", AGAIN)
    looked_at = min(PURITY_SAMPLES, manifest.valid)
    purity_hits = open_array(folder / "purity_hits.npy", np.uint8, shape, AGAIN)
    if purity_hits.max(initial=0) > looked_at:
        raise StoreError(f"{folder / 'purity_hits.npy'} is damaged: it counts more than {looked_at} samples.", AGAIN)
    return Concepts(
        words=words.words,
        frequency=np.array(words.frequency, dtype=np.int64),
        descriptions=words.descriptions,
        looked_at=looked_at,
        word=word,
        strength=open_array(folder / "strength.npy", np.float16, (*shape, KEPT), AGAIN),
        purity_hits=purity_hits,
    )


def _read_words(path: Path, manifest: Manifest) -> _Words:
    try:
        words = _Words.model_validate_json(read_json(path, WORDS_BYTES, WORDS_VALUES))
    except FileNotFoundError:
        raise StoreError(f"{path} is missing.", AGAIN) from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.", AGAIN) from error
    except ValidationError as error:
        raise StoreError(f"{path} is damaged: {first_problem(error, 'the file')}.", AGAIN) from error
    if (
        len(words.words) != len(words.frequency)
        or max(words.frequency, default=0) > words.descriptions
        or words.descriptions > manifest.samples
    ):
        raise StoreError(f"{path} is damaged: words and frequencies do not belong together.", AGAIN)
    if words.scan_id != manifest.scan_id:
        raise StoreError(f"{path} belongs to another scan.", AGAIN)
    return words
