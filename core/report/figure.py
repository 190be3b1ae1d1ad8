"""Label shares by layer as a figure for a paper: PDF, SVG or PNG, drawn by matplotlib.

For each scan two panels: all neurons (the paper's figure 5) and the high-confidence ones among themselves (figure 6).
With several scans, a panel for each label compares them by depth (figure 7). A control is drawn in the same panel,
thin, dashed, and with hollow markers. Each label has a marker and a dash of its own, so that nothing rests on colour.

Bands are 95 % intervals of a share by Wilson (1927), as if a layer's neurons were independent draws: they show how much
a share rests on few neurons. They say nothing about other data or another training run.

The same statistics give the same bytes, with the same matplotlib.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from vlmscope.core.analysis.statistics import Counts, ScanStatistics, share_intervals, shares
from vlmscope.core.base.text import plain
from vlmscope.core.method.labels import COLOURS, Label
from vlmscope.core.report.drawing import INK, SOFT, FigureFormat, file_bytes

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTH = 7.2  #: inches: two columns of most journals
ROW = 2.35  #: inches of a row of panels
FOOT = 0.75  #: inches of the legend
NAME_WIDTH = 60  #: characters of a name or model
MARKERS = 16  #: on a line, at most
SIDE_BY_SIDE = 2  #: scans from which on they are compared
GRID = "#DDDDDD"

_MARKER = {Label.VISUAL: "o", Label.TEXT: "s", Label.MULTIMODAL: "^", Label.UNKNOWN: "x"}
_Dash = Literal["solid", "none"] | tuple[float, tuple[float, ...]]
_DASH: dict[Label, _Dash] = {
    Label.VISUAL: "solid",
    Label.TEXT: (0.0, (6.0, 1.5)),
    Label.MULTIMODAL: (0.0, (3.0, 1.0, 1.0, 1.0)),
    Label.UNKNOWN: (0.0, (1.0, 1.5)),
}
_SCAN_MARKERS = "osD^vP*X<>"
_SCAN_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#8C6D00", "#56B4E9")


def figure_bytes(scans: Sequence[ScanStatistics], form: FigureFormat) -> bytes:
    """The figure of these scans and their controls as a file's content."""
    return file_bytes(lambda: draw_figure(scans), form)


