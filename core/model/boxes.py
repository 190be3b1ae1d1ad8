"""From where the numbers of each visual token lie to boxes: covers told apart, edges that belong together made one.

Plain numpy. Coordinates are shares of the picture's width and height.
"""

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.layout import WHOLE, Box

Floats = NDArray[np.float64]

_RIM = 0.02  #: of the usual count of numbers: a token with fewer lies on the rim of padding, and has no place
_NEAR = 0.25  #: of a token's width: edges and middles that are nearer than this are the same
_GAPS = 0.2  #: of the area that a cover spans: by how much the areas of its boxes may differ from that together
_ON = 0.4  #: of the shorter of two tokens' sides, along both axes: the part in common, where one lies on the other
_STRAIGHT = 0.1  #: of a token's width: how far the middles may lie from evenly spaced ones, which replace them then
_OUTER = 0.15  #: of a token's width: an outer edge that is nearer than this to the picture's edge lies on it


def boxes_of(token: NDArray[np.int64], x: Floats, y: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The boxes of the tokens that have a place, from the coordinates of the numbers that reach each.

    A box has the mean of its numbers as its middle, and sqrt(12 * variance) as its sides: exact for numbers that fill
    it evenly.

    Args:
        token: int64 (N,), which token a number reaches; N is at least 1.
        x, y: float64 (N,), where it lies in the picture, 0 to 1.

    Returns:
        int64 (V,), the tokens that have a place, ascending; float64 (V, 4), their boxes as x0, y0, x1, y1.
    """
    count = np.bincount(token)
    placed = np.flatnonzero(count > _RIM * np.median(count[count > 0]))
    sides = []
    for at in (x, y):
        middle = np.bincount(token, at)[placed] / count[placed]
        square = np.bincount(token, at * at)[placed] / count[placed]
        half = np.sqrt(12 * np.maximum(square - middle * middle, 0)) / 2
        sides += [middle - half, middle + half]
    left, right, top, bottom = sides
    return placed, np.stack([left, top, right, bottom], axis=1)


def covers_of(boxes: Floats) -> NDArray[np.int64]:
    """int64 (V,): a new cover begins where a token lies on an earlier one of the present cover.

    In thin pictures a thumbnail's token and a tile's may cross, and have a small part of either's area in common: so
    their sides are compared.
    """
    cover = np.zeros(len(boxes), dtype=np.int64)
    low, high = boxes[:, :2], boxes[:, 2:]
    sides = high - low
    start = 0
    for token in range(1, len(boxes)):
        earlier = slice(start, token)
        common = np.minimum(high[earlier], high[token]) - np.maximum(low[earlier], low[token])
        if (common > _ON * np.minimum(sides[earlier], sides[token])).all(axis=1).any():
            start = token
        cover[token] = cover[token - 1] + (start == token)
    return cover


def regular(boxes: Floats, cover: NDArray[np.int64]) -> Floats:
    """The boxes with edges that nearly meet made one, evenly spaced where they nearly are; none leaves the picture.

    A token of which only a part lies in the picture, beside padding, keeps that part.
    """
    found = boxes.copy()
    for number in np.unique(cover):
        own = np.flatnonzero(cover == number)
        for axis in (0, 1):
            found[own[:, None], [axis, axis + 2]] = _regular_axis(boxes[own, axis], boxes[own, axis + 2])
    return np.clip(found, 0.0, 1.0)


def _regular_axis(low: Floats, high: Floats) -> Floats:
    """float64 (n, 2): the edges of one cover's tokens along one axis."""
    width = float(np.median(high - low))
    middle = (low + high) / 2
    order = np.argsort(middle, kind="stable")
    steps = np.diff(middle[order], prepend=middle[order[0]]) > _NEAR * width
    group = np.empty(len(low), dtype=np.int64)  # the column, or row, of each token
    group[order] = np.cumsum(steps)
    lows, highs = (np.bincount(group, edge) / np.bincount(group) for edge in (low, high))
    even = _even((lows + highs) / 2, width)
    if even is None:
        for left in np.flatnonzero(np.abs(highs[:-1] - lows[1:]) < _NEAR * width):
            highs[left] = lows[left + 1] = (highs[left] + lows[left + 1]) / 2
        edges = np.stack([lows, highs], axis=1)
    else:
        edges = np.stack([even[:-1], even[1:]], axis=1)
    edges[np.abs(edges) < _OUTER * width] = 0.0
    edges[np.abs(edges - 1) < _OUTER * width] = 1.0
    return np.asarray(edges[group])


def _even(middles: Floats, width: float) -> Floats | None:
    """The edges of n evenly spaced columns with these middles, n + 1 of them; None if they are not evenly spaced.

    The outer two may lie partly in padding, which moves their middles: the inner ones decide.
    """
    n = len(middles)
    if n == 1:
        return None
    inner = slice(1, -1) if n > 3 else slice(None)
    places = np.arange(n) + 0.5
    step, start = np.polyfit(places[inner], middles[inner], 1)
    off = np.abs(middles - (start + step * places))
    if off[inner].max() > _STRAIGHT * width or off.max() > 0.6 * width or abs(step - width) > _NEAR * width:
        return None
    edges = np.asarray(start + step * np.arange(n + 1), dtype=np.float64)
    if abs(edges[0]) < _OUTER * width and abs(edges[-1] - 1) < _OUTER * width:
        edges = np.arange(n + 1) / n
    return edges


def cover_whole(boxes: Floats, cover: NDArray[np.int64]) -> bool:
    """Whether the boxes of each cover add up to nearly the area that they span, without gaps and overlaps."""
    for number in np.unique(cover):
        own = boxes[cover == number]
        span = (own[:, 2:].max(axis=0) - own[:, :2].min(axis=0)).prod()
        if abs((own[:, 2:] - own[:, :2]).prod(axis=1).sum() - span) > _GAPS * span:
            return False
    return True


def seen_of(boxes: Floats) -> tuple[Box, Floats]:
    """The union of the boxes, and the boxes as shares of it."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    inside = (boxes - np.tile(low, 2)) / np.tile(high - low, 2)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1])), np.clip(inside, 0.0, 1.0)


def snapped(seen: Box, size: tuple[int, int], columns: int, rows: int) -> Box:
    """What a model sees of a picture of ``size``: the whole, or its centre square, where ``seen`` is nearly that.

    Args:
        seen: as measured, perhaps on a picture whose sides differ by 1 %. columns, rows: tokens along it.
    """
    width, height = size
    crop = min(size)
    x, y = (1 - crop / width) / 2, (1 - crop / height) / 2
    near = _NEAR * np.array([seen[2] - seen[0], seen[3] - seen[1]] * 2) / np.array([columns, rows] * 2)
    off = {candidate: np.abs(np.subtract(seen, candidate)) for candidate in (WHOLE, (x, y, 1 - x, 1 - y))}
    nearest = min(off, key=lambda candidate: float(off[candidate].max()))
    return nearest if (off[nearest] < near).all() else seen
