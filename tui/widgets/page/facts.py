"""The neuron as a whole: what it means, how its activation is distributed, and the words at its peaks."""

import math

import numpy as np
from textual.strip import Strip

from vlmscope.core.method.distribution import BINS, EDGES, Distribution
from vlmscope.tui.views.meaning import Meaning
from vlmscope.tui.views.page import Facts
from vlmscope.tui.widgets.lines import Part, beside, blank, row
from vlmscope.tui.widgets.numbers import activation, spark
from vlmscope.tui.widgets.page.meaning import (
    concepts_line,
    decided_line,
    explanation_lines,
    meaning_beside,
    promoted_line,
    score_lines,
)
from vlmscope.tui.widgets.page.words import spell
from vlmscope.tui.widgets.palette import Palette

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ROOMY = 52  # cells from which a histogram's head has all its numbers
TALL = 9  #: lines from which the facts have histograms, not one line each
_LEAST_PEAKS = 4  # lines that the column beside the pictures keeps for the peaks
_MOST_SAID = 4  # lines of the explanation below the pictures


def _heights(distribution: Distribution, bins: int = BINS) -> list[float]:
    """Height of each bin: logarithmic, because nearly all tokens are in the first."""
    merged = distribution.histogram.astype(np.float64).reshape(bins, -1).sum(axis=1)
    return [float(value) for value in np.log1p(merged)]


def _share(value: float) -> str:
    return "none seen" if math.isnan(value) else f"{100 * value:.0f}% active" if value >= 0.01 else "<1% active"


def _peaks(facts: Facts, palette: Palette, width: int) -> Strip:
    parts: list[Part] = [(f"{'peaks':<10}", palette.muted)]
    for at, (word, count) in enumerate(facts.peaks):
        parts.append((" · " if at else "", palette.muted))
        parts.append((spell(word) or "␣", palette.text))
        parts.append((f" ×{count}", palette.muted))
    if not facts.peaks:
        parts.append(("fires on no word of its top samples", palette.muted))
    return row(parts, width)


def facts_beside(facts: Facts, meaning: Meaning | None, width: int, height: int, palette: Palette) -> list[Strip]:
    """A narrow column: concepts and explanation, one peak word a line, and both distributions where there is room."""
    sparks: list[Strip] = []
    for name, distribution, look in (
        ("patches", facts.visual, palette.labels[0]),
        ("words", facts.text, palette.labels[1]),
    ):
        sparks.append(row([(f"{name} ", palette.muted), (_share(distribution.share_active), palette.text)], width))
        sparks.append(row([(spark(_heights(distribution, BINS // 2)), look)], width))
    lines = meaning_beside(meaning, width, max(height - _LEAST_PEAKS, 1), palette) if meaning is not None else []
    lines.append(row([("words at its peaks", palette.muted)], width))
    if not facts.peaks:
        lines.append(row([("none", palette.muted)], width))
    room = height - len(lines)
    for word, count in facts.peaks[: max(room - len(sparks), min(room, 3))]:
        note = f" ×{count}"
        lines.append(
            Strip.join(
                [row([(spell(word) or "␣", palette.text)], width - len(note)), row([(note, palette.muted)], len(note))]
            )
        )
    if len(lines) + len(sparks) <= height:
        lines += sparks
    return lines[:height]


def facts_below(facts: Facts, meaning: Meaning | None, width: int, height: int, palette: Palette) -> list[Strip]:
    """What it means, its peaks, and its distributions: what matters most first; histograms where there is room."""
    sparks = []
    for name, distribution, look in (
        ("patches", facts.visual, palette.labels[0]),
        ("words", facts.text, palette.labels[1]),
    ):
        sparks.append(
            row(
                [
                    (f"{name:<10}", palette.muted),
                    (spark(_heights(distribution)), look),
                    (f"  {_share(distribution.share_active)}", palette.text),
                    (f" · mean {activation(distribution.mean)}", palette.muted),
                ],
                width,
            )
        )
    peaks = _peaks(facts, palette, width)
    if meaning is None:
        lines = [*blank(width), peaks]
    else:
        decided = decided_line(meaning, palette, width)
        noted = [*score_lines(meaning, palette, width), *([] if decided is None else [decided])]
        others = 4 + len(noted) + len(sparks)  # the blank, concepts, promoted tokens, peaks
        said = explanation_lines(meaning, palette, width, max(1, min(height - others, _MOST_SAID)))
        concepts, promoted = concepts_line(meaning, palette, width), promoted_line(meaning, palette, width)
        lines = [*blank(width), concepts, *said, *noted, peaks, promoted]
    rest = height - len(lines)
    if rest < TALL + 1:
        return [*lines, *sparks][:height]
    half = (width - 3) // 2
    tall = min(rest - 1, 18)
    plots = beside(
        [
            (histogram("patches", facts.visual, half, tall, palette, 0), half),
            (histogram("words", facts.text, half, tall, palette, 1), half),
        ],
        tall,
        gap=3,
    )
    return [*lines, *blank(width), *plots][:height]


def _deviation(distribution: Distribution) -> float:
    return math.sqrt(max(distribution.mean_square - distribution.mean**2, 0.0))


def histogram(
    name: str, distribution: Distribution, width: int, height: int, palette: Palette, kind: int
) -> list[Strip]:
    """A histogram over the scan's logarithmic bins, with its numbers above and its edges below."""
    if math.isnan(distribution.mean):
        return [row([(f"{name}: none seen", palette.muted)], width)]
    numbers = [_share(distribution.share_active), f"mean {activation(distribution.mean)}"]
    if width >= _ROOMY:
        numbers = [f"{distribution.count:,}", *numbers, f"sd {activation(_deviation(distribution))}"]
    head = row([(f"{name} ", palette.labels[kind] + palette.strong), (" · ".join(numbers), palette.text)], width)
    per_bin = 2 if width >= 2 * BINS else 1
    bins = BINS if width >= BINS else BINS // 2
    heights = _heights(distribution, bins)
    top = max(heights, default=0.0) or 1.0
    rows = max(height - 2, 1)
    lines = [head]
    for y in range(rows):
        line = ""
        for value in heights:
            eighths = round(8 * rows * value / top) - 8 * (rows - 1 - y)
            if value > 0 and y == rows - 1:
                eighths = max(eighths, 1)
            line += _BLOCKS[min(max(eighths, 0), 8)] * per_bin
        lines.append(row([(line, palette.labels[kind])], width))
    return [*lines, row([(_axis(bins * per_bin), palette.muted)], width)]


def _axis(cells: int) -> str:
    """Lower edges under the bins that they begin: all up to 0, then .0078, .12, 2, 32."""
    axis = [" "] * cells
    axis[:2] = "≤0"
    for edge in (5, 13, 21, 29):
        at = (edge + 1) * cells // BINS
        text = f"{EDGES[edge]:.2g}".removeprefix("0")
        axis[at : at + len(text)] = text
    return "".join(axis).rstrip()


def statistics(facts: Facts, maximum: float, width: int, height: int, palette: Palette) -> list[Strip]:
    """The page's statistics: both histograms, one above the other, and what they count."""
    each = max((height - 3) // 2, 4)
    largest = f"max {activation(maximum)} over all tokens, {activation(facts.content_maximum)} over patches and words"
    return [
        row([(largest, palette.text)], width),
        row([("both axes logarithmic; the first bar: tokens that are not above 0", palette.muted)], width),
        *histogram("patches", facts.visual, width, each, palette, 0),
        *blank(width),
        *histogram("words", facts.text, width, each, palette, 1),
    ][:height]
