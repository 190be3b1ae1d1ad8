"""Descriptions that a model has written, stored so that neither a resumed scan nor a later one writes them again.

There is one folder for everything that the words depend on besides the image: the model, the prompt, the longest length
and the version of this file. It has one JSONL file for each process that wrote. Only that process appends to it, so
several may write at once, on one machine or on many that share the folder. A record is
``{"image": <SHA-256 of the image file's bytes>, "text": "..."}``. Any other line, such as one that a killed process
left torn, is ignored.
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from vlmscope.core.base.config import cache_folder
from vlmscope.core.base.demo import model_source
from vlmscope.core.store.manifest import ModelInfo

SCHEMA = 1
#: files of a model's folder that what it writes depends on: weights, configurations, tokenizers, code
_OF_THE_MODEL = frozenset({".safetensors", ".bin", ".pt", ".pth", ".json", ".model", ".txt", ".py"})


class DescriptionCache:
    """A folder of descriptions; several processes may use it at once.

    Attributes:
        trouble: why some descriptions could not be stored, or None. This does not stop the work: they are only written
            again another time. The caller reports it once, at the end.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: by default one in the user's cache folder; made when there is something to store."""
        self.folder = cache_folder() / "descriptions" if folder is None else folder
        self.trouble: str | None = None

    def open(self, model: ModelInfo, prompt: str, longest: int) -> "contextlib.closing[Descriptions]":
        """The descriptions by ``model`` after ``prompt``, of at most ``longest`` tokens; a context that closes them."""
        # Both digests are left out: ``_fingerprint`` below covers all files of the folder.
        about = {"model": model.model_dump(exclude={"weights", "processor"}), "prompt": prompt, "longest": longest}
        return self._open(about, _fingerprint(model.name))

    def open_served(self, model: str, question: str, longest: int) -> "contextlib.closing[Descriptions]":
        """The descriptions by the model that a server calls ``model``, whichever server it is; else as ``open``."""
        return self._open({"served": model, "question": question, "longest": longest}, [])

    def _open(
        self, about: Mapping[str, object], files: list[tuple[str, int, int]]
    ) -> "contextlib.closing[Descriptions]":
        identity = json.dumps([SCHEMA, about, files], sort_keys=True)
        folder = self.folder / sha256(identity.encode()).hexdigest()[:24]
        return contextlib.closing(Descriptions(self, folder, about))


class Descriptions:
    """The descriptions of one model and prompt.

    Attributes:
        texts: by the image's SHA-256; those on disk when this was opened, and those stored since.
    """

    def __init__(self, cache: DescriptionCache, folder: Path, about: Mapping[str, object]) -> None:
        self._cache = cache
        self._folder = folder
        self._about = about
        self._file: BinaryIO | None = None
        self._torn = False
        self.texts = _read(folder)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # every record was synced already, or is in ``trouble``
                self._file.close()

    def keep(self, texts: Mapping[str, str]) -> None:
        """Put these on disk before returning; where that is not possible, ``cache.trouble`` is set."""
        self.texts.update(texts)
        lines = [json.dumps({"image": image, "text": text}) for image, text in texts.items()]
        try:
            if self._file is None:
                self._file = self._create()
                lines.insert(0, json.dumps(self._about))  # for a reader of the file
            elif self._torn:
                lines.insert(0, "")  # what follows must not continue a half line
            self._torn = True
            _append(self._file, "".join(f"{line}\n" for line in lines).encode("ascii"))
            self._torn = False
        except OSError as failure:
            reason = failure.strerror or str(failure)
            self._cache.trouble = f"Descriptions could not be kept in {self._folder}: {reason}."

    def _create(self) -> BinaryIO:
        """A file for this process alone. Names begin with the time, so that of two texts the older one stays in use."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        return (self._folder / name).open("xb", buffering=0)


def _append(file: BinaryIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]  # unbuffered: it may take only a part
    os.fsync(file.fileno())


def _read(folder: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(OSError):
            for line in path.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
                    image, text = itemgetter("image", "text")(json.loads(line))
                    if isinstance(image, str) and isinstance(text, str):
                        texts.setdefault(image, text)
    return texts


def _fingerprint(name: str) -> list[tuple[str, int, int]]:
    """Name, size and time of a model folder's files: a model that is trained further in place is another model.

    Empty for a hub name, which comes with a revision, and for random weights, whose name has their seed.
    """
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(Path(model_source(name)).iterdir()):
            if path.suffix in _OF_THE_MODEL and path.is_file():
                status = path.stat()
                found.append((path.name, status.st_size, status.st_mtime_ns))
    return found
