"""Groups of a scan's samples, as a user names them: by a word, a field, a list, or everything else."""

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import SamplesError, StoreError, UsageError
from vlmscope.core.base.fields import is_value, value_text
from vlmscope.core.base.files import user_path
from vlmscope.core.base.text import plain
from vlmscope.core.method.word_place import has_word
from vlmscope.core.method.words import words_of
from vlmscope.core.store.reader import ScanStore

FORMS = "Groups: word:zebra, field:NAME=VALUE, samples:0,4,10-19, file:LIST.txt (a number or image a line), or rest."
LIST_BYTES = 64 * 1024 * 1024  #: of a list of samples, at most
VALUES_SHOWN = 8  #: of a field, that a message names
SHOWN = 60  #: characters of what was typed that a message repeats

Members = NDArray[np.bool_]


class GroupKind(StrEnum):
    """How a group is named."""

    WORD = "word"  #: samples whose description has the word, or all of several
    FIELD = "field"  #: samples whose field of the listing has the value
    SAMPLES = "samples"  #: by their numbers
    FILE = "file"  #: by numbers or images, a line each
    REST = "rest"  #: everything that is not in the other group


@dataclass(frozen=True)
class Group:
    """A group as it was named; ``value`` is empty for the rest."""

    kind: GroupKind
    value: str = ""

    def __str__(self) -> str:
        return plain(f"{self.kind}:{self.value}" if self.value else str(self.kind), SHOWN)

    @classmethod
    def parse(cls, text: str) -> "Group":
        """The group that a user names.

        Raises:
            UsageError: if it is not of one of the forms.
        """
        kind, colon, value = text.strip().partition(":")
        value = value.strip()
        if kind not in list(GroupKind) or (kind == GroupKind.REST) == bool(colon) or bool(colon) != bool(value):
            raise UsageError(f"{plain(text, SHOWN)!r} is not a group of samples.", FORMS)
        if kind == GroupKind.WORD and not words_of(value):
            raise UsageError(
                f"{plain(value, SHOWN)!r} has no word to look for.",
                "Numbers, single letters and stop words do not count.",
            )
        if kind == GroupKind.FIELD and not all(part.strip() for part in value.partition("=")[::2]):
            raise UsageError(f"{plain(value, SHOWN)!r} is not a field and its value.", "Write field:NAME=VALUE.")
        return cls(GroupKind(kind), value)


def counted(store: ScanStore) -> Members:
    """Which samples count: processed ones that were not skipped: bool (S,)."""
    found: Members = store.arrays["sample_lines"][:, 1] > 0
    found[[skip.sample for skip in store.manifest.skipped if skip.sample < len(found)]] = False
    return found


def two_groups(store: ScanStore, first: Group, second: Group) -> tuple[Members, Members]:
    """The samples of two groups that have none in common.

    Returns:
        bool (S,) each; samples that were skipped, or not processed yet, are in neither.

    Raises:
        UsageError: if both are the rest, if they overlap, if one has no sample, if a list names a sample that the scan
            does not have, or if no sample has a field.
        SamplesError: if a list cannot be read.
        StoreError: if the scan keeps no fields and one is named, or is damaged.
    """
    a, b = _both(store, first, second)
    shared = np.flatnonzero(a & b)
    if len(shared):
        raise UsageError(
            f"{first} and {second} overlap: samples in both: {len(shared):,}, number {int(shared[0])} first.",
            "Leave out the samples of both: --drop-shared (drop-shared on the screen); or compare one with the rest.",
        )
    return a, b


def groups_apart(store: ScanStore, first: Group, second: Group) -> tuple[Members, Members, int]:
    """The same without the samples that both groups have, and how many those are.

    Raises:
        UsageError, SamplesError, StoreError: as ``two_groups``, but for an overlap; UsageError if nothing else is left.
    """
    a, b = _both(store, first, second)
    shared = a & b
    for group, members in ((first, a), (second, b)):
        if not (members & ~shared).any():
            raise UsageError(f"All samples of {group} are in the other group too.", "Compare it with the rest.")
    return a & ~shared, b & ~shared, int(np.count_nonzero(shared))


def _both(store: ScanStore, first: Group, second: Group) -> tuple[Members, Members]:
    if first.kind is second.kind is GroupKind.REST:
        raise UsageError("Both groups are the rest, of nothing.", FORMS)
    within, found = counted(store), list[Members | None]()
    for group in (first, second):
        found.append(None if group.kind is GroupKind.REST else _named(store, group, within))
    a, b = found
    if a is None:
        a = within & ~b if b is not None else within
    if b is None:
        b = within & ~a
    for group, members in ((first, a), (second, b)):
        if not members.any():
            raise UsageError(f"No sample of {store.folder} is in {group}.", _why_none(group, store))
    return a, b


