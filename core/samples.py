"""What is scanned: images with or without descriptions, from a folder or a JSONL file."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from core.demo import DEMO, demo_folder, samples_file
from core.errors import SamplesError
from core.images import SUFFIXES


@dataclass(frozen=True)
class Source:
    """One image, still on disk. ``description`` is None where the model has to write one; it may be empty."""

    image: str  #: path relative to the data's root
    description: str | None


@dataclass(frozen=True)
class Data:
    """The samples of a scan, in their order.

    Attributes:
        name: as the user named it.
        root: the folder that images are relative to.
    """

    name: str
    root: Path
    sources: tuple[Source, ...]

    @property
    def image_root(self) -> str:
        """As the manifest keeps it."""
        return DEMO if self.name == DEMO else str(self.root)

    def described(self, descriptions: dict[int, str]) -> "Data":
        """The same with these descriptions put in, by index."""
        put = (
            replace(source, description=descriptions.get(i, source.description))
            for i, source in enumerate(self.sources)
        )
        return replace(self, sources=tuple(put))


def read_data(name: str, limit: int | None = None) -> Data:
    """Read ``name``: a folder of images, a JSONL file, or ``demo``; at most the first ``limit`` samples.

    Each line of a JSONL file is an object with ``image``, a path relative to the file, and, if there is one,
    ``description``; other fields are ignored.

    Raises:
        SamplesError: if there is nothing of that name, a line is wrong, or there is no image.
    """
    if name == DEMO:
        path, root = samples_file(), demo_folder()
    else:
        path = Path(name).expanduser().resolve()
        root = path if path.is_dir() else path.parent
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        sources = [Source(p.relative_to(path).as_posix(), None) for p in found]
    else:
        sources = _read_jsonl(path)
    if not sources:
        raise SamplesError(f"{name} holds no images.", f"Images end in {', '.join(sorted(SUFFIXES))}.")
    return Data(name, root, tuple(sources[:limit]))


def _read_jsonl(path: Path) -> list[Source]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SamplesError(f"{path} does not exist.", "Name a folder of images, a JSONL file, or demo.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SamplesError(f"{path} cannot be read: {error}.", "It must be JSONL in UTF-8.") from error
    sources = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: U+2028 may stand inside a string
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise SamplesError(
                f"{path}, line {number}, is no JSON: {error}.", 'Write {"image": "a.jpg", "description": "..."}.'
            ) from error
        image = record.get("image") if isinstance(record, dict) else None
        description = record.get("description") if isinstance(record, dict) else None
        if not isinstance(image, str) or not isinstance(description, str | None):
            raise SamplesError(
                f"{path}, line {number}: 'image' must be a path, and 'description', if there is one, a text.",
                'Write {"image": "a.jpg", "description": "..."}.',
            )
        sources.append(Source(image, description))
    return sources
