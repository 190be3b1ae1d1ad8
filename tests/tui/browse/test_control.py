"""The control beside the shares that the browse screen shows: in the strip, in its folded line, in the title."""

import re
import threading
from pathlib import Path

import pytest

import vlmscope.core.analysis.control
from tests.support.made_control import make_control
from tests.support.screen_app import Driver, running
from tests.tui.browse.test_looks import assert_fits
from vlmscope.core.analysis.control import find_control
from vlmscope.core.method.labels import Label, Thresholds, bar_cells
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.widgets.layer_strip import FOOT, FoldedStrip, LayerStrip
from vlmscope.tui.widgets.numbers import percent


def short(counts: list[int]) -> str:
    words = [percent(count, sum(counts)).removesuffix("%") for count in counts]
    return " ".join(f"{label.letter}{word}" for label, word in zip(Label, words, strict=True)) + "%"


def counts_of(scan: Path, at: Thresholds | None = None) -> tuple[list[list[int]], list[list[int]]]:
    """Label counts by layer: the scan's and its control's."""
    store = ScanStore(scan)
    control = find_control(store)
    assert control is not None
    thresholds = at or store.manifest.thresholds.value()
    return store.labels(thresholds).counts().tolist(), control.labels(thresholds).counts().tolist()


def total(counts: list[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*counts, strict=True)]


def pane(on: Driver) -> list[str]:
    return on.browse.query_one(LayerStrip).text.split("\n")


def folded(on: Driver) -> str:
    return on.browse.query_one(FoldedStrip).text


async def test_without_a_control_nothing_is_said_of_one(scan: Path) -> None:
    async with running(scan) as on:
        await on.until(lambda: on.session.notebook_read)
        assert "control" not in on.screen
        assert FOOT not in "".join(pane(on))
        assert "by layer" in pane(on)[-1]


BESIDE = (140, 18)  #: a screen on which the layers stand beside the list


async def test_the_pane_shows_the_control_and_nothing_moves(scan_copy: Path) -> None:
    async with running(scan_copy, BESIDE) as on:
        before = pane(on)
    make_control(scan_copy)
    async with running(scan_copy, BESIDE) as on:
        await on.until(lambda: "control" in pane(on)[-1])
        scan, control = counts_of(scan_copy)
        assert len(pane(on)) == len(before)
        for layer in range(4):
            assert re.match(rf"[▸ ] {layer} {FOOT}+ ?$", pane(on)[layer])
        assert [line.strip() for line in pane(on)[-4:-1]] == ["L0 over control", short(scan[0]), short(control[0])]
        await on.press("]", "]")
        assert [line.strip() for line in pane(on)[-4:-1]] == ["L2 over control", short(scan[2]), short(control[2])]
        assert_fits(on, *BESIDE)
        await on.pilot.resize_terminal(140, 40)
        await on.until(lambda: pane(on)[-1] == f" L2 {short(scan[2])}  {FOOT} control {short(control[2])}")
        assert len(pane(on)) == 5, "above the list, it takes a line for each layer and one more"
        assert_fits(on, 140, 40)


async def test_each_cell_has_both_colours(scan_copy: Path) -> None:
    make_control(scan_copy)
    async with running(scan_copy, BESIDE) as on:
        await on.until(lambda: "control" in pane(on)[-1])
        palette = on.browse.palette
        scan, control = counts_of(scan_copy)
        cells = [
            (segment.style.bgcolor, segment.style.color)
            for segment in on.browse.query_one(LayerStrip).lines[1]
            if segment.style is not None
            for _ in range(segment.text.count(FOOT))
        ]
        wide = [
            [
                palette.labels[label].color
                for label, of in zip(Label, bar_cells(counts, 13), strict=True)
                for _ in range(of)
            ]
            for counts in (scan[1], control[1])
        ]
        assert wide[0] != wide[1]
        assert cells == list(zip(*wide, strict=True))


async def test_the_title_names_the_control_s_shares(scan_copy: Path) -> None:
    make_control(scan_copy)
    async with running(scan_copy) as on:
        _, control = counts_of(scan_copy)
        await on.until(lambda: f"control {short(total(control))}" in on.title)
        assert "12 samples" in on.title and "model: not loaded" in on.title


