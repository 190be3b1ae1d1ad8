"""The data of a scan: images with or without descriptions, from a folder or a file that lists them."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vlmscope.core.base.demo import DEMO, samples_file
from vlmscope.core.base.errors import SamplesError, UsageError
from vlmscope.core.base.text import plain
from vlmscope.core.data.images import SUFFIXES, is_file
from vlmscope.core.data.listings import RECORD, Captions, ListedImage, read_file

__all__ = ["Captions", "Data", "ListedImage", "read_data"]

SIBLINGS = ("train2017", "val2017")  #: COCO's folders of images; its JSON is beside them, or in annotations/
LOOKED_AT = 1000  #: images looked for in a folder before the next is tried


@dataclass(frozen=True)
class Data:
    """The samples of a scan, in their order.

    Attributes:
        name: as the user named it.
        root: the folder that images are relative to.
        notes: problems of the data that the user should know, and how to correct them.
    """

    name: str
    root: Path
    sources: tuple[ListedImage, ...]
    notes: tuple[str, ...] = ()

    @property
    def image_root(self) -> str:
        """As the manifest stores it."""
        return DEMO if self.name == DEMO else str(self.root)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the images' names and the descriptions that came with them, in their order."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(json.dumps([source.image, source.description]).encode("ascii") + b"\n")
        return digest.hexdigest()

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The names of the samples' fields, in the order in which the listing has them."""
        return tuple(dict.fromkeys(name for source in self.sources for name in source.fields))

    def without_fields(self) -> "Data":
        """The same data without the samples' fields."""
        return replace(self, sources=tuple(replace(source, fields={}) for source in self.sources))

    def described(self, descriptions: dict[int, str]) -> "Data":
        """The same data with these descriptions, by index."""
        put = {i: replace(self.sources[i], description=text) for i, text in descriptions.items()}
        return replace(self, sources=tuple(put.get(i, source) for i, source in enumerate(self.sources)))

    def with_troubles(self, troubles: Mapping[int, str]) -> "Data":
        """The same data, in which the samples of these indices are left out for these reasons."""
        put = {i: replace(self.sources[i], trouble=reason) for i, reason in troubles.items()}
        return replace(self, sources=tuple(put.get(i, source) for i, source in enumerate(self.sources)))


def read_data(
    name: str, limit: int | None = None, image_root: Path | None = None, captions: Captions | None = None
) -> Data:
    """Read ``name``: a folder of images, a file that lists them (core/data/listings.py), or ``demo``.

    An image that is listed twice counts once, at its first place: the samples are images.

    Args:
        limit: only the first so many samples.
        image_root: the folder that a file's paths are relative to. Without it that is the first of these that has one
            of the images: the file's own folder, ``train2017`` and ``val2017`` in it, and the two beside it.
        captions: whose words describe the images.

    Raises:
        SamplesError: if ``name`` does not exist, something in it is wrong, or there is no image.
        UsageError: if ``image_root`` or ``captions`` does not apply to it.
    """
    path = samples_file() if name == DEMO else data_path(name)
    if image_root is not None and (name == DEMO or path.is_dir()):
        raise UsageError(
            "--image-root is for a file that lists images; a folder holds its images itself.", "Leave out --image-root."
        )
    if path.is_dir():
        found, notes = _pictures(path)
        sources = [ListedImage(p.relative_to(path).as_posix(), None) for p in found]
        if not sources:
            raise _no_images(name, path)
    else:
        listing = read_file(path, captions)
        without = listing.text_only
        sources, notes = _once(listing.images)
        if not sources:
            why = f": its {len(without)} records are text alone" if without else ""
            raise SamplesError(f"{name} holds no images{why}.", f"List some, one a line: {RECORD}")
        notes += listing.notes
        if without:
            of = len(without) + len(listing.images)
            notes.insert(
                0, f"{path.name}: {len(without)} of {of} records have no image and are left out, {without[0]} first."
            )
    if captions is Captions.OWN and all(source.description is None for source in sources):
        raise UsageError(f"{name} holds no captions.", "Leave out --captions own: the model then describes the images.")
    sources = sources[:limit]
    return Data(name, path if path.is_dir() else _root(path, sources, image_root), tuple(sources), tuple(notes))


