"""The order in which a scan processes its samples, and which go through the model together."""

import hashlib
from collections.abc import Mapping


def scan_order(lengths: Mapping[int, int], batch: int) -> list[list[int]]:
    """Batches of samples of similar length, in an order that is random and always the same.

    Similar lengths waste little on padding. If the batches came in order of length, a scan in progress would show short
    descriptions only.

    Args:
        lengths: of each sample, by index: its tokens.
        batch: samples of a batch; the last one in order of length may be smaller.
    """
    drawn = sorted(lengths, key=lambda sample: (lengths[sample], _draw("sample", sample)))
    batches = [drawn[at : at + batch] for at in range(0, len(drawn), batch)]
    return sorted(batches, key=lambda samples: _draw("batch", samples[0]))


def _draw(what: str, sample: int) -> bytes:
    """A random number that is the same with every version of every library."""
    return hashlib.sha256(f"{what} {sample}".encode()).digest()
