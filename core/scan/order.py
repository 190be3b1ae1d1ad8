"""The order in which a scan processes its samples, and which go through the model together."""

import hashlib
from collections.abc import Mapping


def scan_order(shapes: Mapping[int, tuple[int, int]], batch: int) -> list[list[int]]:
    """Batches of samples of similar length, in an order that is random and always the same.

    Similar lengths waste little on padding. If the batches came in order of length, a scan in progress would show short
    descriptions only.

    Args:
        shapes: of each sample, by index: the token that its description starts at, and the number of its tokens. All
            samples of a batch have the same start (a tokenizer may join the first word to the space before it, or not).
        batch: samples of a batch; the last batch of each start may be smaller.
    """
    batches: list[list[int]] = []
    for start in sorted({start for start, _ in shapes.values()}):
        same_start = [sample for sample, shape in shapes.items() if shape[0] == start]
        drawn = sorted(same_start, key=lambda sample: (shapes[sample], _draw("sample", sample)))
        batches += [drawn[at : at + batch] for at in range(0, len(drawn), batch)]
    return sorted(batches, key=lambda samples: _draw("batch", samples[0]))


def _draw(what: str, sample: int) -> bytes:
    """A random number that is the same with every version of every library."""
    return hashlib.sha256(f"{what} {sample}".encode()).digest()
