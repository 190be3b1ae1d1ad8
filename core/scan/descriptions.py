"""The model describes the images that have no description (method.md, "Samples").

Images are read and decoded by threads while the model writes. Each batch's descriptions are on disk before the next
begins, under the SHA-256 of the image file. So none is written twice, neither after a stop nor in a later scan.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path

import torch
from PIL import Image

from vlmscope.core.base.callbacks import OnProgress, Stopped, check, not_cancelled
from vlmscope.core.base.errors import SamplesError
from vlmscope.core.data.describing import undescribed
from vlmscope.core.data.description_cache import DescriptionCache, Descriptions
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import Data
from vlmscope.core.model.vlm import DESCRIPTION_TOKENS, Vlm
from vlmscope.core.scan.memory import halved
from vlmscope.core.scan.prefetch import prefetch

DESCRIBING = "describing"
STOPPED = ("The descriptions were stopped.", "Those that were written are kept.")
THREADS = 4


def describe_missing(
    vlm: Vlm,
    data: Data,
    prompt: str,
    batch: int,
    progress: OnProgress,
    stopped: Stopped = not_cancelled,
    cache: DescriptionCache | None = None,
    mine: Sequence[int] | None = None,
) -> Data:
    """Let the model write the descriptions that ``data`` lacks, greedily, or take them from the cache.

    An image that cannot be read, or that the model does not take, gets no description. A description that the model
    leaves empty is ``""``. Images of the same bytes get the same description. A batch that does not fit into the GPU's
    memory is halved, and so are those after it.

    Args:
        prompt: the literal text before the description, as ``vlm.prompt`` gives it.
        batch: images that the model describes together.
        progress: called with "describing"; cached descriptions count as done before the model begins.
        stopped: read before every batch and after every token.
        cache: None for the user's own; its ``trouble`` is set if a description could not be stored.
        mine: the indices of the samples to describe; None for all.

    Raises:
        Cancelled: when ``stopped`` turns true; what was written before is in the cache.
        ModelError: if not even one image fits into the GPU's memory.
    """
    missing = undescribed(data, mine)
    if not missing:
        return data
    paths = {i: data.root / data.sources[i].image for i in missing}
    progress(DESCRIBING, 0, len(missing))
    opened = (DescriptionCache() if cache is None else cache).open(vlm.info, prompt, DESCRIPTION_TOKENS)
    with opened as kept:
        # Before the model begins, so that the progress of a resumed scan does not start from 0.
        digests = written_before(paths, kept, progress, stopped)
        done = len(digests)
        todo = [i for i in missing if i not in digests]
        writer = _Writer(vlm, prompt, batch, kept, stopped)
        # A decoded photograph takes up to 100 MB, and the model takes far longer than decoding: only a few ahead.
        with closing(
            prefetch(lambda i: _picture(vlm, prompt, paths[i], kept.texts), todo, 4 * THREADS, THREADS)
        ) as pictures:
            for index, picture in pictures:
                check(stopped, *STOPPED)
                done += 1
                if picture is None:
                    continue  # the scan itself tries it again, skips it and names it
                digests[index], image = picture
                if image is not None and digests[index] not in kept.texts:
                    writer.waiting[digests[index]] = image
                while len(writer.waiting) >= writer.batch:
                    writer.write()
                    progress(DESCRIBING, done - len(writer.waiting), len(missing))
        while writer.waiting:
            writer.write()
            progress(DESCRIBING, done - len(writer.waiting), len(missing))
        progress(DESCRIBING, len(missing), len(missing))
        return data.described({index: kept.texts[digest] for index, digest in digests.items()})


def written_before(
    paths: Mapping[int, Path], kept: Descriptions, progress: OnProgress, stopped: Stopped
) -> dict[int, str]:
    """The digests of the image files that ``kept`` has a description of, by sample. Raises Cancelled."""
    digests: dict[int, str] = {}
    if kept.texts:
        with closing(prefetch(lambda i: file_digest(paths[i]), paths, 16 * THREADS, THREADS)) as found:
            for index, digest in found:
                check(stopped, *STOPPED)
                if digest is not None and digest in kept.texts:
                    digests[index] = digest
                    progress(DESCRIBING, len(digests), len(paths))
    return digests


@dataclass
class _Writer:
    """Describes waiting images with the model.

    Attributes:
        batch: images described together; shrinks to what fits into the GPU's memory.
        waiting: images to be described, by digest, in their order.
    """

    vlm: Vlm
    prompt: str
    batch: int
    kept: Descriptions
    stopped: Stopped
    waiting: dict[str, Image.Image] = field(default_factory=dict)

    def write(self) -> None:
        """Describe the first ``batch`` of the waiting images and store the descriptions, or shrink ``batch``.

        Raises:
            Cancelled, ModelError: as ``describe_missing``.
        """
        check(self.stopped, *STOPPED)
        together = dict(islice(self.waiting.items(), self.batch))
        try:
            texts = self.vlm.describe(list(together.values()), self.prompt, self.stopped)
        except torch.OutOfMemoryError as error:
            refusal = f"Describing one image alone does not fit into the memory of {self.vlm.device}."
            hint = "Free the GPU, choose another with --device, or use --dtype float16."
            self.batch = halved(len(together), error, refusal, hint)
            return
        self.kept.keep(dict(zip(together, texts, strict=True)))
        for digest in together:
            del self.waiting[digest]


def file_digest(path: Path) -> str | None:
    """SHA-256 of the file, or None where it cannot be read."""
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _picture(vlm: Vlm, prompt: str, path: Path, known: dict[str, str]) -> tuple[str, Image.Image | None] | None:
    """The file's SHA-256 and, unless that is ``known``, its image; None where it cannot be read or is not taken."""
    digest = file_digest(path)
    if digest is None or digest in known:
        return None if digest is None else (digest, None)
    try:
        image = load_image(path)
        vlm.encoder.prompted(prompt, image.size)  # another size could end the whole batch
    except SamplesError:
        return None
    return digest, image