def data_path(name: str) -> Path:
    """The whole path of the folder or file that the user named; it need not exist.

    Raises:
        SamplesError: if it cannot be a path: too long, ``~`` and a name that is not a user's, a circle of links.
    """
    try:
        path = Path(name).expanduser().resolve()
        path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SamplesError(f"{plain(name, 60)} is not a path: {reason}.", "Write the path in full.") from error
    return path


def _pictures(folder: Path) -> tuple[list[Path], list[str]]:
    """The pictures in a folder and its subfolders, in order, and a note on each thing that is left out.

    Linked subfolders are followed. A folder that can be reached in several ways counts once, so that links in a circle
    end: at its own place, or at the first link to it.
    """
    notes: list[str] = []

    def unreadable(error: OSError) -> None:
        notes.append(f"{error.filename} cannot be read and is left out: {error.strerror}.")

    found, seen, starts = [], set(), [folder]
    for start in starts:  # it grows: links come after all real folders
        for where, folders, files in os.walk(start, onerror=unreadable):
            at = Path(where)
            real = at.resolve()
            if real in seen:
                notes.append(f"{at} is a link to a folder whose images are included already; it is left out.")
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            starts += [at / name for name in folders if (at / name).is_symlink()]
            for picture in (at / name for name in files if Path(name).suffix.lower() in SUFFIXES):
                if is_file(picture):
                    found.append(picture)
                elif picture.is_symlink():
                    notes.append(f"{picture} is a link to a file that is not there; it is left out.")
    return sorted(found), notes


def _once(sources: list[ListedImage]) -> tuple[list[ListedImage], list[str]]:
    """The sources whose image is not listed before, and a note on each of the others."""
    first: dict[str, ListedImage] = {}
    notes = []
    for source in sources:
        before = first.setdefault(os.path.normpath(source.image), source)
        if before is not source:
            place = before.place.rpartition(", ")[2]
            notes.append(f"{source.place}: {source.image} is listed already in {place}; the first counts.")
    return list(first.values()), notes


def _root(path: Path, sources: list[ListedImage], given: Path | None) -> Path:
    """The folder that a file's images are relative to."""
    own = path.parent
    folders = [own, *(folder / sibling for folder in (own, own.parent) for sibling in SIBLINGS)]
    if given is not None:
        folders = [data_path(str(given))]
    looked_at = sources[:LOOKED_AT]
    for folder in folders:
        if any(is_file(folder / source.image) for source in looked_at):
            return folder
    where = folders[0] if given is not None else f"{own}, nor in {' or '.join(SIBLINGS)} in it or beside it"
    raise SamplesError(
        f"{path} lists images that are not there: none of the first {len(looked_at)}, beginning with "
        f"{looked_at[0].image}, is in {where}.",
        "Name the folder that the paths are relative to: --image-root FOLDER",
    )


def _no_images(name: str, folder: Path) -> SamplesError:
    """What to do about a folder without images; Pillow cannot read the files that ``datasets`` saves."""
    arrow = min(folder.rglob("*.arrow"), default=None)
    if arrow is None:
        return SamplesError(f"{name} holds no images.", f"Images end in {', '.join(sorted(SUFFIXES))}.")
    return SamplesError(
        f"{name} holds no images but a dataset of the library 'datasets', which vlmscope does not read.",
        "Turn it into a folder of images, with a Python that has datasets and pillow:\n"
        "from pathlib import Path\n"
        "from datasets import load_from_disk\n"
        "Path('IMAGES').mkdir()\n"
        f"for i, row in enumerate(load_from_disk({str(arrow.parent)!r})):\n"
        "    row['image'].convert('RGB').save(f'IMAGES/{i:06}.png')",
    )
