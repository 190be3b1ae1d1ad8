"""The screen of label shares: the scan's own, its control's, and other scans' beside."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.support.made_control import make_control
from tests.support.screen_app import Driver, running
from tests.tui.browse.test_looks import assert_fits
from vlmscope.core.analysis.control import find_control
from vlmscope.core.analysis.firmness import fragile
from vlmscope.core.analysis.statistics import ScanStatistics, control_statistics, scan_statistics
from vlmscope.core.base.config import Config
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.tui.dialogs.help import HelpScreen
from vlmscope.tui.shares.screen import SharesScreen
from vlmscope.tui.shares.table import ShareTable
from vlmscope.tui.widgets.numbers import percent


def expected(scan: Path, thresholds: Thresholds | None = None) -> ScanStatistics:
    store = ScanStore(scan)
    labels = store.labels(thresholds or store.manifest.thresholds.value())
    return scan_statistics(store, labels, fragile(store, labels))


def table(on: Driver) -> list[str]:
    return on.app.screen.query_one(ShareTable).text.split("\n")


def line(on: Driver, layer: int | str) -> list[str]:
    """The words of one layer's line, or of ``all``, but its bars."""
    (found,) = (words for text in table(on) if (words := text.split()) and words[0] == str(layer))
    return [word for word in found[1:] if not re.fullmatch(r"[█░VTM·]+", word)]


