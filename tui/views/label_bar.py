"""The shares of the four labels as one bar."""

from collections.abc import Sequence


def bar_cells(counts: Sequence[int], width: int) -> list[int]:
    """Cells for each part of a bar, ``width`` in all; a part that is there gets one at least, if that fits."""
    whole = sum(counts)
    if not whole:
        return [0] * len(counts)
    exact = [count * width / whole for count in counts]
    cells = [int(share) for share in exact]
    for which in sorted(range(len(counts)), key=lambda i: cells[i] - exact[i])[: width - sum(cells)]:
        cells[which] += 1
    for which, count in enumerate(counts):
        largest = max(range(len(counts)), key=cells.__getitem__)
        if count and not cells[which] and cells[largest] > 2:
            cells[which] += 1
            cells[largest] -= 1
    return cells
