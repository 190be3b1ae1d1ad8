"""The figure of label shares: what is drawn is what was counted, in every format, and without colour."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from PIL import Image

from tests.support.made_statistics import made_up
from vlmscope.core.analysis.statistics import ScanStatistics, share_intervals, shares
from vlmscope.core.base.errors import UsageError
from vlmscope.core.method.labels import Label
from vlmscope.core.report.drawing import FigureFormat
from vlmscope.core.report.figure import draw_figure, figure_bytes

COUNTS = [[50, 30, 15, 5], [10, 20, 30, 40]]
SCAN = made_up(COUNTS, fragile=np.array([[9, 0, 0, 1], [0, 5, 0, 0]]))
CONTROL = made_up([[0, 0, 100, 0], [1, 2, 90, 7]], seed=1)


def panels(*scans: ScanStatistics) -> list[Axes]:
    return list(draw_figure(scans).axes)


def lines(axes: Axes) -> list[list[float]]:
    return [np.asarray(line.get_ydata(), dtype=float).round(6).tolist() for line in axes.lines]


def expected(scan: ScanStatistics, of: str) -> list[list[float]]:
    found = shares(getattr(scan, of)).T.round(6)
    return [row.tolist() for row in found]


def test_lines_are_the_shares_of_all_and_of_the_high_confidence_neurons() -> None:
    left, right = panels(SCAN)
    assert lines(left) == [*expected(SCAN, "counts"), [0.1, 0.05]]  # then the fragile ones
    assert lines(right) == [*expected(SCAN, "high_confidence"), [0.49, 0.5]]  # then how many they are


def test_bands_are_the_intervals() -> None:
    left, _ = panels(SCAN)
    low, high = share_intervals(SCAN.counts)
    for which, band in zip(Label, left.collections, strict=True):
        assert isinstance(band, PolyCollection)
        corners = np.asarray(band.get_paths()[0].vertices)
        for layer in range(2):
            ends = corners[corners[:, 0] == layer, 1].tolist()
            assert (min(ends), max(ends)) == (pytest.approx(low[layer, which]), pytest.approx(high[layer, which]))


def test_a_control_is_in_the_panels_of_its_scan() -> None:
    left, right = panels(replace(SCAN, control=CONTROL))
    assert lines(left) == [*expected(CONTROL, "counts"), *expected(SCAN, "counts"), [0.1, 0.05]]
    assert lines(right)[:8] == [*expected(CONTROL, "high_confidence"), *expected(SCAN, "high_confidence")]
    assert len(left.collections) == 8


def test_several_scans_are_compared_by_depth_with_their_controls() -> None:
    other = made_up([[1, 2, 3, 4]] * 5, name="b", control=CONTROL)
    found = panels(SCAN, other)
    assert len(found) == 2 + 2 + 4
    for which, axes in zip(Label, found[4:], strict=True):
        want = [one for scan in (SCAN, CONTROL, other) for one in [expected(scan, "counts")[which]]]
        assert lines(axes) == want
        assert np.asarray(axes.lines[2].get_xdata()).tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_without_colour_no_two_lines_look_the_same() -> None:
    for axes in (*panels(replace(SCAN, control=CONTROL))[:2], panels(SCAN, replace(SCAN, name="b"))[4]):
        looks = [(str(one.get_marker()), str(one.get_markerfacecolor())) for one in axes.lines]
        looks = [(marker, "hollow" if face == "white" else "filled") for marker, face in looks]
        assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("form", FigureFormat)
def test_the_same_statistics_give_the_same_bytes(form: FigureFormat) -> None:
    data = figure_bytes([SCAN], form)
    assert data == figure_bytes([replace(SCAN)], form)
    assert data != figure_bytes([replace(SCAN, fragile=np.array([[60, 0, 0, 0]] * 2))], form)
    assert data.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[form.value])
    if form is FigureFormat.PNG:
        assert Image.open(io.BytesIO(data)).width > 1000


def test_text_of_a_vector_figure_stays_text() -> None:
    svg = figure_bytes([replace(SCAN, name="$x_1$ <b> \udc80\x1b[31m 漢字")], FigureFormat.SVG).decode("utf-8")
    assert ">high-confidence neurons, among themselves<" in svg
    assert "$x_1$ &lt;b&gt;" in svg and "漢字" in svg and "\x1b" not in svg
    assert b"/Type3" not in figure_bytes([SCAN], FigureFormat.PDF)


@pytest.mark.parametrize("layers", [1, 700])
def test_any_number_of_layers_can_be_drawn(layers: int) -> None:
    for counts in ([1, 2, 3, 4], [0, 0, 0, 0]):
        assert Image.open(io.BytesIO(figure_bytes([made_up([counts] * layers)], FigureFormat.PNG))).width == 1440


def test_the_ending_decides() -> None:
    assert FigureFormat.of(Path("a/b.PDF")) is FigureFormat.PDF
    with pytest.raises(UsageError, match=r"none of \.pdf, \.svg and \.png"):
        FigureFormat.of(Path("b.jpeg"))
