"""The files that list images: JSONL, COCO captions, LLaVA's instruction data.

``Captions`` decides whose description an image gets. Without it, a ``description`` in one of our own records is used,
but captions of COCO and LLaVA are not: they are other people's words (COCO's a short phrase, LLaVA's by GPT-4), and the
method reads the model's own.
"""

import json
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from vlmscope.core.base.errors import SamplesError
from vlmscope.core.base.fields import Fields
from vlmscope.core.base.text import plain
from vlmscope.core.data.fields import kept_fields

LONGEST_PATH = 4096  #: bytes, as Linux has it (PATH_MAX)
_ADDRESS = re.compile(r"\s*(?:(data):|https?://|s3://|gs://|file://)", re.IGNORECASE)
RECORD = '{"image": "a.jpg", "description": "..."}'


class Captions(StrEnum):
    """Whose words describe the images, where the data has some."""

    OWN = "own"  #: the data's; the model writes those that are missing
    MODEL = "model"  #: the model's, always


@dataclass(frozen=True)
class ListedImage:
    """One image, still on disk. ``description`` is None where the model has to write one; it may be empty."""

    image: str  #: path relative to the data's root
    description: str | None
    place: str = field(default="", compare=False)  #: where it is listed: "samples.jsonl, line 7"; "" in a folder
    #: What else a record has on it, within the bounds of core/base/fields.py: not part of the data's identity.
    fields: Fields = field(default_factory=dict, compare=False)
    trouble: str = field(default="", compare=False)  #: why it is left out without being read; "" if it is not


@dataclass(frozen=True)
class Listing:
    """What a file lists.

    Attributes:
        images: in its order.
        text_only: the places of LLaVA's records without an image, which are left out.
        notes: on fields of records that are not kept.
    """

    images: list[ListedImage]
    text_only: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_file(path: Path, captions: Captions | None = None) -> Listing:
    """The images that ``path`` lists, in its order.

    A file that ends in ``.json`` is one JSON: COCO's ``{"images": [{"id", "file_name"}], "annotations": [{"id",
    "image_id", "caption"}]}``, of whose captions the first by ``id`` is an image's, or a list of records. Any other
    file has a record in each line. A record is ``{"image", "description"}``, the latter if there is one, or LLaVA's
    ``{"image", "conversations": [{"from", "value"}]}``, whose first value from ``gpt`` is the caption. One
    of LLaVA's records without an image is text alone; such records are left out.

    Raises:
        SamplesError: if the file cannot be read, or something in it is wrong; names file and place.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SamplesError(
            f"{path} does not exist.", "Name a folder of images, a JSONL or JSON file, or demo."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SamplesError(f"{path} cannot be read: {error}.", "It must be JSONL or JSON in UTF-8.") from error
    if path.suffix.lower() == ".json":
        try:
            return _whole(path, json.loads(text), captions)
        except (ValueError, RecursionError) as error:
            if not (isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"):
                raise SamplesError(f"{path} is not JSON: {error}.", "Copy or download it again, whole.") from error
            # One JSON after another: JSONL under another name.
    return _lines(path, text, captions)


def _lines(path: Path, text: str, captions: Captions | None) -> Listing:
    records = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: U+2028 may stand inside a string
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SamplesError(f"{path}, line {number}, is not JSON: {error}.", f"Write {RECORD}.") from error
        records.append((f"line {number}", record))
    return _records(path, records, captions)


def _whole(path: Path, content: Any, captions: Captions | None) -> Listing:
    if isinstance(content, list):
        return _records(path, [(f"entry [{i}]", record) for i, record in enumerate(content)], captions)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        return Listing(_coco(path, content, captions))
    return _records(path, [("line 1", content)], captions)


def _records(path: Path, records: list[tuple[str, Any]], captions: Captions | None) -> Listing:
    """Records with their places."""
    fields, notes = kept_fields([record if isinstance(record, dict) else {} for _, record in records])
    listing = Listing([], notes=notes)
    for (place, record), own in zip(records, fields, strict=True):
        if isinstance(record, dict) and "conversations" in record and record.get("image") in (None, "", []):
            listing.text_only.append(place)
        else:
            listing.images.append(replace(_record(path, place, record, captions), fields=own))
    return listing


def _record(path: Path, place: str, record: Any, captions: Captions | None) -> ListedImage:
    """One of our own records, or one of LLaVA's."""
    record = record if isinstance(record, dict) else {}
    image, description = record.get("image"), record.get("description")
    if not isinstance(image, str) or not image or not isinstance(description, str | None):
        raise SamplesError(
            f"{path}, {place}: 'image' must be a path, and 'description', if there is one, a text.",
            f"Write {RECORD}.",
        )
    if captions is Captions.OWN and "conversations" in record:
        description = _answer(path, place, record["conversations"])
    return _source(path, place, image, None if captions is Captions.MODEL else description)


