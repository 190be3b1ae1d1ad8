"""Stepping through neurons, layers and samples."""

import re
import sys
from pathlib import Path

from tests.support.screen_app import running
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.views.state import Mode, Order
from vlmscope.tui.widgets.neuron_list import NeuronList
from vlmscope.tui.widgets.page.fading import faded
from vlmscope.tui.widgets.page.frame import frame
from vlmscope.tui.widgets.page.page import Page


async def test_opens_on_the_first_neuron_with_its_evidence(scan: Path) -> None:
    store = ScanStore(scan)
    async with running(scan) as on:
        assert on.neuron == Neuron(0, 0)
        top = store.example(Neuron(0, 0), 0, store.manifest.thresholds.value())
        assert re.match(r" *L0/N0  [VTM·] (visual|text|multimodal|unknown)", on.page)
        assert f"sample 1 of 8 · #{top.sample.index} " in on.page
        assert f"vote {top.vote.letter} {top.vote.word}" in on.page
        assert top.sample.tokens[0].strip() in on.page


async def test_opens_at_an_address(scan: Path) -> None:
    async with running(scan, start=Neuron(2, 7)) as on:
        assert on.neuron == Neuron(2, 7)
        assert "L2/N7 " in on.page


async def test_keys_move(scan: Path) -> None:
    async with running(scan) as on:
        for keys, expected in (
            ("j", "L0/N1"),
            ("down", "L0/N2"),
            ("k k k", "L0/N0"),
            ("G", "L0/N31"),
            ("j", "L0/N31"),
            ("home ]", "L1/N0"),
            ("j j ] ]", "L3/N2"),
            ("]", "L3/N2"),
            ("[", "L2/N2"),
            ("[ [ [ up up up", "L0/N0"),
        ):
            await on.press(*keys.split())
            await on.settled()
            assert str(on.neuron) == expected
            assert on.page.startswith(f"{expected} ")


async def test_half_pages_move_by_half_of_what_is_seen(scan: Path) -> None:
    async with running(scan, size=(140, 20)) as on:
        half = on.list.page_rows // 2
        assert half > 2
        await on.press("ctrl+d")
        assert on.neuron.index == half
        await on.press("ctrl+u")
        assert on.neuron.index == 0


async def test_the_cursor_stays_in_view(scan: Path) -> None:
    async with running(scan, size=(140, 20)) as on:
        for _ in range(25):
            await on.press("j")
        await on.settled()
        assert "▸   25" in on.screen
        await on.press("g")
        await on.settled()
        assert "▸    0" in on.screen


async def test_samples_step_and_a_new_neuron_begins_at_its_first(scan: Path) -> None:
    store = ScanStore(scan)
    async with running(scan) as on:
        await on.press("l", "l")
        await on.settled()
        second = int(store.arrays["top_sample"][0, 0, 2])
        assert f"sample 3 of 8 · #{second} " in on.page
        await on.press("h")
        await on.settled()
        assert "sample 2 of 8" in on.page
        await on.press("j")
        await on.settled()
        assert "sample 1 of 8" in on.page


