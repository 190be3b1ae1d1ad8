"""The screen follows a scan in progress: it goes on with what there is, and nothing that the user did is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from tests.support.growing import Growing
from tests.support.made_control import make_control
from tests.support.screen_app import Driver
from tests.support.screen_app import running as app_on
from vlmscope.core.analysis.firmness import neuron_firmness
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.values import MarkBit
from vlmscope.core.store.manifest import ShardInfo
from vlmscope.core.store.reader import open_scan
from vlmscope.core.worker.messages import Phase
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.dialogs.note import NoteScreen
from vlmscope.tui.shares.screen import SharesScreen
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.state import Mode, Order, Pane
from vlmscope.tui.widgets.layer_strip import FoldedStrip
from vlmscope.tui.widgets.neuron_list import sign_at
from vlmscope.tui.widgets.page.page import Page


@pytest.fixture
def growing(scan: Path, tmp_path: Path) -> Growing:
    """As of 5 of 12 samples."""
    growing = Growing(scan, tmp_path / "scan")
    growing.save(5)
    return growing


@asynccontextmanager
async def running(scan: Path, size: tuple[int, int] = (140, 40), name: str = "small") -> AsyncIterator[Driver]:
    """The app, which looks often whether the scan has come further."""
    async with app_on(scan, size=size, name=name, pace=Pace(follow_s=0.02)) as driver:
        yield driver


async def caught_up(driver: Driver, done: int) -> None:
    await driver.until(lambda: driver.store.manifest.scanned == done)
    await driver.settled()


async def test_the_title_says_how_far_it_is_and_follows(growing: Growing) -> None:
    async with running(growing.out, name="mine") as driver:
        assert "mine · synthetic · gate · scanning 5 of 12 (41 %) · N 8" in driver.title
        assert "sample 1 of 5" in driver.screen
        growing.save(6)
        await caught_up(driver, 6)
        assert "scanning 6 of 12 (50 %)" in driver.title
        assert "sample 1 of 6" in driver.screen
        growing.close()
        await driver.until(lambda: "stopped at 6 of 12" in driver.title)
        assert not driver.notes


async def test_so_do_the_lines_of_a_small_screen(growing: Growing) -> None:
    async with running(growing.out, size=(80, 24)) as driver:
        assert "scanning 5 of 12 (41 %)" in driver.title
        growing.save(6)
        await caught_up(driver, 6)
        assert "scanning 6 of 12 (50 %)" in driver.title
        assert "6 of 12" in driver.browse.query_one(FoldedStrip).text
        _ = driver.browse.controllers.model_link.client
        driver.models[0].tell(Phase.READY)
        await driver.until(lambda: "model: ready" in driver.title)
        assert "scanning" in driver.title


async def test_a_shard_says_which_it_is_and_its_end_is_no_more_looked_for(scan: Path, tmp_path: Path) -> None:
    shard = Growing(scan, tmp_path / "shard", ShardInfo(number=2, of=3))
    shard.save(3)
    async with running(shard.out) as driver:
        assert "shard 2/3 scanning 3 of 4 (75 %)" in driver.title
        shard.save(4)
        await caught_up(driver, 4)
        assert "shard 2/3 done, 4 of 4" in driver.title
        assert not driver.browse.controllers.follow.following


async def test_labels_and_all_that_follows_from_them_are_new(growing: Growing) -> None:
    async with running(growing.out) as driver:
        await driver.type(":sort fragile")
        before = driver.scene
        growing.save(9, lean=0.3)
        await caught_up(driver, 9)
        after = driver.scene
        assert after.columns.labels is not before.columns.labels
        assert after.columns.labels.valid == 8
        assert after.counts != before.counts
        assert after.columns.store is driver.store
        assert after.firmness == neuron_firmness(driver.store, driver.neuron, driver.state.thresholds)
        assert after.facts is not None
        assert sum(count for _, count in after.facts.peaks) == 8
        assert "fragile" in vars(after.columns), "what the order reads was computed in the thread"
        at = driver.neuron
        assert f"{at}" in driver.page
        neuron = (at.layer, at.index)
        stored = open_scan(growing.out).stored_labels()
        assert after.columns.labels.label[neuron] == stored.label[neuron]
        assert Label(int(stored.label[neuron])).word in driver.page


async def test_thresholds_of_the_screen_stay(growing: Growing) -> None:
    async with running(growing.out) as driver:
        await driver.type(":Tv 4")
        growing.save(7, lean=0.9)
        await caught_up(driver, 7)
        assert driver.scene.columns.labels.thresholds.T_v == 4
        assert driver.state.thresholds.T_v == 4
        expected = driver.store.labels(driver.state.thresholds)
        assert (driver.scene.columns.labels.label == expected.label).all()
        assert "Tv 4" in driver.title


async def test_labels_that_were_asked_of_the_checkpoint_before_are_dropped(growing: Growing) -> None:
    async with running(growing.out) as driver:
        old = driver.scene.columns
        growing.save(7, lean=0.5)
        await caught_up(driver, 7)
        new = driver.scene.columns.labels
        incoming.take_labels(driver.session, old)
        assert driver.scene.columns.labels is new


async def test_what_the_user_chose_stays(growing: Growing) -> None:
    async with running(growing.out) as driver:
        await driver.browse.controllers.find.set_filter(Filter(all_layers=True))
        await driver.type(":sort maximum")
        await driver.type("/unknown")
        await driver.type(":2.17")
        await driver.press("l", "l", "m")
        await driver.settled()
        state, cursor = driver.state, driver.scene.cursor
        assert (state.neuron, state.rank, state.search, state.order) == (Neuron(2, 17), 2, "unknown", Order.MAXIMUM)
        top = driver.list.scroll_offset.y
        assert top > 0
        growing.save(7, lean=0.7)
        await caught_up(driver, 7)
        assert driver.state == state
        assert driver.scene.cursor == cursor
        assert driver.list.scroll_offset.y == top
        assert driver.scene.listed


async def test_the_cursor_stays_on_its_line_when_rows_come_and_go_above_it(growing: Growing) -> None:
    async with running(growing.out, size=(140, 20)) as driver:
        filter_ = Filter(label=Label.TEXT, all_layers=True)
        await driver.browse.controllers.find.set_filter(filter_)
        await driver.settled()
        driver.browse.show(driver.session.go_row(len(driver.scene.selection) // 2))
        await driver.settled()
        at, cursor = driver.neuron, driver.scene.cursor
        assert cursor is not None
        line = cursor - driver.list.scroll_offset.y
        assert driver.list.scroll_offset.y > 0
        growing.save(6, lean=0.6)  # more of them are text
        await caught_up(driver, 6)
        assert driver.neuron == at
        assert driver.state.filter == filter_
        assert driver.scene.cursor is not None
        assert driver.scene.cursor != cursor, "rows came above it"
        assert driver.scene.cursor - driver.list.scroll_offset.y == line


async def test_a_neuron_that_is_no_longer_in_the_list_stays_on_the_page(growing: Growing) -> None:
    async with running(growing.out) as driver:
        await driver.browse.controllers.find.set_filter(Filter(label=Label.VISUAL))
        at = driver.neuron
        growing.save(6, lean=0.0)
        await caught_up(driver, 6)
        assert driver.neuron == at
        assert not driver.scene.listed
        assert len(driver.scene.selection) == 0
        assert str(at) in driver.page


async def test_a_list_that_was_scrolled_away_by_the_mouse_stays_there(growing: Growing) -> None:
    async with running(growing.out, size=(140, 16)) as driver:
        await driver.browse.controllers.find.set_filter(Filter(all_layers=True))
        await driver.pilot.pause()
        driver.list.scroll_to(y=60, animate=False, immediate=True)
        growing.save(6, lean=0.8)
        await caught_up(driver, 6)
        assert driver.list.scroll_offset.y == 60


async def test_a_sample_that_the_model_was_asked_for_keeps_its_map(growing: Growing) -> None:
    async with running(growing.out) as driver:
        driver.session.answers.maps[Neuron(0, 0), 3, "x"] = None  # type: ignore[assignment]
        growing.save(6)
        await caught_up(driver, 6)
        assert (Neuron(0, 0), 3, "x") in driver.session.answers.maps


async def test_a_note_that_is_being_typed_stays(growing: Growing) -> None:
    async with running(growing.out) as driver:
        await driver.press("j", "i")
        await driver.until(lambda: isinstance(driver.app.screen, NoteScreen))
        await driver.press(*"trains")
        growing.save(6)
        await caught_up(driver, 6)
        assert isinstance(driver.app.screen, NoteScreen)
        assert driver.app.screen.query_one(TextArea).text == "trains"
        await driver.press(*"ets", "escape")
        await driver.until(lambda: bool(driver.scene.noted.has(MarkBit.NOTE)[1]))
        entry = await driver.browse.controllers.notebook_link.write(lambda notebook: notebook.entry(Neuron(0, 1)))
        assert entry.note == "trainsets"
        assert entry.neuron == driver.neuron


async def test_verdicts_and_an_open_prompt_stay(growing: Growing) -> None:
    async with running(growing.out) as driver:
        await driver.press("1")
        await driver.until(lambda: driver.scene.noted.anything)
        await driver.press("colon", *"Tv")
        growing.save(6)
        await caught_up(driver, 6)
        box = driver.app.focused
        assert isinstance(box, Input)
        assert box.value == "Tv"
        await driver.press(*" 3", "enter")
        assert driver.state.thresholds.T_v == 3
        assert sign_at(driver.scene, Neuron(0, 0)).startswith("✓")
        assert "triaged 1 of" in driver.screen


async def test_what_covers_the_page_stays(growing: Growing) -> None:
    async with running(growing.out) as driver:
        await driver.press("v")
        growing.save(6)
        await caught_up(driver, 6)
        assert driver.state.mode is Mode.STATISTICS
        assert driver.state.pane is Pane.PAGE
        await driver.press("L")
        await driver.until(lambda: isinstance(driver.app.screen, SharesScreen))
        growing.save(8)
        await caught_up(driver, 8)
        assert isinstance(driver.app.screen, SharesScreen)
        await driver.press("escape")
        assert "scanning 8 of 12" in driver.title


async def test_a_held_key_comes_first(growing: Growing) -> None:
    async with running(growing.out) as driver:
        driver.session.go(Neuron(0, 9))  # its page is not loaded yet, as while a key is held
        growing.save(6)
        for _ in range(15):
            await driver.pilot.pause(0.02)
        assert driver.store.manifest.scanned == 5
        driver.session.load_page()
        await caught_up(driver, 6)


def activation(driver: Driver) -> list[list[object]]:
    """The looks of the heatmap's cells."""
    return [[segment.style for segment in line] for line in driver.browse.query_one(Page).lines[6:12]]