def _why_none(group: Group, store: ScanStore) -> str:
    if group.kind is GroupKind.REST:
        return "The other group has all samples."
    if group.kind is GroupKind.WORD:
        concepts = store.concepts
        similar = () if concepts is None else concepts.similar(group.value)
        return f"Similar words: {', '.join(similar)}." if similar else "Name a word of the descriptions."
    if group.kind is GroupKind.FIELD:
        name = group.value.partition("=")[0].strip()
        values = Counter(
            value_text(fields[name])
            for index in np.flatnonzero(counted(store)).tolist()
            if name in (fields := store.record(index).fields)
        )
        shown = ", ".join(plain(value, 30) for value, _ in values.most_common(VALUES_SHOWN))
        more = f" and {len(values) - VALUES_SHOWN:,} more" if len(values) > VALUES_SHOWN else ""
        return f"Values of {name}: {shown}{more}."
    return "The samples were skipped, or are not processed yet."


def _named(store: ScanStore, group: Group, within: Members) -> Members:
    if group.kind is GroupKind.WORD:
        words, found = words_of(group.value), np.zeros_like(within)
        for index in np.flatnonzero(within).tolist():
            text = store.record(index).description
            found[index] = all(has_word(text, word) for word in words)
        return found
    if group.kind is GroupKind.FIELD:
        return _with_field(store, group, within)
    numbers = _numbers(group, len(within)) if group.kind is GroupKind.SAMPLES else _listed(store, group, within)
    found = np.zeros_like(within)
    found[numbers] = True
    found &= within
    return found


def _with_field(store: ScanStore, group: Group, within: Members) -> Members:
    """The samples whose field has the value.

    Raises:
        UsageError: if no sample has the field. StoreError: if the scan keeps no fields.
    """
    names = store.manifest.fields
    if names is None:
        raise StoreError(
            f"{store.folder} was made by an earlier vlmscope, and has no fields of its listing.",
            "Scan again with this vlmscope, or list the samples: file:LIST.txt.",
        )
    name, _, typed = (part.strip() for part in group.value.partition("="))
    if name not in names:
        raise UsageError(
            f"No sample of {store.folder} has the field {plain(name, SHOWN)!r}.",
            f"Fields: {', '.join(map(plain, names))}."
            if names
            else "Its listing has none: a JSONL's records can have more than image and description.",
        )
    found = np.zeros_like(within)
    for index in np.flatnonzero(within).tolist():
        fields = store.record(index).fields
        found[index] = name in fields and is_value(fields[name], typed)
    return found


def _numbers(group: Group, samples: int) -> list[int]:
    """The samples of ``0,4,10-19``. Raises UsageError."""
    found = list[int]()
    for part in group.value.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part, re.ASCII)
        if match is None:
            raise UsageError(f"{plain(part, SHOWN)!r} is not a sample's number.", FORMS)
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise UsageError(f"{plain(part.strip(), SHOWN)} ends before it begins.", FORMS)
        _check_number(last, samples)
        found += range(first, last + 1)
    return found


def _check_number(number: int, samples: int) -> None:
    if number >= samples:
        raise UsageError(
            f"There is no sample {number}: the scan has {samples:,}.", f"Numbers go from 0 to {samples - 1:,}."
        )


def _listed(store: ScanStore, group: Group, within: Members) -> list[int]:
    """The samples that a file lists. Raises UsageError and SamplesError."""
    path = user_path(group.value)
    try:
        with path.open("rb") as file:
            text = file.read(LIST_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8"
        raise SamplesError(f"{path} cannot be read: {reason}.", FORMS) from error
    if len(text) > LIST_BYTES:
        raise SamplesError(f"{path} has more than {LIST_BYTES // 2**20} MB.", FORMS)
    images = {store.record(index).image: index for index in np.flatnonzero(within).tolist()}
    images |= {skip.image: skip.sample for skip in store.manifest.skipped}
    found = list[int]()
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.strip()
        if name in images:
            found.append(images[name])
        elif re.fullmatch(r"\d{1,9}", name, re.ASCII):
            _check_number(int(name), len(within))
            found.append(int(name))
        elif name:
            raise UsageError(
                f"{path}, line {number}: the scan has no image {plain(name, SHOWN)!r}.",
                "A line is a sample's number, or its image as the scan has it.",
            )
    if not found:
        raise UsageError(f"{path} lists no sample.", FORMS)
    return found