def draw_figure(scans: Sequence[ScanStatistics]) -> "Figure":
    """The figure itself. It belongs to no window, and to no state of matplotlib's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    compared = len(scans) >= SIDE_BY_SIDE
    rows = len(scans) + compared
    figure = Figure(figsize=(WIDTH, rows * ROW + FOOT * (1 + compared)), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = [ROW] * len(scans) + [FOOT] + ([ROW, FOOT] if compared else [])
    parts = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
    for part, scan in zip(parts, scans, strict=False):
        _scan_row(part, scan)
    _legend(parts[len(scans)], _label_handles(scans), columns=4)
    if compared:
        _comparison(parts[-2], scans)
        _legend(parts[-1], _scan_handles(scans), columns=2)
    return figure


def _scan_row(part: "Figure", scan: ScanStatistics) -> None:
    """Both panels of a scan, with its control in them."""
    left, right = part.subplots(1, 2, sharey=True)
    part.suptitle(_title(scan), fontsize=8, parse_math=False, x=0.02, ha="left")
    _frame(left, "all neurons", scan.layers)
    _frame(right, "high-confidence neurons, among themselves", scan.layers)
    for row in reversed(scan.both):  # the control beneath
        for which in Label:
            look = _label_look(which, row.seed is not None)
            for axes, counts in ((left, row.counts), (right, row.high_confidence)):
                _add(axes, np.arange(row.layers), counts, which, look)
    neurons = np.maximum(scan.counts.sum(axis=-1), 1)
    if scan.fragile is not None:
        left.add_line(_FRAGILE.line(np.arange(scan.layers), scan.fragile.sum(axis=-1) / neurons))
    steps = _STEPS.line(np.arange(scan.layers), scan.high_confidence.sum(axis=-1) / neurons)
    steps.set_drawstyle("steps-mid")
    right.add_line(steps)
    left.set_ylabel("share")


def _comparison(part: "Figure", scans: Sequence[ScanStatistics]) -> None:
    """A panel for each label with all scans in it, by depth: models may differ in how many layers they have."""
    for axes, which in zip(part.subplots(1, len(Label), sharey=True), Label, strict=True):
        _frame(axes, which.word, None)
        for at, scan in enumerate(scans):
            for row in reversed(scan.both):
                depth = (np.arange(row.layers) + 0.5) / row.layers
                _add(axes, depth, row.counts, which, _scan_look(at, row.seed is not None))
        if which is Label.VISUAL:
            axes.set_ylabel("share, of all neurons")


def _frame(axes: "Axes", title: str, layers: int | None) -> None:
    """A panel's scales: the share, and the layer (or the depth, where ``layers`` is None)."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.set_title(title, color=SOFT)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if layers is None:
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1])
        axes.set_xlabel("depth, of 1")
    else:
        axes.set_xlim(-0.5, layers - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.set_xlabel("layer")


@dataclass(frozen=True)
class _Look:
    """How a line looks; a control's is hollow, thin and dashed."""

    colour: str
    marker: str
    size: float = 3.2  #: of the marker
    edge: str = INK
    face: str = "white"
    dash: _Dash = "solid"
    width: float = 1.2

    def line(self, x: ArrayLike, y: ArrayLike, label: str = "") -> "Line2D":
        from matplotlib.lines import Line2D

        return Line2D(
            x,
            y,
            color=self.colour,
            marker=self.marker,
            markersize=self.size,
            markeredgecolor=self.edge,
            markeredgewidth=0.9 if self.marker in ("x", "+") else 0.5,
            markerfacecolor=self.face,
            markevery=max(1, -(-np.size(x) // MARKERS)),
            linestyle=self.dash,
            linewidth=self.width,
            label=label,
        )


_CONTROL_DASH = (0.0, (1.5, 1.5))
_FRAGILE = _Look(INK, "+", size=5, dash="none")
_STEPS = _Look(INK, "", width=0.7)


def _label_look(which: Label, is_control: bool) -> _Look:
    colour, marker = COLOURS[which], _MARKER[which]
    if is_control:
        return _Look(colour, marker, edge=SOFT, dash=_CONTROL_DASH, width=0.7)
    return _Look(colour, marker, size=4, face=colour, dash=_DASH[which], width=1.4)


def _scan_look(at: int, is_control: bool) -> _Look:
    colour, marker = _SCAN_COLOURS[at % len(_SCAN_COLOURS)], _SCAN_MARKERS[at % len(_SCAN_MARKERS)]
    if is_control:
        return _Look(colour, marker, edge=colour, dash=_CONTROL_DASH, width=0.6)
    return _Look(colour, marker, edge=colour, face=colour)


def _add(axes: "Axes", x: ArrayLike, counts: Counts, which: Label, look: _Look) -> None:
    """A label's share by layer, with its interval as a band."""
    low, high = share_intervals(counts)
    alpha = 0.12 if look.dash is _CONTROL_DASH else 0.3
    axes.fill_between(x, low[:, which], high[:, which], color=look.colour, alpha=alpha, linewidth=0)
    axes.add_line(look.line(x, shares(counts)[:, which]))


def _label_handles(scans: Sequence[ScanStatistics]) -> "Iterator[Artist]":
    """What the legend of the scans' panels explains."""
    from matplotlib.patches import Patch

    controls = (False, True) if any(scan.control is not None for scan in scans) else (False,)
    for is_control in controls:
        for which in Label:
            name = f"{which.letter} {which.word}{', control' if is_control else ''}"
            yield _label_look(which, is_control).line([], [], name)
    yield Patch(color=SOFT, alpha=0.3, linewidth=0, label="95 % interval (Wilson)")
    yield _STEPS.line([], [], "high-confidence neurons, of all")
    if any(scan.fragile is not None for scan in scans):
        yield _FRAGILE.line([], [], "fragile: another label when Tv or Tt moves by 10 %")


def _scan_handles(scans: Sequence[ScanStatistics]) -> "Iterator[Artist]":
    for at, scan in enumerate(scans):
        yield _scan_look(at, False).line([], [], f"{_name(scan.name)} ({_name(scan.model)})")
    if any(scan.control is not None for scan in scans):
        look = replace(_scan_look(0, True), colour=SOFT, edge=SOFT)
        yield look.line([], [], "hollow and dashed: a scan's control")


def _legend(part: "Figure", handles: "Iterator[Artist]", columns: int) -> None:
    shown = part.legend(handles=list(handles), loc="upper center", ncols=columns)
    for text in shown.get_texts():
        text.set_parse_math(False)


def _title(scan: ScanStatistics) -> str:
    at = scan.thresholds
    settings = f"Tv {at.T_v:g}, nv {at.n_v}, Tt {at.T_t:g}, nt {at.n_t}"
    return f"{_name(scan.name)}: {_name(scan.model)}, {scan.read_at}, {scan.samples:,} samples; {settings}"


def _name(text: str) -> str:
    return plain(text, NAME_WIDTH)
