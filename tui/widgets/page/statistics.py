"""The page of statistics: how firm the label is, and how the activation is distributed over patches and over words."""

import math

from textual.strip import Strip

from vlmscope.core.analysis.firmness import NeuronFirmness
from vlmscope.core.method.distribution import BINS, EDGES, Distribution
from vlmscope.core.method.labels import Label
from vlmscope.tui.views.facts import Facts
from vlmscope.tui.widgets.lines import blank, row, wrapped
from vlmscope.tui.widgets.numbers import activation, fraction, heights, share_active
from vlmscope.tui.widgets.palette import Palette

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ROOMY = 52  # cells from which a histogram's head has all its numbers


def histogram(
    name: str, distribution: Distribution, kind: Label, width: int, height: int, palette: Palette
) -> list[Strip]:
    """A histogram over the scan's logarithmic bins, with its numbers above and its edges below."""
    if math.isnan(distribution.mean):
        return [row([(f"{name}: none seen", palette.muted)], width)]
    numbers = [share_active(distribution.share_active), f"mean {activation(distribution.mean)}"]
    if width >= _ROOMY:
        deviation = math.sqrt(max(distribution.mean_square - distribution.mean**2, 0.0))
        numbers = [f"{distribution.count:,}", *numbers, f"sd {activation(deviation)}"]
    head = row([(f"{name} ", palette.labels[kind] + palette.strong), (" · ".join(numbers), palette.text)], width)
    per_bin = 2 if width >= 2 * BINS else 1
    bins = BINS if width >= BINS else BINS // 2
    tall = heights(distribution, bins)
    top = max(tall, default=0.0) or 1.0
    rows = max(height - 2, 1)
    lines = [head]
    for y in range(rows):
        line = ""
        for value in tall:
            eighths = round(8 * rows * value / top) - 8 * (rows - 1 - y)
            if value > 0 and y == rows - 1:
                eighths = max(eighths, 1)
            line += _BLOCKS[min(max(eighths, 0), 8)] * per_bin
        lines.append(row([(line, palette.labels[kind])], width))
    return [*lines, row([(_axis(bins * per_bin), palette.muted)], width)]


def _axis(cells: int) -> str:
    """Lower edges under the bins that they begin: all up to 0, then .0078, .12, 2, 32."""
    axis = "≤0"
    for edge in (5, 13, 21, 29):
        at = (edge + 1) * cells // BINS
        text = f"{EDGES[edge]:.2g}".removeprefix("0")
        if len(axis) < at and at + len(text) <= max(cells, 2):  # one that has no room is left out
            axis = f"{axis:<{at}}{text}"
    return axis


def statistics(facts: Facts, maximum: float, width: int, height: int, palette: Palette) -> list[Strip]:
    """The page's statistics: both histograms, one above the other, and what they count."""
    each = max((height - 3) // 2, 4)
    largest = f"max {activation(maximum)} over all tokens, {activation(facts.content_maximum)} over patches and words"
    patches, words = (histogram(*of, width, each, palette) for of in facts.distributions)
    return [
        row([(largest, palette.text)], width),
        row([("both axes logarithmic; the first bar: tokens that are not above 0", palette.muted)], width),
        *patches,
        *blank(width),
        *words,
    ][:height]


def firmness_lines(firmness: NeuronFirmness | None, palette: Palette, width: int) -> list[Strip]:
    """Margin, share and sign test of the votes: of the label, not of the neuron (``core/analysis/firmness.py``)."""
    if firmness is None or firmness.share is None:
        return [row([("no votes" if firmness is not None else "…", palette.muted)], width)]
    fragile = "fragile: a threshold moved by a tenth changes it" if firmness.fragile else "not fragile"
    text = (
        f"margin {fraction(firmness.margin)} · share {fraction(firmness.share)}"
        f" (95% {fraction(firmness.low)} to {fraction(firmness.high)}) · sign test p {firmness.sign_p:.2g} · {fragile}"
    )
    head = "label "
    return [
        row([(f"{'' if at else head:<{len(head)}}", palette.muted), (line, palette.text)], width)
        for at, line in enumerate(wrapped(text, width - len(head)))
    ]
