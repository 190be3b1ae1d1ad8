"""The notebook's file: older and newer versions, damage, locks, a full disk, places that may not be written."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.checks import check
from tests.support.notebook_model import DATE, NEURONS, SCAN, by_api, failed
from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.file import APPLICATION_ID, STEPS, VERSION
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Change, Entry, Kind, Review, Verdict

A, B, C = NEURONS

# As version 1 wrote it: a file of that time, not derived from what the code says today.
VERSION_1 = f"""
PRAGMA application_id = {0x766C6D73};
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, layer INTEGER NOT NULL,
    idx INTEGER NOT NULL, kind TEXT NOT NULL, before NOT NULL, after NOT NULL, undoable INTEGER NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0);
CREATE INDEX events_to_undo ON events (undone, id) WHERE undoable;
CREATE TABLE explanations (id INTEGER PRIMARY KEY REFERENCES events (id), layer INTEGER NOT NULL,
    idx INTEGER NOT NULL, source TEXT NOT NULL, model NOT NULL, prompt_version NOT NULL, created NOT NULL,
    text NOT NULL, details NOT NULL, removed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX explanations_by_neuron ON explanations (layer, idx, removed);
CREATE TABLE neurons (layer INTEGER NOT NULL, idx INTEGER NOT NULL,
    verdict TEXT CHECK (verdict IN ('keep', 'reject', 'unsure')), bookmark INTEGER NOT NULL DEFAULT 0,
    lead INTEGER REFERENCES explanations (id), note, PRIMARY KEY (layer, idx)) WITHOUT ROWID;
CREATE TABLE failures (id INTEGER PRIMARY KEY REFERENCES events (id), layer INTEGER NOT NULL, idx INTEGER NOT NULL,
    body NOT NULL);
CREATE INDEX failures_by_neuron ON failures (layer, idx);
CREATE TABLE scores (id INTEGER PRIMARY KEY REFERENCES events (id),
    explanation INTEGER NOT NULL REFERENCES explanations (id), backend NOT NULL, created NOT NULL, body NOT NULL);
CREATE INDEX scores_by_explanation ON scores (explanation);
INSERT INTO meta VALUES ('scan_id', '{SCAN}');
INSERT INTO events VALUES
    (1, '{DATE}', 0, 3, 'verdict', 'null', '"keep"', 1, 0),
    (2, '{DATE}', 0, 3, 'note', '""', '"old note"', 1, 0),
    (3, '{DATE}', 0, 3, 'explanation', 'null', '"cars 1"', 0, 0);
INSERT INTO neurons VALUES (0, 3, 'keep', 0, NULL, 'old note');
INSERT INTO explanations VALUES (3, 0, 3, 'api', 'gpt', 'explain-1', '{DATE}', 'cars 1', '{{"pattern_found": false,
    "visual_phrases": ["car", "wheel"], "text_cue": "car", "confidence": "medium", "samples": [1, 2, 3],
    "input_tokens": 900, "output_tokens": 40, "cost_usd": 0.0125}}', 0);
PRAGMA user_version = 1;
"""

# What version 2 added to it.
VERSION_2 = """
CREATE TABLE tags (layer INTEGER NOT NULL, idx INTEGER NOT NULL, folded TEXT NOT NULL, tag TEXT NOT NULL,
    PRIMARY KEY (layer, idx, folded)) WITHOUT ROWID;
INSERT INTO tags VALUES (0, 3, 'old', 'old');
PRAGMA user_version = 2;
"""

# What version 3 added to it.
VERSION_3 = """
CREATE TABLE checks (id INTEGER PRIMARY KEY REFERENCES events (id), layer INTEGER, idx INTEGER, body NOT NULL);
CREATE INDEX checks_by_neuron ON checks (layer, idx);
PRAGMA user_version = 3;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite"


