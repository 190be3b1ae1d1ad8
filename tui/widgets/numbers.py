"""How numbers are written on the screen: short, but never so rounded that they contradict the words beside them."""

import math
from collections.abc import Sequence

import numpy as np

from vlmscope.core.method.distribution import BINS, Distribution
from vlmscope.core.method.labels import Label, bar_cells
from vlmscope.tui.widgets.lines import Span
from vlmscope.tui.widgets.palette import Palette

_ORDINALS = {1: "st", 2: "nd", 3: "rd"}
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def fraction(value: float) -> str:
    """A fraction as ``.92`` or ``1.0``, three cells wide."""
    return "1.0" if value >= 0.995 else f"{value:.2f}"[1:]


def percent(part: int, whole: int) -> str:
    """A share in whole per cent; ``<1%`` and ``>99%`` where rounding would show none or all."""
    if not whole:
        return "0%"
    share = 100 * part / whole
    if 0 < share < 0.5:
        return "<1%"
    if 99.5 <= share < 100:
        return ">99%"
    return f"{share:.0f}%"


def activation(value: float) -> str:
    """An activation in three significant digits, without an exponent where it fits."""
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.01 else f"{value:.0e}"


def probability(value: float) -> str:
    """A probability in two digits, in four near 1, where a model that is sure is; 0 and 1 only if it is that."""
    if value in (0, 1) or 0.005 <= value < 0.995:
        return f"{value:.2f}"
    if value < 0.5:
        return f"{value:.0e}"
    return f"{value:.4f}" if value < 0.99995 else ">0.9999"


def nats(value: float) -> str:
    """A KL divergence in nats; 0 only if it is that."""
    if value == 0:
        return "0"
    return f"{value:.2f}" if value >= 0.005 else f"{value:.0e}"


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``4th`` ... for numbers up to 20."""
    return f"{number}{_ORDINALS.get(number, 'th')}"


def against(value: float, threshold: float, *, above: bool) -> str:
    """``6.1 > 2`` or ``0.4 ≤ 3``, with as many digits as the comparison needs to look as true as it is."""
    for digits in range(1, 7):
        text = f"{value:.{digits}f}"
        if (float(text) > threshold) == above:
            break
    return f"{text} {'>' if above else '≤'} {threshold:g}"


def label_bar(counts: Sequence[int], width: int, palette: Palette, glyphs: str = "█░") -> list[Span]:
    """The shares of the four labels as one bar; without colour, each part is written in its letter.

    Args:
        glyphs: of a known label and of the unknown one.
    """
    parts: list[Span] = []
    for label, cells in zip(Label, bar_cells(counts, width), strict=True):
        glyph = label.letter if palette.colourless else glyphs[label is Label.UNKNOWN]
        parts.append((glyph * cells, palette.bars[label]))
    used = sum(len(text) for text, _ in parts)
    return [*parts, (" " * (width - used), palette.muted)]


def short_shares(counts: Sequence[int], palette: Palette) -> list[Span]:
    """The shares of the four labels as ``V5 T11 M79 ·5%``; an ellipsis for each where nothing was counted yet."""
    whole = sum(counts)
    words = [percent(count, whole).removesuffix("%") if whole else "…" for count in counts]
    last = len(words) - 1
    return [
        (f"{label.letter}{word}{'%' if at == last else ' '}", palette.labels[label])
        for at, (label, word) in enumerate(zip(Label, words, strict=True))
    ]


def spark(values: list[float]) -> str:
    """One glyph a value, scaled to the largest; anything above 0 is visible."""
    top = max(values, default=0.0)
    if top <= 0:
        return " " * len(values)
    return "".join(_EIGHTHS[0 if value <= 0 else max(1, round(8 * value / top))] for value in values)


def heights(distribution: Distribution, bins: int = BINS) -> list[float]:
    """Height of each bin: logarithmic, because nearly all tokens are in the first."""
    merged = distribution.histogram.astype(np.float64).reshape(bins, -1).sum(axis=1)
    return [float(value) for value in np.log1p(merged)]


def share_active(value: float) -> str:
    """How many tokens are above 0."""
    return "none seen" if math.isnan(value) else f"{100 * value:.0f}% active" if value >= 0.01 else "<1% active"
