"""Label shares by layer, a block of columns for each scan and each control: the paper's figures 5, 6 and 7.

Layers stand in lines, so that a layer is compared from block to block; where lines or blocks do not fit, they scroll.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual.events import MouseScrollDown, MouseScrollUp
from textual.strip import Strip

from vlmscope.core.analysis.statistics import NO_CONTROL, ScanStatistics, of_layer
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.tui.widgets.bars import Hint, clickable
from vlmscope.tui.widgets.lines import Lines, Span, blank, row, short, wrapped
from vlmscope.tui.widgets.numbers import label_bar, percent
from vlmscope.tui.widgets.palette import Palette

LAYER = 5  #: cells of the layers' numbers
CELL = 5  #: cells of a share
LEAST_BAR = 8  #: cells of a bar
FULL_HEIGHT = 16  #: lines from which the legend is shown
WHEEL = 3  #: lines


@dataclass(frozen=True, eq=False)
class ShareBlock:
    """One scan, or one control.

    Attributes:
        names: of it, the longest first.
        statistics: None while they are on their way, or where there are none.
        problem: why there are none; empty otherwise.
        is_control: a control has no fragile labels.
    """

    names: tuple[str, ...]
    statistics: ScanStatistics | None = None
    problem: str = ""
    is_control: bool = False

    @property
    def fixed(self) -> int:
        """Cells of all but the bar: shares of four labels, of high-confidence and of fragile ones, two blanks."""
        return CELL * (5 if self.is_control else 6) + 2


@dataclass(frozen=True, eq=False)
class SharesView:
    """What is compared, at which thresholds.

    Attributes:
        high_only: shares among the high-confidence neurons alone.
        lonely: whether no scan has a control.
        keys: what the last line says, with the action that a click runs.
    """

    blocks: tuple[ShareBlock, ...]
    thresholds: Thresholds
    high_only: bool
    lonely: bool
    keys: tuple[tuple[str, str, str], ...]  #: keys, word, action

    @property
    def layers(self) -> int:
        return max((block.statistics.layers for block in self.blocks if block.statistics is not None), default=0)


class ShareTable(Lines[SharesView]):
    """The whole screen of shares; what was scrolled to stays when others come."""

    _top = 0  # the first layer that is shown
    _first = 0  # the first block

    @property
    def page_rows(self) -> int:
        """Layers that fit."""
        foot = 5 if self.size.height >= FULL_HEIGHT else 2  # the line of all layers, the legend, the keys
        return max(self.size.height - 3 - foot, 1)

    def scroll_layers(self, by: int) -> None:
        """Show later or earlier layers."""
        self._top += by
        self.repaint()

    def go_to_end(self, which: int) -> None:
        """Show the first layers (-1) or the last (1)."""
        self._top = 0 if which < 0 or self.presented is None else self.presented[0].layers
        self.repaint()

    def scroll_blocks(self, by: int) -> None:
        """Show later or earlier scans."""
        self._first += by
        self.repaint()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        self.scroll_layers(WHEEL)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        self.scroll_layers(-WHEEL)

    # -- painting ------------------------------------------------------------------------------------------------

    def paint(self, view: SharesView, palette: Palette) -> list[Strip]:
        width, height = self.size
        room = self.page_rows
        self._top = min(max(self._top, 0), max(view.layers - room, 0))
        self._first = min(max(self._first, 0), _last_first(view.blocks, width - LAYER))
        shown, bar = _fitting(view.blocks[self._first :], width - LAYER)
        layers = range(self._top, min(self._top + room, view.layers))
        columns = [_block_lines(block, layers, block.fixed + bar, view.high_only, palette) for block in shown]
        numbers: list[Span] = [
            (f"{'':{LAYER}}", palette.text),
            (f"{'layer':>{LAYER}}", palette.muted),
            *((f"{layer:>{LAYER}}", palette.muted) for layer in layers),
            (f"{'all':>{LAYER}}", palette.strong),
        ]
        lines = [row(self._title(view, palette, len(shown), layers), width)]
        for at, number in enumerate(numbers):
            lines.append(row([number, *(part for column in columns for part in column[at])], width))
        foot = [] if height < FULL_HEIGHT else [row(parts, width) for parts in _legend(view, palette)]
        foot.append(
            row([(" ", palette.text), *clickable((Hint.of(*key) for key in view.keys), width + 1, palette)], width)
        )
        lines += blank(width, max(height - len(lines) - len(foot), 0))
        return [*lines, *foot][:height]

    def _title(self, view: SharesView, palette: Palette, shown: int, layers: range) -> list[Span]:
        """What this is, where it is scrolled to, and the thresholds."""
        at = view.thresholds
        width = self.size.width
        several = sum(not block.is_control for block in view.blocks) > 1
        what = "high-confidence neurons only" if view.high_only else "all neurons"
        figure = 6 if view.high_only else 7 if several else 5
        where = ""
        if len(layers) < view.layers:
            where += f"  layers {layers.start}-{layers.stop - 1} of {view.layers}"
        if shown < len(view.blocks):
            where += f"  columns {self._first + 1}-{self._first + shown} of {len(view.blocks)}"
        limits = f"Tv {at.T_v:g} nv {at.n_v} Tt {at.T_t:g} nt {at.n_t} high > {at.high_confidence:g} "
        head = " label shares  "
        for words in (f"{what} · the paper's figure {figure}", what):
            free = width - len(head) - len(words) - len(where) - len(limits)
            if free > 0:
                break
        gap = " " * max(free, 2)
        return [(head, palette.accent), (words, palette.strong), (where, palette.text), (gap + limits, palette.muted)]


def _fitting(blocks: Sequence[ShareBlock], width: int) -> tuple[Sequence[ShareBlock], int]:
    """The blocks that fit, one at least, and the cells of each one's bar."""
    count = 0
    while count < len(blocks) and sum(block.fixed + LEAST_BAR for block in blocks[: count + 1]) <= width:
        count += 1
    shown = blocks[: max(count, 1)]
    free = width - sum(block.fixed for block in shown)
    return shown, max(free // max(len(shown), 1), LEAST_BAR)


def _last_first(blocks: Sequence[ShareBlock], width: int) -> int:
    """From which block on all that follow fit."""
    return next((at for at in range(len(blocks)) if len(_fitting(blocks[at:], width)[0]) == len(blocks) - at), 0)


def _block_lines(block: ShareBlock, layers: range, width: int, high_only: bool, palette: Palette) -> list[list[Span]]:
    """A block's name, the heads of its columns, a line for each layer and one for all."""
    names = [plain(name) for name in block.names]
    name = next((name for name in names if cell_len(name) <= width - 2), names[-1])
    look = palette.warning if block.problem else palette.strong
    room = width - 2
    lines: list[list[Span]] = [[(f" {set_cell_size(short(name, room), room)} ", look)]]
    if block.problem:
        words = wrapped(plain(block.problem.replace("\n", " ")), max(room, 8))[: len(layers) + 2]
        lines += [[(f" {set_cell_size(short(line, room), room)} ", palette.text)] for line in words]
        return [*lines, *([[(" " * width, palette.text)]] * (len(layers) + 3 - len(lines)))]
    heads = [(f"{label.letter:>{CELL}}", palette.labels[label] + palette.strong) for label in Label]
    others = f"{'high':>{CELL}}" + ("" if block.is_control else f"{'frag':>{CELL}}")
    lines.append([(" " * (width - block.fixed + 1), palette.text), *heads, (f"{others} ", palette.muted)])
    for layer in [*layers, None]:
        lines.append(_share_line(block, layer, width, high_only, palette))
    return lines


def _share_line(block: ShareBlock, layer: int | None, width: int, high_only: bool, palette: Palette) -> list[Span]:
    """One layer, or all: a bar, the labels' shares, and how many neurons are high-confidence and how many fragile."""
    found = block.statistics
    bar = width - block.fixed
    if found is None:
        waiting = "".join(f"{'…':>{CELL}}" for _ in range(4))
        return [(f"{'':{bar + 1}}{waiting}{'':{width - bar - 1 - len(waiting)}}", palette.muted)]
    if layer is not None and layer >= found.layers:
        return [(" " * width, palette.text)]
    counts = of_layer(found.counts, layer)
    high = of_layer(found.high_confidence, layer)
    measured = [int(count) for count in (high if high_only else counts)]
    parts: list[Span] = [(" ", palette.text), *label_bar(measured, bar, palette)]
    of = sum(measured)
    parts += [(f"{_share(measured[label], of):>{CELL}}", palette.labels[label]) for label in Label]
    neurons = int(counts.sum())
    parts.append((f"{_share(int(high.sum()), neurons):>{CELL}}", palette.muted))
    if not block.is_control:
        fragile = "…" if found.fragile is None else _share(int(of_layer(found.fragile, layer).sum()), neurons)
        parts.append((f"{fragile:>{CELL}}", palette.muted))
    return [*parts, (" ", palette.text)]


def _share(part: int, whole: int) -> str:
    return percent(part, whole) if whole else "-"


def _legend(view: SharesView, palette: Palette) -> list[list[Span]]:
    """Three lines: the labels, the two other columns, and what a control is."""
    labels: list[Span] = [(" ", palette.text)]
    for label in Label:
        labels += [(label.letter, palette.labels[label] + palette.strong), (f" {label.word}   ", palette.labels[label])]
    among = "shares of the high-confidence neurons" if view.high_only else "shares of all neurons"
    others = f" high: high-confidence (over {view.thresholds.high_confidence:.0%} alike)   "
    others += "frag: a tenth on Tv or Tt changes it"
    control = "control: the same architecture with random weights, which has learnt nothing"
    return [
        [*labels, (among, palette.muted)],
        [(others, palette.muted)],
        [(f" {NO_CONTROL if view.lonely else control}", palette.muted)],
    ]


def names_of(found: ScanStatistics) -> tuple[str, ...]:
    """What a scan or a control is, the longest first; from outside, not yet plain."""
    samples = f"{found.samples} samples"
    if found.seed is not None:
        return f"control, random weights, seed {found.seed} · {samples}", f"control, seed {found.seed} · {samples}"
    name = found.name
    return f"{name} · {found.model} · {found.read_at} · {samples}", f"{name} · {found.read_at} · {samples}", name