def old_notebook(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    return path.read_bytes()


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {name for (name,) in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder, and the rights of somebody whom its modes bind: root may write everywhere."""
    folder = Path(tempfile.mkdtemp(prefix="vlmscope-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        os.seteuid(os.getuid())
        for inside in (folder, *folder.rglob("*")):
            inside.chmod(0o755)
        shutil.rmtree(folder)


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def test_the_file_says_what_it_is(path: Path) -> None:
    with Notebook.open(path, SCAN) as notebook:
        run = notebook._file.connection.execute
        pragmas = ("application_id", "user_version", "journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [run(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
        assert found == [APPLICATION_ID, VERSION, "delete", 2, 1, 5000]


def test_an_older_notebook_is_brought_up_to_date_and_a_copy_kept(path: Path) -> None:
    before = old_notebook(path)
    with Notebook.open(path, SCAN) as notebook:
        entry = notebook.entry(B)
        assert (entry.verdict, entry.note, entry.tags) == (Verdict.KEEP, "old note", ())
        assert entry.explanations[0].explanation.visual_phrases == ("car", "wheel")
        notebook.set_tags(B, ["new"])
        assert notebook.undo() == Change(B, Kind.TAGS, ("new",), ())
        assert notebook.undo() == Change(B, Kind.NOTE, "old note", "")
    copy = path.with_name("notes.sqlite.v1.bak")
    assert version_of(path) == VERSION
    assert version_of(copy) == 1
    assert len(copy.read_bytes()) == len(before)
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT note FROM neurons").fetchall() == [("old note",)]
    assert sorted(one.name for one in path.parent.iterdir()) == ["notes.sqlite", "notes.sqlite.v1.bak"]


def test_a_migrated_notebook_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    old_notebook(path)
    Notebook.open(path, SCAN).close()
    Notebook.open(tmp_path / "new.sqlite", SCAN).close()

    def names(file: Path) -> set[tuple[object, ...]]:
        with closing(sqlite3.connect(file)) as db:
            found = db.execute(
                "SELECT m.type, m.name, c.name, c.type, c.pk FROM sqlite_master m LEFT JOIN pragma_table_info(m.name) c"
            )
            return set(found)

    assert names(path) == names(tmp_path / "new.sqlite")


def test_a_notebook_of_version_2_takes_checks(path: Path) -> None:
    old_notebook(path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_2)
    with Notebook.open(path, SCAN) as notebook:
        entry = notebook.entry(B)
        assert (entry.verdict, entry.tags, entry.checks) == (Verdict.KEEP, ("old",), ())
        notebook.add_check(check(B))
        assert [saved.check for saved in notebook.entry(B).checks] == [check(B)]
    assert version_of(path) == VERSION
    assert version_of(path.with_name("notes.sqlite.v2.bak")) == 2


def test_a_notebook_of_version_3_takes_notes_of_colleagues(path: Path) -> None:
    old_notebook(path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_2 + VERSION_3)
    with Notebook.open(path, SCAN) as notebook:
        assert (notebook.entry(B).verdict, notebook.entry(B).reviews) == (Verdict.KEEP, ())
        notebook.take_in("Ana", {B: Review("Ana", Verdict.REJECT)}, "ana.sqlite")
        assert notebook.entry(B).reviews == (Review("Ana", Verdict.REJECT),)
    assert version_of(path) == VERSION
    assert version_of(path.with_name("notes.sqlite.v3.bak")) == 3


def test_no_migration_without_a_copy(path: Path) -> None:
    before = old_notebook(path)
    path.with_name("notes.sqlite.v1.bak").mkdir()  # in the way
    with pytest.raises(NotebookError, match=r"v1\.bak"):
        Notebook.open(path, SCAN)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_old_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old_notebook(path)
    monkeypatch.setattr(
        "vlmscope.core.notebook.file.STEPS", (STEPS[0], ("CREATE TABLE tags (layer)", "CREATE TABLE meta (key)"))
    )
    with pytest.raises(sqlite3.OperationalError, match="meta"):
        Notebook.open(path, SCAN)
    assert path.read_bytes() == before


def test_a_newer_notebook_is_refused_and_left_alone(path: Path) -> None:
    Notebook.open(path, SCAN).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(NotebookError, match="newer vlmscope") as caught:
        Notebook.open(path, SCAN)
    assert caught.value.hint == "Update vlmscope."
    assert path.read_bytes() == before


def test_another_scans_notebook_is_refused(path: Path) -> None:
    Notebook.open(path, SCAN).close()
    with pytest.raises(NotebookError, match="another scan"):
        Notebook.open(path, "other")


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE places (url)")
    before = path.read_bytes()
    with pytest.raises(NotebookError, match="not a notebook"):
        Notebook.open(path, SCAN)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_notebook(path: Path) -> None:
    path.touch()  # what is left of one that was killed while it made the file
    with Notebook.open(path, SCAN) as notebook:
        assert notebook.set_verdict(A, Verdict.KEEP) is not None


def test_a_text_file_is_refused(path: Path) -> None:
    path.write_text("my notes\n" * 1000)
    with pytest.raises(NotebookError, match="not an SQLite database") as caught:
        Notebook.open(path, SCAN)
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_notebook_is_refused(path: Path, damage: str) -> None:
    with Notebook.open(path, SCAN) as notebook:
        for index in range(40):
            notebook.set_note(Neuron(0, index), "n" * 3000)
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(whole[:half] if damage == "cut" else whole[:half] + b"\xff" * 9000 + whole[half + 9000 :])
    with pytest.raises(NotebookError, match="damaged") as caught:
        Notebook.open(path, SCAN)
    assert str(path) in caught.value.message
    assert "recover" in caught.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE explanations SET details = '{'",
        "UPDATE explanations SET details = '{}'",
        "UPDATE explanations SET details = '[1]'",
        "UPDATE explanations SET source = 'oracle'",
        "UPDATE explanations SET text = 5",
        "UPDATE explanations SET text = x'ff'",
        "UPDATE failures SET body = '{\"why\": 1}'",
        "UPDATE failures SET body = '5'",
        "UPDATE scores SET body = 'nan?'",
        "UPDATE neurons SET note = 5",
    ],
)
def test_a_record_that_vlmscope_did_not_write_is_told(path: Path, sql: str) -> None:
    with Notebook.open(path, SCAN) as notebook:
        notebook.set_note(A, "note")
        notebook.add_score(notebook.add_explanation(A, by_api(1)), "clip", {}, DATE)
        notebook.add_failure(A, failed(1))
        notebook._file.connection.execute(sql)
        with pytest.raises(NotebookError, match="damaged"):
            notebook.entry(A)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events SET kind = 'weather'",
        "UPDATE events SET after = 'null'",
        "UPDATE events SET before = '5'",
        "UPDATE events SET before = '['",
    ],
)
def test_an_event_that_vlmscope_did_not_write_is_told_and_not_undone(path: Path, sql: str) -> None:
    with Notebook.open(path, SCAN) as notebook:
        notebook.set_note(A, "note")
        notebook._file.connection.execute(sql)
        with pytest.raises(NotebookError, match="damaged"):
            notebook.undo()
        assert notebook.entry(A).note == "note"


def test_a_lock_that_lasts_is_told_and_nothing_is_written(path: Path) -> None:
    with Notebook.open(path, SCAN, timeout=0.05) as notebook, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotebookError, match="Another vlmscope holds") as caught:
            notebook.set_verdict(A, Verdict.KEEP)
        assert "Try again" in caught.value.hint
        assert notebook.entry(A) == Entry(A)  # reading goes on
        other.execute("COMMIT")
        other.execute("BEGIN EXCLUSIVE")
        for locked in (lambda: notebook.entry(A), lambda: Notebook.open(path, SCAN, timeout=0.05)):
            with pytest.raises(NotebookError, match="Another vlmscope holds"):
                locked()
        other.execute("COMMIT")
        assert notebook.set_verdict(A, Verdict.KEEP) is not None


def test_a_reader_that_does_not_end_stops_the_commit_whole(path: Path) -> None:
    with Notebook.open(path, SCAN, timeout=0.05) as notebook, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM meta").fetchall()
        with pytest.raises(NotebookError, match="Another vlmscope holds"):
            notebook.set_verdict(A, Verdict.KEEP)
        other.execute("COMMIT")
        assert notebook.entry(A) == Entry(A)
        assert notebook.undo() is None


def test_a_full_disk_leaves_nothing_half_written(path: Path) -> None:
    """With one page of room more each time: the disk is full at every point of the change, and then it fits."""
    with Notebook.open(path, SCAN) as notebook:
        notebook.set_note(A, "short")
        run = notebook._file.connection.execute
        pages = run("PRAGMA page_count").fetchone()[0]
        refused = 0
        for room in range(40):
            run(f"PRAGMA max_page_count = {pages + room}")
            try:
                notebook.set_note(A, "long " * 10_000)
            except NotebookError as error:
                assert "disk is full" in error.message
                refused += 1
            else:
                break
            assert notebook.entry(A).note == "short"
            assert run("SELECT after FROM events").fetchall() == [('"short"',)]
            assert run("PRAGMA integrity_check").fetchone() == ("ok",)
        assert 20 < refused < 39  # note and event have 13 pages each
        assert notebook.undo() == Change(A, Kind.NOTE, "long " * 10_000, "short")


def test_a_full_disk_keeps_what_it_took(path: Path) -> None:
    with Notebook.open(path, SCAN) as notebook:
        run = notebook._file.connection.execute
        run(f"PRAGMA max_page_count = {run('PRAGMA page_count').fetchone()[0] + 9}")
        kept = []
        with pytest.raises(NotebookError, match="disk is full"):
            for number in range(1000):
                kept.append(notebook.add_explanation(A, by_api(number)))  # noqa: PERF401  # the last one fails
        assert [one.id for one in notebook.explanations(A)] == kept[::-1]
        assert run("SELECT count(*) FROM events").fetchone()[0] == len(kept) > 10


def test_a_notebook_that_may_only_be_read_is_read() -> None:
    with unprivileged() as folder:
        path = folder / "notes.sqlite"
        with Notebook.open(path, SCAN) as notebook:
            notebook.set_verdict(A, Verdict.KEEP)
        path.chmod(0o444)
        folder.chmod(0o555)
        become_nobody()
        with Notebook.open(path, SCAN) as notebook:
            assert [mark.verdict for mark in notebook.marks().values()] == [Verdict.KEEP]
            assert not notebook.changed()
            with pytest.raises(NotebookError, match="may not be written") as caught:
                notebook.set_verdict(A, None)
            assert "`notebooks`" in caught.value.hint
            assert notebook.entry(A).verdict is Verdict.KEEP


def test_a_folder_that_takes_no_journal_is_told_at_the_first_change() -> None:
    with unprivileged() as folder:
        path = folder / "notes.sqlite"
        with Notebook.open(path, SCAN) as notebook:
            notebook.set_verdict(A, Verdict.KEEP)
        path.chmod(0o666)
        folder.chmod(0o555)
        become_nobody()
        with Notebook.open(path, SCAN) as notebook:
            with pytest.raises(NotebookError, match="not be written") as caught:
                notebook.set_verdict(A, None)
            assert "`notebooks`" in caught.value.hint
            assert notebook.entry(A).verdict is Verdict.KEEP


@pytest.mark.parametrize("inside", ["notes.sqlite", "notebooks/notes.sqlite"])
def test_a_folder_that_may_not_be_written_is_named(inside: str) -> None:
    with unprivileged() as folder:
        folder.chmod(0o555)
        become_nobody()
        with pytest.raises(NotebookError, match="made") as caught:
            Notebook.open(folder / inside, SCAN)
        assert str((folder / inside).parent) in caught.value.message
        assert "`notebooks`" in caught.value.hint


def test_a_file_in_the_way_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotebookError, match="file"):
        Notebook.open(tmp_path / "file" / "notes.sqlite", SCAN)
    with pytest.raises(NotebookError, match="cannot be opened"):
        Notebook.open(tmp_path, SCAN)
