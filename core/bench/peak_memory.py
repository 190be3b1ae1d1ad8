"""The most memory that a piece of work takes, on the device that it runs on."""

import resource
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak resident set


class PeakMemory:
    """Measures from ``reset`` to ``mib``; ``kind`` names what is counted."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.kind = "allocated on the GPU" if device.type == "cuda" else "resident in this process"

    def reset(self) -> None:
        """Start here; where the system cannot, the peak is the process's since its start, as ``kind`` then states."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        try:
            _CLEAR.write_text(_RESET_PEAK)
            _resident_peak()
        except (OSError, ValueError):
            self.kind = "resident in this process, since its start"

    def mib(self) -> float:
        """MiB; on a GPU what torch allocated, the weights included."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        try:
            return _resident_peak() / 2**10
        except (OSError, ValueError):
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
            return most / (2**20 if sys.platform == "darwin" else 2**10)


def _resident_peak() -> int:
    """The largest resident set so far, KiB; OSError or ValueError where the system does not report it."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise ValueError("no VmHWM")
