"""In which order a scan meets its samples, and which go through the model together."""

import hashlib
from collections.abc import Mapping


def scan_order(shapes: Mapping[int, tuple[int, int]], batch: int) -> list[list[int]]:
    """Samples in batches of like length, the batches in an order that is random and always the same.

    Like lengths waste little on padding. If the batches came in order of length, a scan in progress would show short
    descriptions only.

    Args:
        shapes: of each sample, by index: the token that its description starts at, which is the same in all samples
            of a batch (a tokenizer may join the first word to the space before it, or not), and its tokens in all.
        batch: samples of a batch; the last of each start may be smaller.
    """
    batches: list[list[int]] = []
    for start in sorted({start for start, _ in shapes.values()}):
        alike = [sample for sample, (its, _) in shapes.items() if its == start]
        drawn = sorted(alike, key=lambda sample: (shapes[sample], _draw("sample", sample)))
        batches += [drawn[at : at + batch] for at in range(0, len(drawn), batch)]
    return sorted(batches, key=lambda samples: _draw("batch", samples[0]))


def _draw(what: str, sample: int) -> bytes:
    """A random number that no library's next version will draw otherwise."""
    return hashlib.sha256(f"{what} {sample}".encode()).digest()
