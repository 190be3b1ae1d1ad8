"""The layer strip, one bar for each layer, in both its shapes: a pane, and one line where the screen is small.

Where the scan has a control, a thin line along the foot of each bar is the control's: shares say little without it.
"""

from collections.abc import Sequence
from itertools import groupby

from rich.style import Style
from textual.events import Click
from textual.strip import Strip

from vlmscope.core.method.labels import Label, bar_cells
from vlmscope.tui.messages import LayerChosen
from vlmscope.tui.views.scene import LayerCounts, Scene
from vlmscope.tui.widgets.lines import Lines, Span, blank, row
from vlmscope.tui.widgets.numbers import label_bar, percent, short_shares
from vlmscope.tui.widgets.palette import Palette

FOOT = "▂"  #: the control's part of a bar's cell
ONE_LINE = 50  #: cells in which the numbers of scan and control are one line
NUMBERS = 3  #: lines that the numbers of scan and control take


class LayerStrip(Lines[Scene]):
    """One bar for each layer: the paper's figure 5."""

    _first, _shown = 0, 0  # the layer at the top, and how many are shown

    def paint(self, view: Scene, palette: Palette) -> list[Strip]:
        width, height = self.size
        layers, at, controls = len(view.counts), view.state.neuron.layer, view.control_counts
        wide = width >= ONE_LINE
        roomy = height >= 4 * NUMBERS and not wide
        numbers = [] if controls is None or not roomy else _numbers(at, view.counts, controls, palette)
        space = height - 1 - len(numbers)
        # A blank line goes before the legend, unless every layer has its line.
        room = min(layers, max(space if numbers or layers <= space else space - 1, 1))
        self._first, self._shown = min(max(at - room // 2, 0), max(layers - room, 0)), room
        lines = []
        for layer in range(self._first, min(self._first + room, layers)):
            chosen = layer == at
            control = None if controls is None else controls[layer]
            parts: list[Span] = [
                ("▸" if chosen else " ", palette.accent),
                (f"{layer:>2} ", palette.strong if chosen else palette.muted),
                *_bar(view.counts[layer], control, width - 5, palette),
                (" ", palette.text),
            ]
            strip = row(parts, width)
            lines.append(strip.apply_style(palette.cursor) if chosen else strip)
        lines += blank(width, max(space - len(lines), 0))
        lines += [row(parts, width) for parts in numbers]
        letters = legend(palette, controls is not None)
        if wide and controls is not None:
            foot = "" if palette.colourless else f"{FOOT} "
            beside = [(f"  {foot}control ", palette.muted), *short_shares(controls[at], palette)]
            letters = [(f" L{at} ", palette.text), *short_shares(view.counts[at], palette), *beside]
        lines.append(row(letters, width))
        return lines[:height]

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is not None and at.y < self._shown:
            self.post_message(LayerChosen(self._first + at.y))


def _bar(counts: Sequence[int], control: Sequence[int] | None, width: int, palette: Palette) -> list[Span]:
    """The scan's shares, along their foot thinly the control's; without colour, letters, of the scan alone."""
    if control is None or not any(control) or palette.colourless:
        return label_bar(counts, width, palette)
    scan, foot = (
        [label for label, cells in zip(Label, bar_cells(of, width), strict=True) for _ in range(cells)]
        for of in (counts, control)
    )
    parts: list[Span] = []
    for (above, below), same in groupby(zip(scan, foot, strict=True)):
        background = Style(bgcolor=palette.bars[above].color)
        parts.append((FOOT * len(list(same)), palette.bars[below] + background))
    return parts


def _numbers(layer: int, counts: LayerCounts, control: LayerCounts, palette: Palette) -> list[list[Span]]:
    """The shares of the layer shown, in numbers: the scan's and the control's."""
    both = (counts[layer], control[layer])
    lines: list[list[Span]] = [[(" ", palette.text), *short_shares(of, palette)] for of in both]
    return [[(f" L{layer} over control", palette.muted)], *lines]


def legend(palette: Palette, controlled: bool = False) -> list[Span]:
    """What the colours and letters mean; with a control, also which part of a bar it has."""
    letters: list[Span] = [(f"{label.letter} ", palette.labels[label] + palette.strong) for label in Label]
    words = f"{FOOT} control" if controlled and not palette.colourless else "by layer"
    return [(" ", palette.text), *letters, (words, palette.muted)]


class FoldedStrip(Lines[Scene]):
    """The layer strip in one line: each layer's most frequent label, and the shares of the layer shown."""

    _first, _left, _last = 0, 0, 0  # the first layer, its cell, one past the last layer

    def paint(self, view: Scene, palette: Palette) -> list[Strip]:
        width = self.size.width
        layers, at = len(view.counts), view.state.neuron.layer
        tail = _shares(at, view.counts, view.control_counts, palette)
        need = sum(len(text) for text, _ in tail)
        head = " layers "
        if view.control is not None and layers > width - need - len(head) - 4:
            head = " "  # the shares say "L3" as well
        room = max(width - need - len(head) - 4, 1)
        self._first = min(max(at - room // 2, 0), max(layers - room, 0))
        self._left = len(head) + 1
        last = self._last = min(self._first + room, layers)
        parts: list[Span] = [(head, palette.muted), ("‹" if self._first else " ", palette.muted)]
        for layer in range(self._first, last):
            label = Label(view.counts[layer].index(max(view.counts[layer])))
            look = palette.labels[label]
            parts.append((label.letter, look + Style(reverse=True, bold=True) if layer == at else look))
        parts.append(("›" if last < layers else " ", palette.muted))
        free = width - need - len(head) - 2 - (last - self._first) - 3
        note = next((note for note in _notes(view) if len(note) <= free), "")
        tail.append((f"{note:>{max(free, 0) + 2}}", palette.muted))
        return [row([*parts, *tail], width)]

    def on_click(self, event: Click) -> None:
        layer = self._first + event.x - self._left
        if self._first <= layer < self._last:
            self.post_message(LayerChosen(layer))


def _shares(layer: int, counts: LayerCounts, control: LayerCounts | None, palette: Palette) -> list[Span]:
    """The shares of the layer shown; beside the control's both are short."""
    tail: list[Span] = [(f"  L{layer}: ", palette.text)]
    own = counts[layer]
    if control is None:
        return tail + [(f"{label.letter} {percent(own[label], sum(own))} ", palette.labels[label]) for label in Label]
    beside = short_shares(control[layer], palette)
    return [*tail, *short_shares(own, palette), ("  control ", palette.muted), *beside, (" ", palette.text)]


def _notes(scene: Scene) -> list[str]:
    """How far the triage is; which model and data these are, the longest text first."""
    manifest, progress = scene.columns.store.manifest, scene.scan_progress
    count = progress[0] if progress else f"{manifest.scanned} samples"
    what = f"{manifest.read_at} · {count} · N {manifest.top_n}"
    notes = [scene.noted.progress, f"{manifest.model.name[:30]} · {what}", what, *progress, manifest.read_at]
    return [note for note in notes if note]