async def test_80x24_the_folded_line_has_both(scan_copy: Path) -> None:
    make_control(scan_copy)
    async with running(scan_copy, size=(80, 24)) as on:
        scan, control = counts_of(scan_copy)
        await on.until(lambda: "control" in folded(on))
        assert f"L0: {short(scan[0])}  control {short(control[0])}" in folded(on)
        await on.press("]")
        assert f"L1: {short(scan[1])}  control {short(control[1])}" in folded(on)
        at = folded(on).index(" layers ") + 9 + 3
        await on.pilot.click("#folded", offset=(at, 0))
        await on.until(lambda: on.neuron.layer == 3)
        assert_fits(on, 80, 24)


async def test_no_colour_has_the_numbers(scan_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    make_control(scan_copy)
    async with running(scan_copy) as on:
        scan, control = counts_of(scan_copy)
        await on.until(lambda: f" L0 {short(scan[0])}  control {short(control[0])} " in on.screen)
        await on.pilot.resize_terminal(*BESIDE)
        await on.until(lambda: "over control" in on.screen)
        assert [line.strip() for line in pane(on)[-3:-1]] == [short(scan[0]), short(control[0])]
        assert re.match(r"▸ 0 [VTM·]{13}", pane(on)[0])


@pytest.mark.parametrize("small", [True, False], ids=["at once", "in a thread"])
async def test_it_follows_the_thresholds(scan_copy: Path, small: bool) -> None:
    make_control(scan_copy)
    async with running(scan_copy, pace=Pace() if small else Pace(small=0)) as on:
        await on.until(lambda: "control" in on.title)
        before = on.title
        await on.type(":Tv 4.5")
        _, control = counts_of(scan_copy, Thresholds(T_v=4.5))
        await on.until(lambda: f"control {short(total(control))}" in on.title)
        assert "Tv 4.5" in on.title
        await on.type(":Tv 2")
        await on.until(lambda: on.title == before)


async def test_while_it_is_labelled_its_shares_are_ellipses_and_stale_ones_are_dropped(
    scan_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control(scan_copy)
    go_on = {4.5: threading.Event(), 5.0: threading.Event()}
    labels = ScanStore.labels

    def slow(self: ScanStore, thresholds: Thresholds) -> object:
        if self.folder == control.resolve() and thresholds.T_v in go_on:
            assert go_on[thresholds.T_v].wait(60)
        return labels(self, thresholds)

    monkeypatch.setattr(ScanStore, "labels", slow)
    async with running(scan_copy) as on:
        await on.until(lambda: "control" in on.title)
        await on.type(":Tv 4.5")
        await on.until(lambda: "control V… T… M… ·…%" in on.title)
        await on.type(":Tv 5")
        go_on[5.0].set()
        _, late = counts_of(scan_copy, Thresholds(T_v=5.0))
        await on.until(lambda: f"control {short(total(late))}" in on.title)
        shown = on.title
        go_on[4.5].set()
        await on.until(lambda: on.idle)
        await on.pilot.pause()
        assert on.title == shown


async def test_the_first_rows_do_not_wait_for_it(scan_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_control(scan_copy)
    go_on = threading.Event()
    found = vlmscope.core.analysis.control.find_control

    def slow(store: ScanStore) -> ScanStore | None:
        assert go_on.wait(60)
        return found(store)

    monkeypatch.setattr(vlmscope.core.analysis.control, "find_control", slow)
    async with running(scan_copy) as on:
        await on.press("j")
        await on.settled()
        assert on.neuron.index == 1
        assert "control" not in on.screen
        go_on.set()
        await on.until(lambda: "control" in on.title)


async def test_a_damaged_control_is_told_and_the_screen_lives(scan_copy: Path) -> None:
    control = make_control(scan_copy)
    (control / "manifest.json").write_text("{", encoding="utf-8")
    async with running(scan_copy) as on:
        await on.until(lambda: "is damaged" in on.notes)
        assert "control" not in on.title
        await on.press("j")
        assert on.neuron.index == 1


async def test_another_scan_s_control_is_none(scan_copy: Path) -> None:
    control = make_control(scan_copy)
    manifest = control / "manifest.json"
    scan_id = ScanStore(scan_copy).manifest.scan_id
    manifest.write_text(manifest.read_text().replace(scan_id, "0" * 64), encoding="utf-8")
    async with running(scan_copy) as on:
        await on.until(lambda: on.session.notebook_read and on.idle)
        await on.pilot.pause()
        assert "control" not in on.screen
