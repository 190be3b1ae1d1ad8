"""The device and the dtype of a model, and the host's free memory."""

import contextlib
import ctypes
import sys
from pathlib import Path
from typing import Any

import torch

from vlmscope.core.base.errors import ModelError
from vlmscope.core.base.text import first_line

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  #: of mallopt, in malloc.h


def resolve_device(name: str) -> torch.device:
    """``auto`` is the first CUDA device, else the CPU.

    Raises:
        ModelError: if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"There is no device {name!r} here: {first_line(error).partition('. ')[0]}",
            "Use auto, cpu, cuda, cuda:1 or mps; 'vlmscope doctor' lists the devices.",
        ) from error
    return torch.device("cuda:0") if name == "cuda" else device


def input_device(model: Any) -> torch.device:
    """Where a model of transformers takes its inputs. If accelerate spreads it, its parameters may be on "meta"."""
    execution: int | str | torch.device | None = getattr(getattr(model, "_hf_hook", None), "execution_device", None)
    return torch.device(model.device if execution is None else execution)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """``auto`` is float32 on the CPU; on a GPU bfloat16 where it has it, else float16.

    Raises:
        ModelError: if the dtype is unknown.
    """
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if _has_bfloat16(device) else torch.float16
    if name not in kinds:
        raise ModelError(f"{name!r} is not a dtype for a model.", f"Use auto, {', '.join(kinds)}.")
    return kinds[name]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):  # the check is of the current device, and by default counts emulation
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def keep_freed_memory() -> None:
    """Let this process keep up to 256 MB of freed memory, where the C library is glibc.

    By default it gives the memory of each large tensor back and takes it again for the next one. On a CPU batches of a
    restart take about a fifth longer with that.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # other C libraries have no mallopt
        library = ctypes.CDLL(None)
        for option, value in ((_TRIM_THRESHOLD, 1 << 28), (_MMAP_THRESHOLD, 1 << 25)):
            library.mallopt(option, value)


def free_memory(processes: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes of the host's memory that a program can have without swapping; None where that is not known.

    The limits of a container or a job count (cgroup 2), each for everything inside it. Files cached in memory, such as
    weights that were read once, count as free.
    """
    try:
        lines = (processes / "meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    try:
        own = (processes / "self" / "cgroup").read_text(encoding="utf-8").splitlines()[-1].removeprefix("0::")
    except (OSError, ValueError, IndexError):
        return free
    group = groups / own.removeprefix("/")
    while group.is_relative_to(groups):
        try:
            limit, used = (int((group / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
            free = min(free, max(0, limit - used + _cached(group)))
        except (OSError, ValueError):
            pass  # no cgroup 2, or no limit ("max")
        group = group.parent
    return free


def _cached(group: Path) -> int:
    """Bytes of files that a group's memory holds and could give up."""
    try:
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return int(stat["inactive_file"]) + int(stat["active_file"])
    except (OSError, ValueError, KeyError):
        return 0