def words_of(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[str]:
    return [percent(int(count), int(counts.sum())) if counts.sum() else "-" for count in counts]


def line_of(scan: ScanStatistics, layer: int | None, high_only: bool = False) -> list[str]:
    """What ``line`` should be for one scan without a control."""
    counts, high = ((of.sum(axis=0) if layer is None else of[layer]) for of in (scan.counts, scan.high_confidence))
    words = [*words_of(high if high_only else counts), percent(int(high.sum()), int(counts.sum()))]
    if scan.fragile is not None:
        marked = scan.fragile.sum() if layer is None else scan.fragile[layer].sum()
        words.append(percent(int(marked), int(counts.sum())))
    return words


async def opened(on: Driver, line: str = "") -> None:
    """Show the shares, and wait until all is counted."""
    await (on.type(line) if line else on.press("L"))
    assert isinstance(on.app.screen, SharesScreen)
    await on.until(lambda: not any("…" in text for text in table(on)[3:]))


async def test_every_layer_and_all_of_them(scan: Path) -> None:
    async with running(scan) as on:
        await opened(on)
        want = expected(scan)
        for layer in range(4):
            assert line(on, layer) == line_of(want, layer)
        assert line(on, "all") == line_of(want, None)
        assert "figure 5" in table(on)[0] and "Tv 2 nv 4 Tt 3 nt 2 high > 0.8" in table(on)[0]
        assert "small · synthetic · gate · 12 samples" in table(on)[1]
        assert "No control to compare with: vlmscope scan --control" in on.screen
        assert_fits(on, 140, 40)


async def test_f_shows_the_high_confidence_ones_and_all_again(scan: Path) -> None:
    async with running(scan) as on:
        await opened(on)
        want = expected(scan)
        await on.press("f")
        assert "figure 6" in table(on)[0]
        for layer in (*range(4), None):
            assert line(on, "all" if layer is None else layer) == line_of(want, layer, high_only=True)
        await on.press("f")
        assert line(on, "all") == line_of(want, None)


async def test_where_nothing_is_high_confidence_there_are_no_shares(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":firm 1")
        await opened(on)
        await on.press("f")
        assert line(on, "all")[:5] == ["-", "-", "-", "-", "0%"]


async def test_shares_are_those_of_the_thresholds_on_the_screen(scan_copy: Path) -> None:
    make_control(scan_copy)
    async with running(scan_copy) as on:
        before = on.title
        await on.type(":Tv 4.5")
        await on.until(lambda: on.title != before)
        await opened(on)
        want = expected(scan_copy, Thresholds(T_v=4.5))
        assert want.control is not None
        assert "Tv 4.5" in table(on)[0]
        for layer in (*range(4), None):
            both = [*line_of(want, layer), *line_of(want.control, layer)]
            assert line(on, "all" if layer is None else layer) == both
        other = expected(scan_copy)
        assert other.control is not None
        assert line(on, "all") != [*line_of(other, None), *line_of(other.control, None)]


@pytest.mark.parametrize("size", [(140, 40), (80, 24)])
async def test_the_control_stands_beside_and_is_named(scan_copy: Path, size: tuple[int, int]) -> None:
    make_control(scan_copy)
    async with running(scan_copy, size=size) as on:
        await opened(on)
        want = expected(scan_copy)
        assert want.control is not None
        assert re.search(r"copy · .*12 samples +control, .*seed 3 · 12 samples", table(on)[1])
        for layer in (*range(4), None):
            both = [*line_of(want, layer), *line_of(want.control, layer)]
            assert line(on, "all" if layer is None else layer) == both
        await on.press("f")
        assert line(on, 2) == [*line_of(want, 2, True), *line_of(want.control, 2, True)]
        assert "No control" not in on.screen
        assert_fits(on, *size)


async def test_what_is_being_counted_is_an_ellipsis(scan_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_control(scan_copy)
    may_go_on = threading.Event()

    def slow(store: ScanStore, thresholds: Thresholds) -> ScanStatistics | None:
        assert may_go_on.wait(60)
        return control_statistics(store, thresholds)

    monkeypatch.setattr("vlmscope.tui.shares.screen.control_statistics", slow)
    async with running(scan_copy) as on:
        await on.press("L")
        own = line_of(expected(scan_copy), 0)
        assert line(on, 0) == [*own[:5], "…", "…", "…", "…", "…"]
        await on.press("f", "j")
        assert "figure 6" in table(on)[0], "keys are heard meanwhile"
        await on.press("f")
        may_go_on.set()
        await on.until(lambda: "…" not in line(on, 0))


async def test_leaving_while_it_counts_harms_nothing(scan: Path) -> None:
    async with running(scan) as on:
        for key in ("L", "escape", "L", "q"):
            await on.press(key)
        assert on.app.screen is on.browse
        await on.press("j")
        assert on.neuron.index == 1


@pytest.mark.parametrize("key", ["L", "escape", "q"])
async def test_keys_that_lead_back(scan: Path, key: str) -> None:
    async with running(scan) as on:
        await opened(on)
        await on.press(key)
        assert on.app.screen is on.browse
        assert on.app.is_running


async def test_remapped_keys_are_remapped_here_too(scan: Path) -> None:
    config = Config(keys={"shares": "a", "neuron.next": "w"})
    async with running(scan, config=config) as on:
        await on.press("L")
        assert on.app.screen is on.browse
        await on.press("a")
        assert isinstance(on.app.screen, SharesScreen)
        assert "w/k layers" in table(on)[-1]
        await on.press("question_mark")
        assert isinstance(on.app.screen, HelpScreen)
        await on.press("escape", "a")
        assert on.app.screen is on.browse


async def test_other_scans_stand_beside(scan: Path, scan_copy: Path) -> None:
    make_control(scan_copy)
    async with running(scan, size=(180, 40)) as on:
        await opened(on, f":stats '{scan_copy}' '{scan}'")
        want, other = expected(scan), expected(scan_copy)
        assert other.control is not None
        assert "figure 7" in table(on)[0]
        head = table(on)[1]
        # Two scans of the same name are called what was typed.
        assert head.index("copy ·") < head.index("control, ") < head.index(plain_end(str(scan), head))
        parts = [line_of(want, 1), line_of(other, 1), line_of(other.control, 1), line_of(want, 1)]
        assert line(on, 1) == [word for part in parts for word in part]


def plain_end(path: str, head: str) -> str:
    """As much of a path as there was room for."""
    return next(path[:end] for end in range(len(path), 5, -1) if path[:end] in head)


async def test_columns_that_do_not_fit_are_stepped_to(scan: Path, scan_copy: Path) -> None:
    make_control(scan_copy)
    async with running(scan, size=(80, 24)) as on:
        await opened(on, f":stats '{scan_copy}'")
        assert "columns 1-1 of 3" in table(on)[0]
        assert line(on, 0) == line_of(expected(scan), 0)
        await on.press("l")
        other = expected(scan_copy)
        assert other.control is not None
        assert "columns 2-3 of 3" in table(on)[0]
        assert line(on, 0) == [*line_of(other, 0), *line_of(other.control, 0)]
        await on.press("l", "l", "h")
        assert "columns 1-1 of 3" in table(on)[0]
        assert_fits(on, 80, 24)


async def test_many_layers_scroll_and_their_sum_stays(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    write_synthetic_scan(folder, layers=40, neurons=8, samples=6, top_n=4, maps=1, grid=(4, 4), image=32)
    async with running(folder, size=(80, 24)) as on:
        await opened(on)

        def shown() -> list[int]:
            return [int(text.split()[0]) for text in table(on) if re.match(r" +\d+ [█░]", text)]

        rows = on.app.screen.query_one(ShareTable).page_rows
        assert shown() == list(range(rows))
        for keys, first in (
            ("j", 1),
            ("down j k", 2),
            ("G", 40 - rows),
            ("j", 40 - rows),
            ("ctrl+u", 40 - rows - rows // 2),
            ("g", 0),
            ("k", 0),
            ("ctrl+d", rows // 2),
        ):
            await on.press(*keys.split())
            assert shown() == list(range(first, first + rows)), keys
            assert line(on, "all") == line_of(expected(folder), None)
            assert f"layers {first}-{first + rows - 1} of 40" in table(on)[0]
        assert_fits(on, 80, 24)


async def test_scans_of_other_depths_stand_side_by_side(scan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    write_synthetic_scan(folder, layers=6, neurons=8, samples=6, top_n=4, maps=1, grid=(4, 4), image=32)
    async with running(scan) as on:
        await opened(on, f":stats {folder}")
        assert line(on, 5) == line_of(expected(folder), 5)
        assert line(on, 3) == [*line_of(expected(scan), 3), *line_of(expected(folder), 3)]


@pytest.mark.parametrize(
    ("typed", "words"),
    [("nowhere", "nowhere is not a scan"), ("~nobody-of-this-name/scan", "is not a folder"), ("''", "is not a scan")],
)
async def test_a_scan_that_is_missing_is_named_in_its_place(scan: Path, typed: str, words: str) -> None:
    async with running(scan) as on:
        await opened(on, f":stats {typed}")
        assert words in " ".join(on.screen.split())
        assert line(on, "all")[:6] == line_of(expected(scan), None)


async def test_a_damaged_control_is_said_and_the_scan_stays(scan: Path, scan_copy: Path) -> None:
    control = make_control(scan_copy)
    found = find_control(ScanStore(scan_copy))
    assert found is not None
    (control / found.manifest.arrays / "top_visual.npy").write_bytes(b"damaged")
    async with running(scan_copy) as on:
        await on.until(lambda: "damaged" in on.notes)
        await opened(on)
        assert "damaged" in on.screen
        assert line(on, "all")[:6] == line_of(expected(scan), None)
        assert "No control" not in on.screen


async def test_no_colour_bars_are_letters(scan_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    make_control(scan_copy)
    async with running(scan_copy) as on:
        await opened(on)
        assert re.search(r"^ +0 [VTM·]{8,} .* [VTM·]{8,} ", table(on)[3])
        for strip in on.app.screen._compositor.render_strips(on.app.size):
            for segment in strip:
                assert segment.style is None or segment.style.color is None or segment.style.color.is_default


@pytest.mark.parametrize("size", [(30, 8), (60, 15), (100, 30), (200, 60)])
async def test_odd_sizes_break_nothing(scan_copy: Path, size: tuple[int, int]) -> None:
    make_control(scan_copy)
    async with running(scan_copy, size=size) as on:
        await on.press("L")
        for key in ("j", "l", "f", "G"):
            await on.press(key)
        assert_fits(on, *size)


async def test_a_theme_is_taken_over(scan: Path) -> None:
    async with running(scan) as on:
        await opened(on)
        screen = on.app.screen
        assert isinstance(screen, SharesScreen)
        before = screen._palette
        on.app.theme = "textual-light"
        await on.until(lambda: screen._palette != before)
        assert not screen._palette.dark


async def test_hostile_names_show_as_text(tmp_path: Path, scan: Path) -> None:
    folder = tmp_path / "[b]\u202ehostile[red]"
    write_synthetic_scan(folder, layers=2, neurons=8, samples=6, top_n=4, maps=1, grid=(4, 4), image=32)
    async with running(folder) as on:
        await opened(on, ":stats '[/red]\u202eno' '漢字漢字'")
        text = on.screen
        assert "[b] hostile[red]" in text
        assert "[/red] no is not a scan" in " ".join(text.split())
        assert "\u202e" not in text


async def test_a_click_on_a_key_does_what_it_does(scan: Path) -> None:
    async with running(scan) as on:
        await opened(on)
        lines = table(on)
        await on.pilot.click("#shares", offset=(lines[-1].index("high-confidence"), len(lines) - 1))
        await on.until(lambda: "figure 6" in table(on)[0])


async def test_the_palette_offers_what_works_here(scan: Path) -> None:
    async with running(scan) as on:
        await opened(on)
        titles = [command.title for command in on.app.get_system_commands(on.app.screen)]
        assert "quit (q)" in titles and "help (?)" in titles
        assert not any(title.startswith(("next neuron", "keep")) for title in titles)


def test_labels_have_an_order() -> None:
    assert [label.letter for label in Label] == list("VTM·")  # what ``line`` counts on
