"""A page of text and pictures drawn by matplotlib in points, from the top down; PDF, SVG or PNG.

Text stays text in PDF and SVG. Widths are those of matplotlib's own font, so that words are shaded where they are. The
same drawing gives the same bytes, with the same matplotlib.
"""

import io
import warnings
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200  #: of a PNG
POINTS = 72  #: of an inch
INK, SOFT = "#222222", "#555555"


class FigureFormat(StrEnum):
    """What a figure is written as."""

    PDF = "pdf"
    SVG = "svg"
    PNG = "png"

    @classmethod
    def of(cls, path: Path) -> "FigureFormat":
        """By the name's ending. Raises UsageError if it is none of these."""
        ending = path.suffix.lower().lstrip(".")
        if ending not in list(cls):
            raise UsageError(f"{path} ends with none of .pdf, .svg and .png.", "Write --figure shares.pdf.")
        return cls(ending)


def file_bytes(draw: Callable[[], "Figure"], form: FigureFormat, about: Mapping[str, str] | None = None) -> bytes:
    """A figure as a file's content.

    Args:
        draw: makes it, with the settings of a paper's figure.
        about: a PNG's text chunks; a PDF and an SVG take ``Title`` and ``Subject`` or ``Description`` of it.
    """
    import matplotlib as mpl

    dates = {FigureFormat.PDF: "CreationDate", FigureFormat.SVG: "Date"}  # the only thing that would change
    taken = {FigureFormat.PDF: ("Title", "Subject"), FigureFormat.SVG: ("Title", "Description")}.get(form)
    known = {name: text for name, text in (about or {}).items() if taken is None or name in taken}
    metadata: dict[str, str | None] = {name: plain(text) for name, text in known.items()}
    if form in dates:
        metadata[dates[form]] = None
    buffer = io.BytesIO()
    settings = mpl.rc_context(
        {
            "font.size": 8,
            "axes.titlesize": 8,
            "axes.edgecolor": SOFT,
            "axes.linewidth": 0.6,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "legend.frameon": False,
            "hatch.linewidth": 0.6,
            "pdf.fonttype": 42,  # text stays text, as most journals ask
            "svg.fonttype": "none",
            "svg.hashsalt": "vlmscope",  # ids that do not change from run to run
        }
    )
    with settings, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        draw().savefig(buffer, format=form.value, dpi=DPI, metadata=metadata or None)
    return buffer.getvalue()


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text is, in points, at a font size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    if not text:
        return 0.0
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # The width of trailing blanks counts: between bars it does.
        marked, mark = (text_to_path.get_text_width_height_descent(one, font, False)[0] for one in (f"{text}|", "|"))
    return float(marked - mark)


def wrapped(text: str, width: float, size: float, lines: int) -> list[str]:
    """A text in lines of at most ``width`` points; after so many ``lines`` it ends with an ellipsis."""
    found = [""]
    for word in text.split():
        longer = f"{found[-1]} {word}".strip()
        if found[-1] and text_width(longer, size) > width:
            found.append(word)
        else:
            found[-1] = longer
    if len(found) > lines:
        found = [*found[: lines - 1], f"{found[lines - 1]} …"]
    return [_cut(line, width, size) for line in found]


def _cut(line: str, width: float, size: float) -> str:
    """A line without what does not fit, as of one endless word."""
    if text_width(line, size) <= width:
        return line
    kept = len(line)
    while kept and text_width(f"{line[:kept]}…", size) > width:
        kept = kept * 9 // 10
    return f"{line[:kept]}…"


class Page:
    """A page of ``width`` x ``height`` points; y counts from the top."""

    def __init__(self, width: float, height: float) -> None:
        """Make an empty page; it belongs to no window, and to no state of matplotlib's."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(width / POINTS, height / POINTS))
        FigureCanvasAgg(self.figure)
        self._height = height
        self._axes = self.figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._axes.set_xlim(0, width)
        self._axes.set_ylim(0, height)
        self._axes.set_autoscale_on(False)

    def text(
        self, x: float, y: float, text: str, size: float, *, colour: str = INK, bold: bool = False, align: str = "left"
    ) -> None:
        """Write a text whose baseline is ``y``; markup and formulas in it are shown as they are."""
        self._axes.text(
            x,
            self._height - y,
            plain(text),
            fontsize=size,
            color=colour,
            fontweight="bold" if bold else "normal",
            horizontalalignment=align,
            verticalalignment="baseline",
            parse_math=False,
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str | tuple[float, float, float] = "none",
        edge: str = "none",
        hatch: str = "",
        line: float = 0.6,
    ) -> None:
        """Draw a rectangle whose upper left corner is at x, y."""
        from matplotlib.patches import Rectangle

        corner = (x, self._height - y - height)
        self._axes.add_patch(
            Rectangle(corner, width, height, facecolor=fill, edgecolor=edge, hatch=hatch or None, linewidth=line)
        )

    def line(self, x: tuple[float, float], y: tuple[float, float], colour: str = INK, width: float = 0.6) -> None:
        """Draw a line from one point to the other."""
        from matplotlib.lines import Line2D

        ends = [self._height - one for one in y]
        self._axes.add_line(Line2D(x, ends, color=colour, linewidth=width, solid_capstyle="butt"))

    def picture(self, x: float, y: float, width: float, height: float, pixels: NDArray[np.uint8]) -> None:
        """Put a picture, uint8 (rows, columns, 3), into a rectangle; its pixels stay sharp."""
        extent = (x, x + width, self._height - y - height, self._height - y)
        limits = self._axes.get_xlim(), self._axes.get_ylim()
        self._axes.imshow(pixels, extent=extent, interpolation="none", aspect="auto", zorder=1)
        self._axes.set_xlim(*limits[0])
        self._axes.set_ylim(*limits[1])

    def outline(self, x: float, y: float, width: float, height: float, inside: NDArray[np.bool_]) -> None:
        """Outline the marked cells of a grid, bool (rows, columns), that fills a rectangle: ink on white."""
        from matplotlib.collections import LineCollection

        rows, columns = inside.shape
        padded = np.pad(inside, 1)
        across = padded[:-1, 1:-1] != padded[1:, 1:-1]  # (rows + 1, columns): edges between rows
        down = padded[1:-1, :-1] != padded[1:-1, 1:]  # (rows, columns + 1)
        top = self._height - y
        step_x, step_y = width / columns, height / rows
        ends = [((c, r), (c + 1, r)) for r, c in np.argwhere(across).tolist()]
        ends += [((c, r), (c, r + 1)) for r, c in np.argwhere(down).tolist()]
        lines = [[(x + step_x * column, top - step_y * row) for column, row in pair] for pair in ends]
        for colour, line in (("white", 1.6), (INK, 0.7)):
            self._axes.add_collection(
                LineCollection(lines, colors=colour, linewidths=line, capstyle="projecting", zorder=3), autolim=False
            )