async def test_the_pictures_norms_follow_the_maximum(growing: Growing) -> None:
    """The same sample of the same neuron is drawn anew when the neuron's maximum has grown."""
    async with running(growing.out) as driver:
        before = driver.scene.picture
        assert before is not None
        assert before.visual is not None
        shown = activation(driver)
        growing.source.arrays["maximum"] = growing.source.arrays["maximum"] * 4
        growing.save(5)
        await driver.until(lambda: driver.scene.picture is not before)
        await driver.settled()
        after = driver.scene.picture
        assert after is not None
        assert after.visual is not None
        assert after.key == before.key
        assert after.visual.max() == pytest.approx(before.visual.max() / 4)
        assert activation(driver) != shown


async def test_a_whole_scan_says_so_and_is_no_longer_looked_at(growing: Growing) -> None:
    async with running(growing.out) as driver:
        assert "found when the scan is whole" in driver.screen
        await driver.type("/train")
        await driver.until(lambda: "when the scan is whole" in driver.notes)
        growing.finish()
        await caught_up(driver, 12)
        assert "· gate · 12 samples · N 8" in driver.title
        assert "The scan is whole." in driver.notes
        assert not driver.browse.controllers.follow.following
        assert driver.scene.columns.concepts is not None
        assert driver.scene.has_concepts
        assert "found when" not in driver.screen
        (growing.out / "manifest.json").unlink()
        await driver.browse.controllers.follow.look()
        assert "cannot be read" not in driver.notes


