"""Another person's verdicts and notes beside one's own: nothing is overwritten, and all of it can be undone."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from tests.core.notebook.test_file import VERSION_1
from vlmscope.core.base.errors import NotebookError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Change, Kind, Review, Verdict

SCAN = "ab" * 32
A, B, C = Neuron(0, 1), Neuron(2, 3), Neuron(2, 4)
ANA = {
    A: Review("Ana", Verdict.REJECT, "no \udc80 train\n\x1b[31m", ("car", "Ärger"), True),
    B: Review("Ana", None, "", (), True),
}


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook.open(tmp_path / "mine.sqlite", SCAN)


def test_both_are_kept_side_by_side(notebook: Notebook) -> None:
    notebook.set_verdict(A, Verdict.KEEP)
    notebook.set_note(A, "a train")
    assert notebook.take_in("Ana", ANA, "ana.sqlite") == 2
    entry = notebook.entry(A)
    assert (entry.verdict, entry.note, entry.tags, entry.reviews) == (Verdict.KEEP, "a train", (), (ANA[A],))
    assert notebook.entry(B).reviews == (ANA[B],) and notebook.entry(C).reviews == ()
    assert notebook.reviews("Ana") == ANA and notebook.reviewed_neurons() == {A, B}
    assert notebook.own_reviews("me") == {A: Review("me", Verdict.KEEP, "a train")}
    assert set(notebook.marks()) == {A}  # a mark is one's own
    (one,) = notebook.colleagues()
    assert (one.person, one.source) == ("Ana", "ana.sqlite") and one.created.startswith("20")


def test_undo_and_redo_take_all_of_it(notebook: Notebook) -> None:
    notebook.set_verdict(A, Verdict.KEEP)
    notebook.take_in("Ana", ANA, "x")
    assert notebook.undo() == Change(A, Kind.COLLEAGUE, "Ana", None)
    assert notebook.colleagues() == () and notebook.entry(A).reviews == () and notebook.reviewed_neurons() == set()
    assert notebook.entry(A).verdict is Verdict.KEEP
    assert notebook.redo() == Change(A, Kind.COLLEAGUE, None, "Ana")
    assert notebook.reviews("Ana") == ANA


def test_newer_notes_of_a_person_come_in_the_place_of_older_ones_until_undone(notebook: Notebook) -> None:
    notebook.take_in("Ana", ANA, "x")
    assert notebook.take_in("Ana", ANA, "x") is None  # nothing new
    newer = {C: Review("Ana", Verdict.KEEP)}
    assert notebook.take_in(" Ana ", newer, "y") == 1
    notebook.take_in("Bo", {C: Review("", Verdict.UNSURE)}, "z")
    assert notebook.reviews("Ana") == newer
    assert [one.person for one in notebook.entry(C).reviews] == ["Ana", "Bo"]
    assert [one.person for one in notebook.colleagues()] == ["Ana", "Bo"]
    notebook.undo()
    notebook.undo()
    assert notebook.reviews("Ana") == ANA and notebook.reviews("Bo") == {}


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\nb", "\udc80"])
def test_names_that_cannot_be_kept(notebook: Notebook, name: str) -> None:
    with pytest.raises(UsageError):
        notebook.take_in(name, ANA, "x")
    assert notebook.colleagues() == () and notebook.undo() is None


def test_nothing_is_no_notes(notebook: Notebook) -> None:
    with pytest.raises(UsageError, match="nothing to take in"):
        notebook.take_in("Ana", {}, "x")


def test_a_copy_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(VERSION_1)
        db.execute("UPDATE meta SET value = ? WHERE key = 'scan_id'", (SCAN,))
        db.execute("INSERT INTO neurons (layer, idx, verdict) VALUES (0, 1, 'keep')")
    db.close()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.chmod(0o444)
    with Notebook.open_copy(path, SCAN) as copy:
        assert copy.own_reviews("Ana")[A].verdict is Verdict.KEEP
        copy.set_verdict(B, Verdict.REJECT)  # in memory alone
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [one.name for one in tmp_path.iterdir()] == ["old.sqlite"]


def test_what_is_no_notebook_is_named(tmp_path: Path) -> None:
    Notebook.open(tmp_path / "other.sqlite", "another").close()
    (tmp_path / "text.sqlite").write_text("hello" * 100)
    (tmp_path / "empty.sqlite").touch()
    cases = {
        ".": "it is a folder",
        "none.sqlite": "it is not there",
        "other.sqlite": "the notebook of another scan",
        "text.sqlite": "not an SQLite database",
        "empty.sqlite": "not a notebook",
    }
    for name, words in cases.items():
        with pytest.raises(NotebookError) as caught:
            Notebook.open_copy(tmp_path / name, SCAN)
        assert words in caught.value.message, name
    assert (tmp_path / "empty.sqlite").stat().st_size == 0 and not (tmp_path / "none.sqlite").exists()
