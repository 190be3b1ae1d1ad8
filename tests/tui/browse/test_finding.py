"""Search, filter, sort, thresholds, and commands that are wrong."""

from pathlib import Path

import numpy as np
import pytest
from textual.widgets import Input

from tests.support.screen_app import running
from tests.support.worded import concepts_of
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.store.concept_files import replace_concepts
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.dialogs.choice import ORDERS
from vlmscope.tui.views.columns import Columns
from vlmscope.tui.views.filters import Filter
from vlmscope.tui.views.state import Order


@pytest.mark.parametrize("line", ["/2 5", ":L2/N5"])
async def test_an_address_goes_there(scan: Path, line: str) -> None:
    async with running(scan) as on:
        await on.type(line)
        await on.settled()
        assert on.neuron == Neuron(2, 5)


async def test_a_number_is_an_index_of_this_layer(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("]")
        await on.type("/30")
        assert on.neuron == Neuron(1, 30)


async def test_a_label_search_steps_through_its_matches(scan: Path) -> None:
    hits = np.flatnonzero(ScanStore(scan).stored_labels().label[0] == Label.TEXT).tolist()
    assert len(hits) > 2
    async with running(scan) as on:
        await on.type("/here text")
        assert on.neuron.index == hits[0]
        await on.press("n")
        assert on.neuron.index == hits[1]
        await on.press("N")
        assert on.neuron.index == hits[0]


async def test_an_address_outside_the_model_is_refused(scan: Path) -> None:
    async with running(scan) as on:
        for count, line in enumerate(("/9.1", ":9.1", "/999", ":0.999"), start=1):
            await on.type(line)
            await on.until(lambda count=count: on.notes.count("outside") == count)  # type: ignore[misc]
            assert on.neuron == Neuron(0, 0)


WRONG = [
    (":frobnicate", "is not a command"),
    (":Tv lots", "is not a number"),
    (":Tv 11", "not a number from 0 to 10"),
    (":nv 9", "whole number from 1 to 8"),
    (":nv 1.5", "not a whole number"),
    (":Tv", "is not a number"),
    (":label sideways", "is not a label"),
    (":sort sideways", "is not an order"),
    (":theme none-such", "is not a theme"),
    (":image", "No picture was named"),
    (":image /nowhere/at/all.png", "no picture at"),
    (":image 'open quote", "cannot be read"),
    (":restart now", "takes no words"),
]


async def test_a_wrong_command_is_explained_and_changes_nothing(scan: Path) -> None:
    async with running(scan) as on:
        before = on.state
        for line, reason in WRONG:
            on.forget_notes()
            await on.type(line)
            await on.until(lambda reason=reason: reason in on.notes)  # type: ignore[misc]
            assert on.state == before


async def test_an_unknown_command_names_those_there_are(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":frobnicate")
        await on.until(lambda: "is not a command" in on.notes)
        for name in ("Tv", "label", "image", "restart", "unload", "theme"):
            assert name in on.notes


async def test_a_threshold_relabels_everything_at_once(scan: Path) -> None:
    store = ScanStore(scan)
    wanted = Thresholds(T_v=9.5)
    labels = store.labels(wanted)
    changed = np.argwhere(labels.label != store.stored_labels().label)
    assert len(changed)
    neuron = store.numbering.at(*changed[0].tolist())
    async with running(scan, start=neuron) as on:
        title = on.title
        before = on.page.splitlines()[0]
        await on.type(":Tv 9.5")
        await on.until(lambda: on.scene.columns.labels.thresholds == wanted)
        await on.pilot.pause()
        label = Label(int(labels.label[neuron.layer, neuron.index]))
        assert "Tv 9.5* " in on.title
        assert on.title != title
        assert on.page.splitlines()[0] != before
        assert f"{label.letter} {label.word}" in on.page.splitlines()[0]
        assert "9.5" in on.page.splitlines()[3]
        assert f" {label.letter} " in on.list.line_text(neuron.index)
        vote = Label(int(store.votes(neuron, wanted)[0]))
        assert f"vote {vote.letter} {vote.word}" in on.page
        await on.type(":reset")
        await on.until(lambda: "Tv 2 " in on.title)
        assert "*" not in on.title


async def test_each_threshold_has_its_command(scan: Path) -> None:
    async with running(scan) as on:
        for line in (":nv 5", ":Tt 2.5", ":nt 3", ":firm 0.6", ":Tv 1"):
            await on.type(line)
        assert on.scene.columns.labels.thresholds == Thresholds(1.0, 5, 2.5, 3, 0.6)


async def test_the_last_of_two_quick_thresholds_wins_though_labels_come_from_a_thread(scan: Path) -> None:
    async with running(scan, pace=Pace(small=0)) as on:
        on.browse.controllers.find.relabel(Thresholds(T_v=9))
        on.browse.controllers.find.relabel(Thresholds(T_v=1))
        await on.until(lambda: on.state.thresholds.T_v == 1)
        await on.until(lambda: on.idle)
        await on.pilot.pause()
        assert on.scene.columns.labels.thresholds.T_v == 1


async def test_the_filter_keeps_one_label(scan: Path) -> None:
    store = ScanStore(scan)
    kept = np.flatnonzero(store.stored_labels().label[0] == Label.MULTIMODAL)
    async with running(scan) as on:
        await on.press("f")
        await on.press("m")
        await on.settled()
        assert len(on.scene.selection) == len(kept)
        assert on.neuron.index in kept
        assert f"{len(kept)} neurons · multimodal" in on.screen
        await on.press("G")
        assert on.neuron.index == kept[-1]
        await on.press("f")
        await on.press("a")
        assert len(on.scene.selection) == store.neurons


async def test_the_filter_takes_all_layers_and_high_confidence(scan: Path) -> None:
    labels = ScanStore(scan).stored_labels()
    async with running(scan) as on:
        await on.type(":layers all")
        await on.type(":label high-confidence")
        assert len(on.scene.selection) == int(labels.high_confidence.sum())
        await on.press("G")
        await on.settled()
        last = np.flatnonzero(labels.high_confidence.ravel())[-1]
        assert on.neuron == Neuron(int(last) // 32, int(last) % 32)
        assert f"▸ {on.neuron}" in on.screen


async def test_brackets_step_over_layers_in_a_list_of_all_layers(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":layers all")
        await on.press("]")
        assert on.neuron == Neuron(1, 0)


async def test_an_empty_list_says_so_and_the_page_stays(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":Tv 0")
        await on.type(":nv 1")
        await on.type(":Tt 0")
        await on.type(":nt 1")
        await on.type(":label unknown")
        await on.until(lambda: len(on.scene.selection) == 0)
        await on.press("j")
        assert "No neuron here is unknown" in on.screen
        assert "not in this filter" in on.page


@pytest.mark.parametrize("order", [Order.MAXIMUM, Order.CLEAREST])
async def test_sorting(scan: Path, order: Order) -> None:
    store = ScanStore(scan)
    labels = store.stored_labels()
    columns = Columns(store, labels, None)
    by = {
        Order.INDEX: -np.arange(32),
        Order.MAXIMUM: store.maximum[0],
        Order.MARGIN: columns.margin[:32],
        Order.CONCEPT: np.zeros(32),
        Order.SCORE: np.zeros(32),
        Order.CLEAREST: columns.clearness[:32] + 10.0 * labels.high_confidence[0],
        Order.FRAGILE: 10.0 * columns.fragile[:32] - columns.margin[:32],
        Order.PREFERENCE: np.zeros(32),
        Order.MATCH: np.zeros(32),
    } | {Order(label.word): labels.votes[0, :, label] for label in Label}
    async with running(scan) as on:
        await on.press("o")
        await on.press(next(letter for letter, of in ORDERS.items() if of is order))
        await on.until(lambda: on.state.order is order)
        await on.press("g")
        values = [float(by[order][on.scene.selection.at(row).index]) for row in range(32)]
        assert values == sorted(values, reverse=True)
        assert on.neuron == on.scene.selection.at(0)


async def test_the_prompt_remembers_and_leaves(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":1.3")
        await on.press("colon")
        await on.until(lambda: on.app.focused is not None)
        await on.press("up", "enter")
        assert on.neuron == Neuron(1, 3)
        await on.press("colon")
        await on.until(lambda: on.app.focused is not None)
        await on.press("j", "escape")
        await on.until(lambda: on.app.focused is None)
        assert on.neuron == Neuron(1, 3)
        await on.press("j")
        assert on.neuron == Neuron(1, 4)


async def test_letters_typed_at_once_after_the_colon_are_all_in_the_line(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("colon", "3", "full_stop", "3", "0", "enter")
        await on.settled()
        assert on.neuron == Neuron(3, 30)
        assert on.notes == ""


async def test_keys_that_open_a_line_are_letters_in_it(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("colon", "p", "slash", "colon", "j")
        box = on.app.focused
        assert isinstance(box, Input)
        assert box.value == "p/:j"
        await on.press("escape")
        assert on.neuron == Neuron(0, 0)


async def test_a_search_lists_while_it_is_typed_and_esc_leaves_its_result(scan_copy: Path) -> None:
    store = ScanStore(scan_copy)
    placed = {(0, 3): (("train", 9.0),), (2, 7): (("train", 12.5),), (3, 1): (("dog", 7.0), ("train", 2.5))}
    replace_concepts(scan_copy, concepts_of(store, placed), store.manifest)
    async with running(scan_copy) as on:

        def rows() -> list[Neuron]:
            return [on.scene.selection.at(row) for row in range(len(on.scene.selection))]

        await on.press("slash", *"trai")
        await on.until(lambda: "3 neurons" in on.screen)
        assert rows() == [Neuron(2, 7), Neuron(0, 3), Neuron(3, 1)]
        assert on.neuron == Neuron(0, 0), "the page stays"
        await on.press(*"nx")
        await on.until(lambda: "no neuron; similar words: train" in on.screen)
        await on.press("escape")
        await on.until(lambda: len(on.scene.selection) == 32)
        assert (on.neuron, on.state.filter, on.state.order) == (Neuron(0, 0), Filter(), Order.INDEX)
        await on.type("/train max>0")
        assert on.neuron == Neuron(2, 7)
        assert str(on.list.border_title).startswith("all") and " · 3" in str(on.list.border_title)
        assert " · train max>0 · " in str(on.list.border_title)
        assert "esc leave train max>0" in on.keys
        await on.press("n", "n")
        assert (on.neuron, "3 of 3, strongest first" in on.notes) == (Neuron(3, 1), True)
        await on.type("/L0 train")
        assert rows() == [Neuron(0, 3)]
        await on.press("F")
        box = on.app.focused
        assert isinstance(box, Input)
        assert box.value == "L0 train "
        box.value = "train L2-3"
        await on.until(lambda: "2 neurons" in on.screen)
        await on.press("enter")
        assert on.state.filter == Filter(words="train", layers=(2, 3))
        await on.press("escape")
        await on.until(lambda: on.state.filter == Filter())
        assert on.neuron.layer > 0, "the neuron stays"
        await on.press("ctrl+o")
        await on.until(lambda: on.state.filter == Filter(words="train", layers=(2, 3)))
        await on.press("ctrl+n")
        await on.until(lambda: on.state.filter == Filter())
        await on.type("/purty>.5")
        await on.until(lambda: "Did you mean purity?" in on.notes)
        assert on.state.filter == Filter()
        on.forget_notes()
        await on.press("slash", *"27.", "enter", "backspace")
        await on.until(lambda: on.state.filter == Filter(words="train", layers=(2, 3)))


async def test_places_are_kept_for_the_next_session(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":2.5")
        await on.type(":1.3")
        await on.pilot.press("q")
        await on.until(lambda: on.app._exit)
    async with running(scan, start=Neuron(3, 0)) as on:
        await on.until(lambda: on.session.notebook_read)
        await on.press("ctrl+o")
        assert on.neuron == Neuron(2, 5)
        await on.press("backspace")
        assert on.neuron == Neuron(0, 0)
        await on.press("ctrl+n", "ctrl+n")
        assert on.neuron == Neuron(3, 0)


async def test_a_saved_view_is_shown_again_with_its_thresholds(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("W")
        await on.until(lambda: "no saved view yet" in on.notes)
        await on.type(":Tv 4")
        await on.type(":filter text max>0")
        await on.type(":sort maximum")
        await on.type(":save-view strict-text")
        await on.until(lambda: "The view strict-text is saved" in on.notes)
        kept, rows = on.state, len(on.scene.selection)
        await on.type(":reset")
        await on.until(lambda: on.state.thresholds.T_v == 2)
        assert (on.state.filter, on.state.order) == (Filter(), Order.INDEX)
        await on.press("W", "s")
        await on.until(lambda: on.state.thresholds.T_v == 4)
        assert (on.state.filter, on.state.order) == (kept.filter, kept.order)
        assert len(on.scene.selection) == rows
        await on.press("escape")
        await on.until(lambda: on.state.filter == Filter())
        await on.type(":view strict-txt")
        await on.until(lambda: "Did you mean strict-text?" in on.notes)
        await on.type(":delete-view strict-text")
        await on.until(lambda: "is forgotten" in on.notes)
