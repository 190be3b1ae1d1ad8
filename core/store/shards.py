"""The shards of one scan, made by several processes or machines: their folders, and whether they belong together."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from vlmscope.core.base.errors import StoreError, UsageError
from vlmscope.core.store.manifest import Manifest, ShardInfo, read_manifest
from vlmscope.core.store.settings import OPTIONAL, OTHER_IMAGES, settings_of

#: Settings that may differ from shard to shard: the batch depends on the GPU, and the images' folder on the machine.
#: The images' names and descriptions are compared by ``data_id``.
_MAY_DIFFER = ("--shard", "--batch", "--images")
_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})")
_PART = re.compile(r"(\d+)-of-(\d+)")


def parse_shard(text: str) -> ShardInfo:
    """``2/8`` is the second of eight. Raises UsageError if ``text`` is not a shard."""
    found = _SHARD.fullmatch(text.strip())
    with contextlib.suppress(ValidationError):
        if found:
            return ShardInfo(number=int(found[1]), of=int(found[2]))
    raise UsageError(f"{text!r} is not a shard.", "Write 1/8 for the first of eight, 8/8 for the last.")


def shards_folder(out: Path) -> Path:
    """The folder of the shards of one run, until they are merged into ``out``."""
    return out.parent / f"{out.name}.shards"


def shard_folder(out: Path, shard: ShardInfo) -> Path:
    """The folder of one of them."""
    return shards_folder(out) / f"{shard.number}-of-{shard.of}"


def shard_folders(out: Path) -> dict[Path, int]:
    """The existing folders of shards, each with the number of shards to be made."""
    folder = shards_folder(out)
    if not folder.is_dir():
        return {}
    return {path: int(found[2]) for path in sorted(folder.iterdir()) if (found := _PART.fullmatch(path.name))}


def check_shards(folders: Sequence[Path]) -> list[Path]:
    """The folders in the order of their numbers, if they are the finished shards of one scan, each of them once.

    Raises:
        UsageError: if no folder is given.
        StoreError: if they are not; the message names the one that is the reason.
    """
    if not folders:
        raise UsageError("There is nothing to merge.", "Name the folder of every shard.")
    shards = [
        (folder, manifest, _shard(folder, manifest)) for folder in folders for manifest in [read_manifest(folder)]
    ]
    # All are compared with one that has the most digests: those of earlier versions lack some.
    first, one, whole = max(shards, key=lambda found: found[1].model.known)
    for folder, manifest, shard in shards:
        if shard.of != whole.of:
            raise StoreError(f"{first} is shard {whole}, {folder} shard {shard}.", "Name the shards of one scan.")
        if differ := _differing(first, one, folder, manifest):
            raise StoreError(
                f"{first} and {folder} were made with different settings. {'. '.join(differ)}.",
                "Scan one of them again with the other's settings.",
            )
        if manifest.id_beside(one.model) != one.id_beside(manifest.model):
            raise StoreError(
                f"{first} and {folder} are not shards of one scan: the models differ.", "Name the shards of one scan."
            )
    found: dict[int, Path] = {}
    for folder, _, shard in shards:
        if shard.number in found:
            raise StoreError(f"{found[shard.number]} and {folder} are both shard {shard}.", "Name each shard once.")
        found[shard.number] = folder
    if missing := [number for number in range(1, whole.of + 1) if number not in found]:
        names = ", ".join(f"{number}/{whole.of}" for number in missing)
        raise StoreError(
            f"Shard {names} is missing." if len(missing) == 1 else f"Shards {names} are missing.",
            f"Name all {whole.of} shards; one that was not made yet: vlmscope scan --shard {missing[0]}/{whole.of}",
        )
    return [found[number] for number in range(1, whole.of + 1)]


def _differing(first: Path, one: Manifest, second: Path, other: Manifest) -> list[str]:
    """The different settings that decide the numbers, for people."""
    if one.data_id != other.data_id:
        return [OTHER_IMAGES]
    own, theirs = settings_of(one), settings_of(other)
    for name in OPTIONAL:
        if None in (own[name], theirs[name]):
            del own[name]
    return [
        f"{name}: {own[name]} in {first}, {theirs[name]} in {second}"
        for name in own
        if name not in _MAY_DIFFER and own[name] != theirs[name]
    ]


def _shard(folder: Path, manifest: Manifest) -> ShardInfo:
    """The manifest's shard. Raises StoreError if it has none, or is not finished."""
    progress = manifest.progress
    if progress is None:
        raise StoreError(
            f"{folder} is a whole scan, not a shard.", "Name the folders that 'vlmscope scan --shard' made."
        )
    if progress.shard is None:
        raise StoreError(
            f"{folder} is an unfinished scan of all samples, not a shard.",
            "Continue it: the same 'vlmscope scan' with --resume",
        )
    if not manifest.is_done:
        raise StoreError(
            f"{folder}, shard {progress.shard}, has processed {progress.done} of {progress.of} samples.",
            f"Continue it: the same 'vlmscope scan --shard {progress.shard}' with --resume",
        )
    return progress.shard