async def test_samples_end_at_the_first_and_the_last(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("h")
        assert on.state.rank == 0
        await on.press(*["l"] * 12)
        assert on.state.rank == 7


async def test_held_keys_leave_the_old_picture_dimmed_with_its_own_address(scan: Path) -> None:
    async with running(scan, pace=Pace(rest_s=0.4)) as on:
        await on.until(lambda: not on.scene.stale)
        await on.press("j")
        await on.press("j", "j")
        assert on.neuron == Neuron(0, 3)
        assert "L0/N3 " in on.page.splitlines()[0]
        assert "still L0/N" in on.page
        assert "sample 1 of" not in on.page
        height = len(on.page.splitlines())
        await on.settled()
        assert "still L0/N" not in on.page
        assert "sample 1 of 8" in on.page
        assert abs(len(on.page.splitlines()) - height) <= 1


async def test_a_click_on_a_row_goes_there(scan: Path) -> None:
    async with running(scan) as on:
        await on.pilot.click(NeuronList, offset=(10, 6))
        await on.settled()
        assert on.neuron == Neuron(0, 4)


async def test_held_keys_dim_all_that_is_old_and_name_whose_it_is(scan: Path) -> None:
    async with running(scan, pace=Pace(rest_s=60)) as on:
        page, palette = on.browse.query_one(Page), on.browse.palette
        shown = {"": list(page.lines)}
        for mode in "ev":
            await on.press(mode)
            shown[mode] = list(page.lines)
            await on.press(mode)
        await on.press("j", "j")
        for mode, fresh in shown.items():
            await on.press(*mode)
            assert on.page.startswith("L0/N2 ")
            assert "still L0/N0" in on.page
            first = {"": 25, "e": 3, "v": 6}[mode]  # the label's own numbers go at once
            expected = [faded(line, palette) for line in fresh[first:]]
            old = [[one for one in line if one.text.strip()] for line in page.lines[first:]]
            assert any(old)
            assert old == [[one for one in line if one.text.strip()] for line in expected]
            await on.press(*mode)


async def test_clicks_on_votes_heads_patches_and_words(scan: Path) -> None:
    async with running(scan) as on:
        votes = on.page.splitlines()[1]
        await on.pilot.click(Page, offset=(votes.index("8/8 ") + 5 + 2 + 3, 2))
        await on.settled()
        assert on.state.rank == 3
        head = on.list._head(on.list.size.width, on.browse.palette).text
        await on.pilot.click(NeuronList, offset=(head.index("max") + 2, 1))
        await on.until(lambda: on.state.order is Order.MAXIMUM)
        await on.pilot.click(NeuronList, offset=(head.index("max") + 2, 1))
        await on.until(lambda: on.state.order is Order.INDEX)
        await on.press("P")
        await on.until(lambda: on.state.mode is Mode.POINT and not on.scene.stale)
        box = frame(*on.browse.query_one(Page).size, Mode.POINT, on.store.manifest.text_tokens_max).picture
        await on.pilot.click(Page, offset=(2 + box[0] - 1, 1 + 5 + box[1] - 1))
        await on.until(lambda: "patch 3,3" in on.page)
        await on.pilot.click(Page, offset=(2 + box[0] + 1, 1 + 5))
        await on.until(lambda: "patch 0,0" in on.page)
        await on.pilot.click(Page, offset=(2 + 1, 1 + 5 + box[1]))
        await on.until(lambda: "word 1 " in on.page)


async def test_a_click_on_a_layer_goes_there(scan: Path) -> None:
    async with running(scan) as on:
        await on.pilot.click("#layers", offset=(5, 3))
        await on.settled()
        assert on.neuron == Neuron(2, 0)


async def test_copying_the_address(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("j", "y")
        assert on.app.clipboard == "L0/N1"
        assert "L0/N1" in on.notes


async def test_a_step_opens_two_files_at_most(scan: Path) -> None:
    opened: list[str] = []
    counting = False

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if counting and event == "open":
            opened.append(str(arguments[0]))

    async with running(scan) as on:
        sys.addaudithook(listen)  # stays for good, but hears nothing when the test is over
        for step in range(1, 6):
            counting = True
            await on.press("j")
            await on.settled()
            counting = False
            assert on.neuron == Neuron(0, step)
            assert len(opened) <= 2, opened
            opened.clear()


async def test_a_count_before_a_move(scan: Path) -> None:
    async with running(scan, pace=Pace(count_s=60)) as on:
        for keys, expected in (
            ("5 j", "L0/N5"),
            ("1 0 j", "L0/N15"),
            ("6 esc j", "L0/N16"),
            ("9 m k", "L0/N15"),
            ("6 1 k", "L0/N0"),
            ("0 j", "L0/N1"),
            ("2 0 0 ]", "L3/N1"),
            ("9 [", "L0/N1"),
        ):
            await on.press(*keys.replace("esc", "escape").split())
            await on.settled()
            assert str(on.neuron) == expected, keys
        await on.press("7")
        assert "7 …" in on.keys
        await on.press("l")
        assert on.state.rank == 7
        assert "7 …" not in on.keys
        await on.until(lambda: on.idle)
        assert not any(on.list._row(at, 60).text[6] != " " for at in range(32)), "no verdict is left"


async def test_a_verdict_that_becomes_a_count_leaves_no_trace(scan: Path) -> None:
    async with running(scan, pace=Pace(count_s=60)) as on:
        await on.press("3", "j", "1", "u")
        await on.until(lambda: "L0/N1 has no verdict" in on.notes)
        await on.press("2")
        await on.until(lambda: on.scene.noted.bits_of(Neuron(0, 1)) > 0)
        await on.press("0")
        await on.until(lambda: on.scene.noted.bits_of(Neuron(0, 1)) == 0)
        await on.press("escape", "ctrl+r")
        await on.until(lambda: "done again: L0/N1 is keep" in on.notes)
        await on.press("2", "k", "0")
        await on.until(lambda: on.idle)
        assert on.scene.noted.bits_of(Neuron(0, 1)) == 2, "another key came between"
    async with running(scan, start=Neuron(2, 4), pace=Pace(count_s=0)) as on:
        await on.press("1", "0", "j")
        assert on.neuron == Neuron(2, 5), "too late for a count"
        await on.until(lambda: on.scene.noted.bits_of(Neuron(2, 4)) == 1)
