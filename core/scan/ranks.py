"""A scan by the processes that torchrun started: each scans a shard of the samples, the first merges them at the end.

They exchange little, by gloo: that all have begun and share one disk, that all are done, and that the merge is done.
If one ends early, all end; the samples that the others have processed stay in their shards.
"""

import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from vlmscope.core.base.callbacks import OnProgress
from vlmscope.core.base.errors import Cancelled, ModelError, RanksError, StoreError, VlmscopeError
from vlmscope.core.base.signals import at_once
from vlmscope.core.base.text import first_line
from vlmscope.core.scan.merge import merge_scans
from vlmscope.core.scan.torchrun import Ranks
from vlmscope.core.store.manifest import MANIFEST, Manifest, ShardInfo, read_manifest
from vlmscope.core.store.shards import shard_folder, shard_folders, shards_folder
from vlmscope.core.store.writer import check_out

BEGUN = timedelta(minutes=10)  #: for all processes to begin
DONE = timedelta(days=60)  #: for the slowest to be done after the first
SEEN_SECONDS = 60.0  #: for a file to appear on the other machines: a network file system caches that it was missing
_SHARED = ".shared-"  #: prefix of the file by which the processes check that they share the disk
OTHER_WAY = "Or scan each shard by itself with --shard, and merge them with 'vlmscope merge'."

#: Scans a shard into its folder, resuming what is there; without a shard, the folder is that of the whole scan.
ScanShard = Callable[[Path, ShardInfo | None], Manifest]


def rank_device(ranks: Ranks, asked: str) -> str:
    """The device of this process: if none is named, the GPU of its local rank, or the CPU where there is no GPU.

    Raises:
        ModelError: if the machine has fewer GPUs than processes.
    """
    if asked not in ("auto", "cuda") or not torch.cuda.is_available():
        return asked
    count = torch.cuda.device_count()
    if ranks.local >= count:
        raise ModelError(
            f"This machine has {count} GPU{'s' if count > 1 else ''}; local rank {ranks.local} has none.",
            f"Start as many processes as there are GPUs: --nproc-per-node {count}. Or name one with --device.",
        )
    return f"cuda:{ranks.local}"


@contextlib.contextmanager
def named(ranks: Ranks) -> Generator[None]:
    """Add the process to the message of an error that is raised inside."""
    try:
        yield
    except VlmscopeError as error:
        error.message = f"{ranks}: {error.message}"
        raise
    except Exception as error:
        error.add_note(f"This was {ranks}.")
        raise


def scan_by_ranks(
    ranks: Ranks, out: Path, scan_part: ScanShard, progress: OnProgress, *, resume: bool = False
) -> Manifest | None:
    """Scan this process's shard; the first process then merges all into ``out``. All processes must call it.

    The shards are in a folder beside ``out`` until they are merged. With ``resume`` the same processes scan only what
    is missing.

    Args:
        progress: of the merge.
        resume: continue with the shards that are there; a finished scan stays as it is.

    Returns:
        the scan's manifest in the first process, None in the others.

    Raises:
        StoreError: if ``out`` or its shards exist and are not to be resumed, or were begun by another number of
            processes; if the processes do not share a disk; as ``vlmscope.core.scan.merge.merge_scans``.
        RanksError: if another process did not begin, or ended early.
        VlmscopeError: what ``scan_part`` raises.
    """
    with _joined(ranks):
        token = _broadcast(_begin(out, ranks, resume) if ranks.is_first else "")
        if token:
            _check_shared([shards_folder(out) / token], "is not the folder that rank 0 has made")
            scan_part(shard_folder(out, ranks.shard), ranks.shard)
            _wait()
            made = _merge(out, ranks, progress) if ranks.is_first else None
        else:
            made = scan_part(out, None) if ranks.is_first else None
        if ranks.is_first:
            _remove_shards(out)
        _wait()
        return made


@contextlib.contextmanager
def _joined(ranks: Ranks) -> Generator[None]:
    """All processes enter this together."""
    with at_once():  # a signal: while torch waits, Python's handlers do not run
        try:
            store = next(rendezvous("env://", ranks.number, ranks.of, timeout=BEGUN))[0]
            store.set(f"begun {ranks.number}", "")
            store.wait([f"begun {number}" for number in range(ranks.of)], BEGUN)
            dist.init_process_group("gloo", store=store, rank=ranks.number, world_size=ranks.of, timeout=DONE)
        except RuntimeError as error:
            raise RanksError(
                f"The {ranks.of} processes do not find each other: {first_line(error)}",
                f"Check torchrun's --nnodes and --rdzv-endpoint, and GLOO_SOCKET_IFNAME. {OTHER_WAY}",
            ) from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def _broadcast(text: str) -> str:
    """The text of the first process, in all of them."""
    texts = [text]
    with _together():
        dist.broadcast_object_list(texts, src=0)
    return texts[0]


def _wait() -> None:
    """Return when all processes have called this."""
    with _together():
        dist.barrier()


@contextlib.contextmanager
def _together() -> Generator[None]:
    with at_once():  # a signal: while torch waits, Python's handlers do not run
        try:
            yield
        except RuntimeError as error:
            raise RanksError(
                "Another process ended early; its own message has the reason.",
                "Correct that, and run the same command with --resume: what was scanned is kept.",
            ) from error


def _begin(out: Path, ranks: Ranks, resume: bool) -> str:
    """Make the folder of the shards, with a file that all must see; returns its name, or "" if the scan is whole."""
    if resume and (out / MANIFEST).exists():
        if read_manifest(out).progress is None:
            return ""
        raise StoreError(
            f"{out} was begun by one process; these are {ranks.of}.",
            "Continue it without torchrun, or name another folder with --out.",
        )
    check_out(out)
    folder = shards_folder(out)
    found = shard_folders(out)
    if found and not resume:
        raise StoreError(
            f"{folder} exists already: a scan that was not finished.",
            "Continue it with --resume, name another folder with --out, or remove it first.",
        )
    for path, of in found.items():
        if of != ranks.of:
            raise StoreError(
                f"{path} was begun by {of} processes; these are {ranks.of}.",
                f"Start {of} processes, or remove {folder} to start again.",
            )
    token = f"{_SHARED}{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / token).touch()
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}.", "Name another folder with --out.") from error
    return token


def _merge(out: Path, ranks: Ranks, progress: OnProgress) -> Manifest:
    """Merge the shards of all processes."""
    folders = [shard_folder(out, ShardInfo(number=number, of=ranks.of)) for number in range(1, ranks.of + 1)]
    _check_shared([folder / MANIFEST for folder in folders], "is not visible on the machine of rank 0")
    try:
        return merge_scans(folders, out, progress)
    except KeyboardInterrupt:
        raise Cancelled("The merge was stopped.", "Run the same command with --resume: all shards are kept.") from None


def _remove_shards(out: Path) -> None:
    folder = shards_folder(out)
    for path in shard_folders(out):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{_SHARED}*"):
            path.unlink()
        folder.rmdir()


def _check_shared(paths: Sequence[Path], reason: str) -> None:
    """Wait until the files are visible here; where they stay invisible, ``reason`` is part of the error."""
    end = time.monotonic() + SEEN_SECONDS
    while unseen := [path for path in paths if not path.exists()]:
        if time.monotonic() >= end:
            raise StoreError(
                f"{unseen[0].parent} {reason}: the machines share no disk there.",
                f"Name a folder on a disk that all of them share with --out. {OTHER_WAY}",
            )
        time.sleep(0.5)
        for path in unseen:
            with contextlib.suppress(OSError):
                list(path.parent.iterdir())  # makes a network file system refresh its cache
