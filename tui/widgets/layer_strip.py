"""The layer strip, a bar a layer, in both its shapes: a pane, and one line where the screen is small.

Where the scan has a control, a thin line along the foot of each bar is the control's: shares say little without it.
"""

from collections.abc import Sequence
from itertools import groupby

from rich.style import Style
from textual.events import Click

from vlmscope.core.method.labels import Label, bar_cells
from vlmscope.tui.messages import LayerChosen
from vlmscope.tui.views.layers import LayersView
from vlmscope.tui.widgets.lines import Lines, Part, blank, row
from vlmscope.tui.widgets.numbers import label_bar, percent, short_shares
from vlmscope.tui.widgets.palette import Palette

FOOT = "▂"  #: the control's part of a bar's cell
NUMBERS = 3  #: lines that the numbers of scan and control take


class LayerStrip(Lines):
    """One bar a layer: the paper's figure 5."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._first = 0
        self._view: tuple[LayersView, Palette] | None = None

    def present(self, view: LayersView, palette: Palette) -> None:
        """Show ``view``, scrolled so that the layer is in view."""
        if (view, palette) != self._view:
            self._view = (view, palette)
            self.repaint()

    def paint(self) -> None:
        if self._view is None:
            return
        view, palette = self._view
        width, height = self.size
        layers = len(view.counts)
        numbers = [] if view.control is None or height < 4 * NUMBERS else _numbers(view, palette)
        space = height - 1 - len(numbers)
        room = min(layers, max(space if numbers else space - 1, 1))  # a blank line goes before the legend
        self._first = min(max(view.layer - room // 2, 0), max(layers - room, 0))
        lines = []
        for layer in range(self._first, min(self._first + room, layers)):
            chosen = layer == view.layer
            control = None if view.control is None else view.control[layer]
            parts: list[Part] = [
                ("▸" if chosen else " ", palette.accent),
                (f"{layer:>2} ", palette.strong if chosen else palette.muted),
                *_bar(view.counts[layer], control, width - 5, palette),
                (" ", palette.text),
            ]
            strip = row(parts, width)
            lines.append(strip.apply_style(palette.cursor) if chosen else strip)
        lines += blank(width, max(space - len(lines), 0))
        lines += [row(parts, width) for parts in numbers]
        lines.append(row(legend(palette, view.control is not None), width))
        self.show(lines[:height], palette.base)

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is not None:
            self.post_message(LayerChosen(self._first + at.y))


def _bar(counts: Sequence[int], control: Sequence[int] | None, width: int, palette: Palette) -> list[Part]:
    """The scan's shares, along their foot thinly the control's; without colour, letters, of the scan alone."""
    if control is None or not any(control) or palette.colourless:
        return label_bar(counts, width, palette)
    scan, foot = (
        [label for label, cells in zip(Label, bar_cells(of, width), strict=True) for _ in range(cells)]
        for of in (counts, control)
    )
    parts: list[Part] = []
    for (above, below), same in groupby(zip(scan, foot, strict=True)):
        background = Style(bgcolor=palette.labels[above].color)
        parts.append((FOOT * len(list(same)), palette.labels[below] + background))
    return parts


def _numbers(view: LayersView, palette: Palette) -> list[list[Part]]:
    """The shares of the layer shown, in numbers: the scan's and the control's."""
    assert view.control is not None
    both = (view.counts[view.layer], view.control[view.layer])
    lines: list[list[Part]] = [[(" ", palette.text), *short_shares(counts, palette)] for counts in both]
    return [[(f" L{view.layer} over control", palette.muted)], *lines]


def legend(palette: Palette, controlled: bool = False) -> list[Part]:
    """What the colours and letters mean; with a control, which part of a bar is its."""
    letters: list[Part] = [(f"{label.letter} ", palette.labels[label] + palette.strong) for label in Label]
    words = f"{FOOT} control" if controlled and not palette.colourless else "by layer"
    return [(" ", palette.text), *letters, (words, palette.muted)]


class FoldedStrip(Lines):
    """The layer strip in one line: each layer's most frequent label, and the shares of the layer shown."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._first, self._left, self._last = 0, 0, 0
        self._view: tuple[LayersView, Palette] | None = None

    def present(self, view: LayersView, palette: Palette) -> None:
        """Show ``view``."""
        if (view, palette) != self._view:
            self._view = (view, palette)
            self.repaint()

    def paint(self) -> None:
        if self._view is None:
            return
        view, palette = self._view
        width = self.size.width
        layers = len(view.counts)
        tail = self._shares(view, palette)
        need = sum(len(text) for text, _ in tail)
        head = " layers "
        if view.control is not None and layers > width - need - len(head) - 4:
            head = " "  # the shares say "L3" as well
        room = max(width - need - len(head) - 4, 1)
        self._first = min(max(view.layer - room // 2, 0), max(layers - room, 0))
        self._left = len(head) + 1
        last = self._last = min(self._first + room, layers)
        parts: list[Part] = [(head, palette.muted), ("‹" if self._first else " ", palette.muted)]
        for layer in range(self._first, last):
            label = Label(view.counts[layer].index(max(view.counts[layer])))
            look = palette.labels[label]
            parts.append((label.letter, look + Style(reverse=True, bold=True) if layer == view.layer else look))
        parts.append(("›" if last < layers else " ", palette.muted))
        free = width - need - len(head) - 2 - (last - self._first) - 3
        note = next((note for note in view.notes if len(note) <= free), "")
        tail.append((f"{note:>{max(free, 0) + 2}}", palette.muted))
        self.show([row([*parts, *tail], width)], palette.base)

    @staticmethod
    def _shares(view: LayersView, palette: Palette) -> list[Part]:
        """The shares of the layer shown; beside the control's both are short."""
        counts = view.counts[view.layer]
        whole = sum(counts)
        tail: list[Part] = [(f"  L{view.layer}: ", palette.text)]
        if view.control is None:
            return tail + [
                (f"{label.letter} {percent(counts[label], whole)} ", palette.labels[label]) for label in Label
            ]
        beside = short_shares(view.control[view.layer], palette)
        return [*tail, *short_shares(counts, palette), ("  control ", palette.muted), *beside, (" ", palette.text)]

    def on_click(self, event: Click) -> None:
        layer = self._first + event.x - self._left
        if self._first <= layer < self._last:
            self.post_message(LayerChosen(layer))
