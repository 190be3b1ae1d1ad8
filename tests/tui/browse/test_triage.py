"""Triage by keys: what is decided is in the notebook before its mark is on the screen, and nothing typed is lost."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from textual.events import Key
from textual.widgets import Input, TextArea

from tests.support.screen_app import Driver, running
from vlmscope.core.base.config import Config, data_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.texts import FoldedTexts
from vlmscope.core.notebook.values import Entry, Review, Verdict
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.dialogs.drafts import Drafts
from vlmscope.tui.dialogs.note import NoteScreen
from vlmscope.tui.views.filters import Decided, Filter
from vlmscope.tui.views.state import Order


def draft_of(scan: Path) -> Path:
    return Drafts(read_manifest(scan).scan_id).note(Neuron(0, 0))


def path_of(scan: Path) -> Path:
    return notebook_path(read_manifest(scan).scan_id, scan, "data")


def notebook(scan: Path) -> Notebook:
    return Notebook.open(path_of(scan), read_manifest(scan).scan_id)


def entry(scan: Path, neuron: Neuron) -> Entry:
    with notebook(scan) as kept:
        return kept.entry(neuron)


def row(on: Driver, index: int) -> str:
    """The index and the marks of a row."""
    return on.list.line_text(index)[1:10]


async def burst(on: Driver, *keys: str) -> None:
    """Keys that arrive all at once, as over a slow line."""
    for key in keys:
        on.app.post_message(Key(key, key if len(key) == 1 else None))
    await on.pilot.pause()


async def test_a_mark_is_painted_after_a_resize_whose_paint_came_first(scan: Path) -> None:
    async with running(scan, (140, 40)) as on:
        await on.press("1")
        await on.until(lambda: "▸    0✓ " in on.screen)
        on.list.on_resize()  # the event comes when the rows stand on the screen already
        await on.press("b")
        await on.until(lambda: "▸    0✓b" in on.screen)


async def test_verdicts_have_their_marks_and_are_on_the_disk(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("1", "j", "2", "j", "3", "j", "1", "4")
        await on.until(lambda: [row(on, at)[4:6] for at in range(4)] == ["0✓", "1✗", "2?", "3 "])
        await on.until(lambda: "triaged 3 of 128 · ✓1 ✗1 ?1" in on.screen)
        with notebook(scan) as kept:
            verdicts = [kept.entry(Neuron(0, index)).verdict for index in range(4)]
        assert verdicts == [Verdict.KEEP, Verdict.REJECT, Verdict.UNSURE, None]
        await on.press("k", "k", "k")
        await on.until(lambda: "noted     ✓ keep" in on.page)


async def test_bookmarks_tags_and_notes_have_their_marks(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("b")
        await on.until(lambda: row(on, 0) == "    0 b  ")
        await on.press("t")
        await on.until(lambda: on.app.focused is not None)
        box = on.app.focused
        assert isinstance(box, Input)
        box.value = " trains,Check again ,, "
        await on.press("enter")
        await on.until(lambda: row(on, 0) == "    0 bt ")
        assert "#Check again #trains" in on.page
        await on.press("i")
        await on.until(lambda: isinstance(on.app.screen, NoteScreen))
        on.app.screen.query_one(TextArea).text = "clear train detector\nsecond line"
        await on.press("escape")
        await on.until(lambda: row(on, 0) == "    0 b+ ")
        assert "#Check again #trains  clear train detector" in on.page
        await on.press("e")
        assert "clear train detector\n  second line" in on.page
        await on.press("e", "b", "t")
        await on.until(lambda: on.app.focused is not None)
        box = on.app.focused
        assert isinstance(box, Input)
        assert box.value == "Check again, trains"
        box.value = ""
        await on.press("enter")
        await on.until(lambda: row(on, 0) == "    0  n ")
    assert entry(scan, Neuron(0, 0)) == Entry(Neuron(0, 0), note="clear train detector\nsecond line")


async def test_a_tag_that_is_none_is_refused(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("t")
        await on.until(lambda: on.app.focused is not None)
        box = on.app.focused
        assert isinstance(box, Input)
        box.value = "x" * 65
        await on.press("enter")
        await on.until(lambda: "64" in on.notes)
        assert not path_of(scan).exists()


async def test_undo_and_redo_go_to_what_they_change_and_reach_across_sessions(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("1", "j", "j", "2")
        await on.until(lambda: row(on, 2)[5] == "✗")
    async with running(scan, start=Neuron(1, 0)) as on:
        await on.press("u")
        await on.until(lambda: on.neuron == Neuron(0, 2))
        await on.until(lambda: "undone: L0/N2 has no verdict" in on.notes)
        await on.press("u")
        await on.until(lambda: on.neuron == Neuron(0, 0) and row(on, 0)[5] == " ")
        await on.press("u")
        await on.until(lambda: "nothing to be undone" in on.notes)
        await on.press("ctrl+r", "ctrl+r")
        await on.until(lambda: row(on, 2)[5] == "✗")
        assert "done again: L0/N0 is keep" in on.notes


async def test_undo_without_a_notebook_makes_none(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("u")
        await on.until(lambda: "nothing to be undone" in on.notes)
    assert not path_of(scan).exists()


async def test_the_next_untriaged_neuron(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("1", "j", "1", "j", "j", "1", "g")
        await on.until(lambda: row(on, 3)[5] == "✓")
        await on.press("full_stop")
        assert on.neuron == Neuron(0, 2)
        await on.press("full_stop")
        assert on.neuron == Neuron(0, 4)
        await on.press("G", "full_stop")
        assert on.neuron == Neuron(0, 2)
        assert "From the list's beginning" in on.notes


async def test_every_neuron_of_a_list_may_be_decided(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("1")
        await on.until(lambda: row(on, 0)[5] == "✓")
        await on.type(":only keep")
        await on.until(lambda: len(on.scene.selection) == 1)
        await on.press("full_stop")
        await on.until(lambda: "Every neuron of this list has a verdict" in on.notes)


async def test_a_filter_by_verdict_follows_the_verdicts(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("f", "4")
        assert on.state.filter == Filter(verdict=Decided.NONE)
        assert len(on.scene.selection) == 32
        await on.press("1")
        await on.until(lambda: len(on.scene.selection) == 31)
        assert "not in this filter" in on.page
        await on.press("j")
        assert on.neuron == Neuron(0, 1)
        await on.press("f", "1", "f", "l")
        await on.until(lambda: len(on.scene.selection) == 1)
        assert on.neuron == Neuron(0, 0)
        await on.press("f", "a")
        await on.until(lambda: len(on.scene.selection) == 128)


async def test_ranges_of_layers_and_what_is_only_there(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":layers 1-2")
        await on.until(lambda: len(on.scene.selection) == 64)
        assert "L1-2 · 64 neurons" in on.screen
        await on.press("b")
        await on.type(":only bookmarked")
        await on.until(lambda: len(on.scene.selection) == 1)
        await on.type(":only all")
        await on.type(":layers this")
        await on.until(lambda: len(on.scene.selection) == 32)
        for line, says in (
            (":layers 3-1", "Write :layers 1-3"),
            (":layers x", "not a range"),
            (":only nothing", "untriaged"),
        ):
            await on.type(line)
            await on.until(lambda says=says: says in on.notes)  # type: ignore[misc]


async def test_notes_tags_and_explanations_are_searched(scan: Path) -> None:
    with notebook(scan) as kept:
        kept.set_note(Neuron(1, 4), "Fires on TRAINS, mostly")
        kept.set_tags(Neuron(2, 9), ["train yard"])
        kept.add_explanation(Neuron(3, 3), Explanation("a train at night", Source.USER, "2026-01-01T00:00:00+00:00"))
        kept.set_note(Neuron(3, 5), "boats")
    async with running(scan, start=Neuron(0, 1)) as on:
        await on.until(lambda: on.session.notebook_read)
        await on.type("/train")
        for expected in (Neuron(1, 4), Neuron(2, 9), Neuron(3, 3), Neuron(1, 4)):
            assert on.neuron == expected
            await on.press("n")
        await on.type("/train")
        assert on.neuron == Neuron(1, 4), "a fresh search starts at the strongest match"
        await on.press("N")
        assert on.neuron == Neuron(3, 3)
        await on.type('/tag:"Train Yard"')
        assert on.neuron == Neuron(2, 9)
        await on.type("/nowhere")
        await on.until(lambda: "or in its texts" in on.notes)


async def test_a_search_reads_the_notebook_once_and_follows_what_is_written(
    scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with notebook(scan) as kept:
        kept.set_note(Neuron(1, 4), "trains")
        kept.set_note(Neuron(2, 5), "boats")
    read = []
    texts = Notebook.texts

    def counted(self: Notebook, layers: int, neurons: int) -> FoldedTexts | None:
        read.append(1)
        return texts(self, layers, neurons)

    monkeypatch.setattr(Notebook, "texts", counted)
    async with running(scan, start=Neuron(0, 1)) as on:
        await on.until(lambda: on.session.notebook_read)
        for words, neuron in (("train", Neuron(1, 4)), ("boat", Neuron(2, 5)), ("train", Neuron(1, 4))):
            await on.type(f"/{words}")
            await on.until(lambda neuron=neuron: on.neuron == neuron)  # type: ignore[misc]
        await on.press("t")
        await on.press(*"harbour", "enter")
        await on.until(lambda: "#harbour" in on.page)
        await on.type(":2.5")
        await on.until(lambda: on.neuron == Neuron(2, 5))
        await on.type("/harbour")
        await on.until(lambda: on.neuron == Neuron(1, 4))
        assert len(read) == 1
        with notebook(scan) as other:
            other.set_note(Neuron(3, 6), "a lighthouse")
        on.browse.controllers.look()
        await on.until(lambda: on.scene.noted.bits_of(Neuron(3, 6)) > 0)
        await on.type("/lighthouse")
        await on.until(lambda: on.neuron == Neuron(3, 6))
        assert len(read) == 2


async def test_more_texts_than_are_kept_are_found(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with notebook(scan) as kept:
        kept.set_note(Neuron(1, 4), "trains")
        kept.set_note(Neuron(2, 5), "more trains")
    monkeypatch.setattr(Notebook, "texts", lambda *_: None)
    async with running(scan, start=Neuron(0, 1)) as on:
        await on.until(lambda: on.session.notebook_read)
        await on.type("/train")
        for expected in (Neuron(1, 4), Neuron(2, 5), Neuron(1, 4)):
            assert on.neuron == expected
            await on.press("n")


async def test_a_session_goes_on_where_the_last_one_ended(scan: Path) -> None:
    labels = ScanStore(scan).stored_labels().label
    place = next(int(index) for index in np.flatnonzero(labels[2] == Label.TEXT) if index > 0)
    async with running(scan) as on:
        await on.type(f":2.{place}")
        await on.press("f", "t", "o", "x")
        await on.until(lambda: on.state.order is Order.MAXIMUM)
        assert on.neuron == Neuron(2, place)
        await on.pilot.press("q")
        await on.until(lambda: on.app._exit)
    async with running(scan) as on:
        await on.until(lambda: on.neuron == Neuron(2, place))
        assert on.state.filter == Filter(label=Label.TEXT)
        assert on.state.order is Order.MAXIMUM
    async with running(scan, start=Neuron(0, 3)) as on:
        await on.until(lambda: on.session.notebook_read)
        assert (on.neuron, on.state.filter) == (Neuron(0, 3), Filter())


async def test_a_place_that_cannot_be_read_is_the_beginning(scan: Path) -> None:
    with notebook(scan) as kept:
        from vlmscope.core.notebook.values import Resume

        kept.set_resume(Resume(Neuron(900, 900), '{"label": "sideways"}', "sideways"))
    async with running(scan) as on:
        await on.until(lambda: on.session.notebook_read)
        assert (on.neuron, on.state.filter, on.state.order) == (Neuron(0, 0), Filter(), Order.INDEX)


async def test_a_note_that_is_left_as_it_was_changes_nothing(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("i")
        await on.until(lambda: isinstance(on.app.screen, NoteScreen))
        await on.press("escape")
        await on.until(lambda: not isinstance(on.app.screen, NoteScreen))
        await on.press("i")
        on.app.screen.query_one(TextArea).text = "never mind"
        await on.press("ctrl+g")
        await on.until(lambda: not isinstance(on.app.screen, NoteScreen))
        await on.press("j")
    assert not path_of(scan).exists()


async def test_a_draft_outlives_the_program(scan: Path) -> None:
    draft = draft_of(scan)
    async with running(scan) as on:
        await on.press("i")
        on.app.screen.query_one(TextArea).text = "half a thought"
        await on.until(draft.exists)
    assert draft.read_text() == "half a thought"
    async with running(scan) as on:
        await on.press("i")
        await on.until(lambda: isinstance(on.app.screen, NoteScreen))
        assert on.app.screen.query_one(TextArea).text == "half a thought"
        await on.press("escape")
        await on.until(lambda: "half a thought" in on.page)
        await on.until(lambda: not draft.exists())
    assert entry(scan, Neuron(0, 0)).note == "half a thought"


async def test_what_was_typed_when_the_program_ended_comes_back(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("t", *"xyzzy")
        await on.browse.keep_typed()
    async with running(scan) as on:
        await on.press("colon", *"words blue")
        await on.browse.keep_typed()
        await on.press("escape", "colon", *"words cat")
        await on.browse.keep_typed()
    async with running(scan) as on:
        await on.press("j", "t")
        assert "xyzzy" not in on.screen, "tags of another neuron"
        await on.press("escape", "k", "t")
        await on.until(lambda: "Tags that were typed and never entered are back." in on.notes)
        await on.press("enter")
        await on.until(lambda: entry(scan, Neuron(0, 0)).tags == ("xyzzy",))
        await on.press("colon")
        assert "↑ brings back" in on.notes
        await on.press("up")
        assert "words cat" in on.screen
        await on.press("escape", "t")
        assert not list(Drafts(read_manifest(scan).scan_id).folder.iterdir())


async def test_a_note_that_cannot_be_saved_stays_as_a_draft(scan: Path) -> None:
    with notebook(scan) as kept:
        kept.set_bookmark(Neuron(0, 0), True)
        async with running(scan) as on:
            await on.press("i")
            on.app.screen.query_one(TextArea).text = "kept all the same"
            await on.until(draft_of(scan).exists)
            path_of(scan).write_bytes(b"no database " * 1000)
            await on.press("escape")
            await on.until(lambda: "What you wrote is kept in" in on.notes)
    assert draft_of(scan).read_text() == "kept all the same"


async def test_a_very_long_note_is_for_an_editor(scan: Path) -> None:
    with notebook(scan) as kept:
        kept.set_note(Neuron(0, 0), "long " * 800_000)
    async with running(scan) as on:
        await on.press("i")
        await on.until(lambda: "I opens an editor" in on.notes)
        assert "noted     long long" in on.page
        await on.press("e")
        assert "noted" in on.page


async def test_without_a_terminal_there_is_no_editor(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "true")
    async with running(scan) as on:
        await on.press("I")
        await on.until(lambda: "cannot be lent to an editor" in on.notes)
    assert not list(data_folder().rglob("*.md"))


async def test_a_burst_of_keys_keeps_its_order(scan: Path) -> None:
    async with running(scan) as on:
        await burst(on, "i", *"12 ok", "escape", "j", "1", "j", "t", *"ab", "ctrl+u", *"cd", "enter", "j", "2")
        await on.until(lambda: row(on, 3)[5] == "✗")
        await on.until(lambda: row(on, 2)[7] == "t")
    with notebook(scan) as kept:
        assert kept.entry(Neuron(0, 0)).note == "12 ok"
        assert kept.entry(Neuron(0, 1)).verdict is Verdict.KEEP
        assert kept.entry(Neuron(0, 2)).tags == ("cd",)
        assert kept.entry(Neuron(0, 3)).verdict is Verdict.REJECT


async def test_keys_are_letters_while_a_line_is_typed(scan: Path) -> None:
    async with running(scan) as on:
        await burst(on, "slash", "q", "1", "j", "E", "escape")
        await on.press("colon")
        await burst(on, "q", "1", "x")
        box = on.app.focused
        assert isinstance(box, Input)
        await on.until(lambda: box.value == "q1x")
        await on.press("escape")
        assert on.app.is_running
        assert on.neuron == Neuron(0, 0)
    assert not path_of(scan).exists()


async def test_hostile_words_cannot_break_the_screen(scan: Path) -> None:
    bad = "[/bold]\x1b[31m\u202egnp.exe\x00 <b>&amp;</b> $x$ | a\n# head"
    with notebook(scan) as kept:
        kept.set_note(Neuron(0, 0), bad)
    async with running(scan) as on:
        await on.until(lambda: "[/bold]" in on.page)
        assert not set("\x1b\u202e\x00") & set(on.page)
        await on.press("e")
        assert not set("\x1b\u202e\x00") & set(on.page)
        await on.press("i")
        await on.until(lambda: isinstance(on.app.screen, NoteScreen))
        await on.press("escape")
        await on.pilot.pause()
    assert entry(scan, Neuron(0, 0)).note == bad


async def test_an_edited_note_is_kept_without_control_characters(scan: Path) -> None:
    with notebook(scan) as kept:
        kept.set_note(Neuron(0, 0), "red\x1b]52;c;UFdO\x07\ttab\nבית\u200f")
    async with running(scan) as on:
        await on.press("i")
        await on.until(lambda: isinstance(on.app.screen, NoteScreen))
        assert "red ]52;c;UFdO " in on.screen
        await on.press("!", "escape")
        await on.until(lambda: "בית!" in on.page.replace(" ", ""))
    assert entry(scan, Neuron(0, 0)).note == "red ]52;c;UFdO \ttab\nבית\u200f!"


async def test_tags_of_a_stranger_are_typed_over_as_text(scan: Path) -> None:
    with notebook(scan) as kept:
        kept.set_tags(Neuron(0, 0), ["swapped"])
        db = sqlite3.connect(kept.path)
        db.execute("UPDATE tags SET tag = ?", ("a\x1b]52;c;UFdO\x07b",))
        db.commit()
        db.close()
    async with running(scan) as on:
        await on.until(lambda: "#a ]52;c;UFdO b" in on.page)
        await on.press("t")
        assert "a ]52;c;UFdO b" in on.screen
        await on.press("comma", "c", "enter")
        await on.until(lambda: entry(scan, Neuron(0, 0)).tags == ("a ]52;c;UFdO b", "c"))


async def test_a_notebook_found_beside_the_scan_is_named(scan_copy: Path) -> None:
    with notebook(scan_copy) as kept:
        kept.set_note(Neuron(0, 0), "a note")
        beside = kept.path.rename(scan_copy.with_name(f"{scan_copy.name}.notebook.sqlite"))
    async with running(scan_copy) as on:
        await on.until(lambda: f"The notebook beside the scan is used: {beside}." in on.notes)
    async with running(scan_copy, config=Config(notebooks="beside")) as on:
        await on.until(lambda: "a note" in on.page)
        assert "beside" not in on.notes


async def test_copying_as_markdown(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("1")
        await on.until(lambda: row(on, 0)[5] == "✓")
        await on.press("Y")
        await on.until(lambda: "as Markdown" in on.notes)
        text = on.app.clipboard
        assert text.startswith("## L0/N0")
        assert "verdict: keep" in text
        assert "![" not in text


async def test_exporting_what_is_kept(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    async with running(scan) as on:
        await on.press("x", "enter")
        await on.until(lambda: "No neuron is kept" in on.notes)
        await on.press("1", "j", "j", "2", "j", "1")
        await on.until(lambda: row(on, 3)[5] == "✓")
        for _ in range(2):
            await on.press("x")
            box = on.app.focused
            assert isinstance(box, Input)
            assert box.value == "vlmscope-report"
            box.value = str(out)
            await on.press("enter")
            await on.until(lambda: "2 neurons are in" in on.notes)
        await on.until(lambda: "exists already" in on.notes)
    text = (out / "report.md").read_text()
    assert "## L0/N0" in text
    assert "## L0/N3" in text
    assert "## L0/N2" not in text


async def test_a_folder_that_cannot_be_made_is_told_at_the_first_verdict(scan: Path, tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("a file")
    async with running(scan, config=Config(notebooks=str(tmp_path / "in the way" / "notebooks"))) as on:
        assert on.notes == ""
        await on.press("1")
        await on.until(lambda: "notebook" in on.notes)
        assert row(on, 0)[5] == " "
        assert "no notebook: " in on.page


async def test_a_colleagues_notes_stand_beside_and_are_taken_back(scan: Path) -> None:
    hers = {
        Neuron(0, 0): Review("Ana", Verdict.REJECT, "roads\nand rails"),
        Neuron(0, 1): Review("Ana", Verdict.KEEP, tags=("car",)),
    }
    with notebook(scan) as kept:
        kept.set_verdict(Neuron(0, 0), Verdict.KEEP)
        kept.take_in("Ana", hers, "ana.sqlite")
    async with running(scan) as on:
        await on.until(lambda: "noted     ✓ keep" in on.page and "Ana       ✗ reject  roads" in on.page)
        await on.press("e")
        await on.until(lambda: "Ana       ✗ reject" in on.page and "roads\n  and rails" in on.page)
        await on.press("e", "j")  # a neuron that has no mark of one's own
        await on.until(lambda: "Ana       ✓ keep  #car" in on.page)
        await on.press("u")
        await on.until(lambda: "the notes of Ana are gone" in on.notes)
        await on.until(lambda: "noted     ✓ keep" in on.page and "Ana" not in on.page)
        await on.press("j")
        await on.until(lambda: on.session.state.neuron == Neuron(0, 1) and "Ana" not in on.page)
    assert entry(scan, Neuron(0, 0)).verdict is Verdict.KEEP