async def test_a_whole_scan_is_not_looked_at_at_all(scan: Path) -> None:
    async with running(scan) as driver:
        assert not driver.browse.controllers.follow.following


async def test_a_folder_that_vanishes_is_told_once_and_what_was_read_stays(growing: Growing) -> None:
    async with running(growing.out) as driver:
        away = growing.out.with_name("away")
        growing.out.rename(away)
        await driver.until(lambda: "cannot be read any more" in driver.notes)
        for _ in range(5):
            await driver.browse.controllers.follow.look()
        assert driver.notes.count("cannot be read any more") == 1
        await driver.press("j")
        assert driver.neuron == Neuron(0, 1)
        away.rename(growing.out)
        growing.save(7)
        await caught_up(driver, 7)
        assert "7 of 12" in driver.title


async def test_a_checkpoint_that_is_damaged_is_told_and_the_next_one_is_taken(growing: Growing) -> None:
    async with running(growing.out) as driver:
        named = growing.save(6)
        (growing.out / named.arrays / "votes.npy").write_bytes(b"")
        await driver.until(lambda: "votes.npy" in driver.notes)
        assert driver.store.manifest.scanned == 5
        growing.save(7)
        await caught_up(driver, 7)


async def test_a_control_that_is_made_meanwhile_is_found(growing: Growing) -> None:
    async with running(growing.out) as driver:
        assert driver.scene.control is None
        make_control(growing.out)
        growing.finish()
        await caught_up(driver, 12)
        await driver.until(lambda: driver.scene.control is not None)
        assert "control" in driver.title
