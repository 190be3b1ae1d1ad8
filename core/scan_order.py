"""In which order a scan meets its samples, and which go through the model together."""

import hashlib
from collections.abc import Mapping


def scan_order(lengths: Mapping[int, int], batch: int) -> list[list[int]]:
    """Samples in batches of like length, the batches in an order that is random and always the same.

    Like lengths waste little on padding. If the batches came in order of length, a scan in progress would show short
    descriptions only.

    Args:
        lengths: tokens of each sample, by index.
        batch: samples of a batch; the last of all lengths may be smaller.
    """
    drawn = sorted(lengths, key=lambda sample: (lengths[sample], _draw("sample", sample)))
    batches = [drawn[start : start + batch] for start in range(0, len(drawn), batch)]
    return sorted(batches, key=lambda samples: _draw("batch", samples[0]))


def _draw(what: str, sample: int) -> bytes:
    """A random number that no library's next version will draw otherwise."""
    return hashlib.sha256(f"{what} {sample}".encode()).digest()