def _answer(path: Path, place: str, turns: Any) -> str | None:
    """The first value from ``gpt`` in one of LLaVA's conversations."""
    for turn in turns if isinstance(turns, list) else [None]:
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            raise SamplesError(
                f"{path}, {place}: 'conversations' must be a list of objects with a text as 'value'.",
                'Write {"from": "gpt", "value": "..."} there, or let the model describe the images: --captions model',
            )
        if turn.get("from") == "gpt":
            return str(turn["value"])
    return None


def _coco(path: Path, content: dict[str, Any], captions: Captions | None) -> list[ListedImage]:
    texts = _coco_captions(path, content.get("annotations", [])) if captions is Captions.OWN else {}
    sources = []
    for i, image in enumerate(content["images"]):
        name, number = (image.get("file_name"), image.get("id")) if isinstance(image, dict) else (None, None)
        if not isinstance(name, str) or not name or not isinstance(number, int | str):
            raise SamplesError(
                f"{path}, images[{i}]: 'file_name' must be a path, and 'id' a number or text.",
                'COCO has {"id": 9, "file_name": "000000000009.jpg"} there.',
            )
        sources.append(_source(path, f"images[{i}]", name, texts.get(number)))
    return sources


def _coco_captions(path: Path, annotations: Any) -> dict[int | str, str]:
    """Of each image the caption whose annotation has the lowest id, by the image's id."""
    first: dict[int | str, tuple[int, str]] = {}
    for i, found in enumerate(annotations if isinstance(annotations, list) else [None]):
        number, image, caption = (
            (found.get("id"), found.get("image_id"), found.get("caption")) if isinstance(found, dict) else [None] * 3
        )
        if not isinstance(number, int) or not isinstance(image, int | str) or not isinstance(caption, str):
            raise SamplesError(
                f"{path}, annotations[{i}]: 'id' must be a number, 'image_id' an image's 'id', and 'caption' a text.",
                "Name COCO's captions_*.json, or let the model describe the images: --captions model",
            )
        if image not in first or number < first[image][0]:
            first[image] = (number, caption.strip())
    return {image: caption for image, (_, caption) in first.items()}


def _source(path: Path, place: str, image: str, description: str | None) -> ListedImage:
    address = _ADDRESS.match(image)
    if address:
        raise SamplesError(
            f"{path}, {place}: the image is {'a data URI' if address[1] else 'a web address'}, not a path: "
            f"{plain(image, 60)}",
            "Save the picture as a file, and write its path there.",
        )
    if "\0" in image or len(image.encode("utf-8", "replace")) > LONGEST_PATH:
        raise SamplesError(f"{path}, {place}: the image is not a path: {plain(image, 60)}", f"Write {RECORD}.")
    try:
        (description or "").encode()
    except UnicodeEncodeError as error:  # JSON can hold "\ud83d", which no tokenizer takes
        raise SamplesError(
            f"{path}, {place}: the description has half a character: {error.reason}.", "Write the description again."
        ) from None
    return ListedImage(image, description, f"{path.name}, {place}")
