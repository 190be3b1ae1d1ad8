"""The statistics against counts by hand, and the chart that is drawn of them."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from tests.support.made_control import make_control
from vlmscope.core.analysis.firmness import fragile
from vlmscope.core.analysis.statistics import ScanStatistics, named_apart, scan_statistics, shares
from vlmscope.core.base.demo import demo_folder
from vlmscope.core.base.neuron import HookPoint
from vlmscope.core.method.labels import COLOURS, Label, Thresholds
from vlmscope.core.report.chart import HEAD, MARGIN, PANEL, chart_png, draw_chart
from vlmscope.core.store.reader import ScanStore

AT = Thresholds(T_v=4.5, T_t=3.5)


def made_up(counts: list[list[int]], **more: object) -> ScanStatistics:
    """Statistics of these counts; half of each label is high-confidence."""
    array = np.array(counts, dtype=np.int64)
    made = ScanStatistics(
        name="a",
        model="x",
        hook=HookPoint.GATE,
        samples=9,
        neurons=int(array[0].sum()),
        thresholds=Thresholds(),
        counts=array,
        high_confidence=array // 2,
        fragile=None,
        seed=None,
        control=None,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def test_every_neuron_is_counted_where_it_belongs(scan: Path) -> None:
    store = ScanStore(scan)
    labels = store.labels(AT)
    marks = fragile(store, labels)
    found = scan_statistics(store, labels, marks)
    expected = np.zeros((3, 4, 4), dtype=np.int64)
    for place in np.ndindex(labels.label.shape):
        cell = (place[0], labels.label[place])
        expected[0][cell] += 1
        expected[1][cell] += labels.high_confidence[place]
        expected[2][cell] += marks[place]
    assert found.fragile is not None
    assert np.array_equal([found.counts, found.high_confidence, found.fragile], expected)
    assert 0 < expected[1].sum() < 128 and 0 < expected[2].sum() < 128  # neither none nor all are marked
    assert (found.name, found.model, found.samples, found.neurons, found.layers) == ("small", "synthetic", 12, 32, 4)
    assert (found.thresholds, found.seed, found.control) == (AT, None, None)
    assert scan_statistics(store, labels).fragile is None
    assert found.both == (found,)


def test_the_control_is_labelled_at_the_same_thresholds(scan_copy: Path) -> None:
    folder = make_control(scan_copy, seed=8)
    store = ScanStore(scan_copy)
    found = scan_statistics(store, store.labels(AT))
    assert found.control is not None and found.both == (found, found.control)
    assert (found.control.seed, found.control.name, found.control.thresholds) == (8, "copy.control", AT)
    expected = ScanStore(folder).labels(AT)
    assert np.array_equal(found.control.counts, expected.counts())
    assert not np.array_equal(found.control.counts, found.counts)


def test_shares_are_of_the_row_or_of_the_given_whole() -> None:
    counts = np.array([[1, 1, 2, 0], [0, 0, 0, 0]])
    found = shares(counts)
    assert found[0].tolist() == [0.25, 0.25, 0.5, 0] and np.isnan(found[1]).all()
    assert shares(counts, np.array([8, 8])).tolist() == [[0.125, 0.125, 0.25, 0], [0, 0, 0, 0]]


def test_the_demo_is_called_demo() -> None:
    store = ScanStore(demo_folder() / "scan")
    assert scan_statistics(store, store.stored_labels()).name == "demo"


def test_equal_names_are_told_apart_by_what_was_typed() -> None:
    found = named_apart([made_up([[1, 0, 0, 0]], name=name) for name in ("a", "b", "a")], ["x/a", "b", "y/a"])
    assert [scan.name for scan in found] == ["x/a", "b", "y/a"]


def colour_share(picture: Image.Image, box: tuple[int, int, int, int], which: Label) -> float:
    """The share of a panel's height that a colour takes, in the column of pixels where it takes most."""
    pixels = np.asarray(picture.crop(box)).astype(int)
    same = (pixels == ImageColor.getrgb(COLOURS[which])).all(axis=-1)
    return float(same.mean(axis=0).max())


def test_bars_are_as_high_as_the_shares() -> None:
    scan = made_up([[50, 30, 15, 5], [10, 20, 30, 40]])
    picture = draw_chart([scan])
    half = picture.width // 2
    top = MARGIN + HEAD
    for left, part in ((0, 1.0), (half, 0.5)):
        for which in Label:
            box = (left, top, left + half, top + PANEL[1])
            expected = part * max(shares(scan.counts)[:, which])
            assert colour_share(picture, box, which) == pytest.approx(expected, abs=0.02), which


def test_a_scan_and_its_control_have_a_row_of_panels_each() -> None:
    scan = made_up([[50, 30, 15, 5]])
    one = draw_chart([scan])
    two = draw_chart([replace(scan, control=made_up([[0, 0, 100, 0]], seed=1))])
    row = two.height - one.height
    assert one.width == two.width and draw_chart([scan, scan, scan]).height == one.height + 2 * row
    first, second = (
        (0, MARGIN + HEAD + at * row, two.width // 2, MARGIN + HEAD + at * row + PANEL[1]) for at in (0, 1)
    )
    assert colour_share(two, first, Label.MULTIMODAL) == pytest.approx(0.15, abs=0.02)
    assert colour_share(two, second, Label.MULTIMODAL) == pytest.approx(1, abs=0.02)


def test_the_same_statistics_give_the_same_bytes() -> None:
    scan = made_up([[50, 30, 15, 5]] * 3, fragile=np.array([[9, 0, 0, 0]] * 3))
    data = chart_png([scan])
    assert data == chart_png([made_up([[50, 30, 15, 5]] * 3, fragile=np.array([[9, 0, 0, 0]] * 3))])
    assert data != chart_png([replace(scan, fragile=np.array([[60, 0, 0, 0]] * 3))])
    assert Image.open(io.BytesIO(data)).format == "PNG"


@pytest.mark.parametrize("layers", [1, 80, 700])
def test_any_number_of_layers_can_be_drawn(layers: int) -> None:
    scan = made_up([[1, 2, 3, 4]] * layers)
    assert draw_chart([scan]).width < 2000
    nothing = made_up([[0, 0, 0, 0]] * layers)
    assert colour_share(draw_chart([nothing]), (0, MARGIN + HEAD, 500, MARGIN + HEAD + PANEL[1]), Label.TEXT) == 0
