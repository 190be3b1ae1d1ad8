"""Notebooks from elsewhere: each kind of damage is a message, within two seconds."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checks import check
from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook import file
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation, Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Resume, Verdict

SCAN, NEURON = "a1b2", Neuron(1, 2)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "notes.sqlite"
    with Notebook.open(path, SCAN) as notebook:
        notebook.set_verdict(NEURON, Verdict.KEEP)
        notebook.set_note(NEURON, "a note")
        notebook.set_tags(NEURON, ["red", "blue"])
        notebook.set_resume(Resume(NEURON))
        found = notebook.add_explanation(NEURON, Explanation("trains", Source.API, "2026-01-01T00:00:00+00:00"))
        notebook.add_score(found, "lens", {"pooled": 0.5}, "2026-01-01T00:00:00+00:00")
        notebook.add_failure(Neuron(3, 4), FailedExplanation("refused", True, "m", "2026-01-01T00:00:00+00:00"))
        notebook.add_check(check(NEURON))
        notebook.add_check(check(NEURON, Neuron(2, 0), name="kept"))
        notebook.set_bookmark(NEURON, True)
    return path


def read_all(path: Path) -> None:
    """Read all that a page, a list and a search read, and undo."""
    with Notebook.open(path, SCAN) as notebook:
        for neuron in notebook.marks():
            notebook.entry(neuron)
        notebook.checked_neurons()
        notebook.newest_checks()
        notebook.set_checks()
        notebook.mark_bits(4, 4)
        notebook.texts(4, 4)
        notebook.with_text("a", 4, 4)
        notebook.resume()
        assert notebook.undo() is not None


def sql(*statements: str) -> Callable[[Path], object]:
    """Run statements that no check of the schema stops."""

    def damage(path: Path) -> None:
        db = sqlite3.connect(path)
        db.execute("PRAGMA writable_schema = ON")
        db.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            db.execute(statement)
        db.commit()
        db.close()

    return damage


def in_check(old: str, new: str) -> Callable[[Path], object]:
    """Replace a part of the body of checks, which must be there."""
    made = sql(f"UPDATE checks SET body = replace(body, '{old}', '{new}')")

    def damage(path: Path) -> None:
        assert old.encode() in path.read_bytes()
        made(path)

    return damage


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def as_view(table: str, columns: str) -> Callable[[Path], object]:
    return sql(f"DROP TABLE {table}", f"CREATE VIEW {table} AS {ENDLESS} {columns} FROM n")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a view of tags": as_view("tags", "i AS layer, i AS idx, 'a' AS folded, 'a' AS tag"),
    "a view of meta": as_view("meta", "'scan_id' AS key, i AS value"),
    "a view of neurons": as_view(
        "neurons", "i AS layer, i AS idx, 'keep' AS verdict, 0 AS bookmark, 0 AS lead, '' AS note"
    ),
    "a view beside": sql(f"CREATE VIEW more AS {ENDLESS} i FROM n"),
    "a trigger": sql("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM neurons; END"),
    "a table beside": sql("CREATE TABLE more (x)"),
    "an index on an expression": sql("CREATE INDEX more ON tags (hex(tag))"),
    "a column beside": sql("ALTER TABLE tags ADD COLUMN more DEFAULT 1"),
    "a generated column": sql("ALTER TABLE tags ADD COLUMN more AS (hex(zeroblob(1000000000)))"),
    "a table less": sql("DROP TABLE tags"),
    "no checks": sql("DROP TABLE checks"),
    "a column less": sql("ALTER TABLE scores DROP COLUMN created"),
    "a malformed schema": sql("UPDATE sqlite_master SET sql = 'CREATE nothing' WHERE name = 'tags'"),
    "tables of a newer version": sql("PRAGMA user_version = 1"),
    "a version above ours": sql("PRAGMA user_version = 99"),
    "another application": sql("PRAGMA application_id = 7"),
    "layer a text": sql("UPDATE neurons SET layer = 'x'"),
    "layer a float": sql("UPDATE tags SET layer = 1.5"),
    "layer negative": sql("UPDATE explanations SET layer = -1"),
    "index 1<<40": sql("UPDATE neurons SET idx = 1 << 40"),
    "bookmark a text": sql("UPDATE neurons SET bookmark = 'x'"),
    "bookmark a float": sql("UPDATE neurons SET bookmark = 1e300"),
    "verdict another": sql("UPDATE neurons SET verdict = 'perhaps'"),
    "verdict a blob": sql("UPDATE neurons SET verdict = x'00'"),
    "note a number": sql("UPDATE neurons SET note = 5"),
    "note not UTF-8": sql("UPDATE neurons SET note = x'ff'"),
    "note a text that is not UTF-8": sql("UPDATE neurons SET note = CAST(x'ff' AS TEXT)"),
    "tag a blob": sql("UPDATE tags SET tag = x'00' WHERE tag = 'red'"),
    "lead a text": sql("UPDATE neurons SET lead = 'x'"),
    "explanation of a number": sql("UPDATE explanations SET text = 7"),
    "source another": sql("UPDATE explanations SET source = 'nobody'"),
    "details a list": sql("UPDATE explanations SET details = '[1]'"),
    "details nested": sql(f"UPDATE explanations SET details = '{'[' * 200_000}'"),
    "details of many": sql(f"UPDATE explanations SET details = '[{'[],' * 3_000_000}[]]'"),
    "details wrong": sql("UPDATE explanations SET details = replace(details, '0', '\"x\"')"),
    "removed a text": sql("UPDATE explanations SET removed = 'x'"),
    "failure a number": sql("UPDATE failures SET body = '5'"),
    "score null": sql("UPDATE scores SET body = 'null'"),
    "score a list": sql("UPDATE scores SET body = '[1]'"),
    "score a blob": sql("UPDATE scores SET body = x'ff'"),
    "check a list": sql("UPDATE checks SET body = '[1]'"),
    "check without fields": sql("UPDATE checks SET body = '{}'"),
    "check of infinity": in_check('"effect": -2.957', '"effect": -1e999'),
    "check of a share above 1": in_check('"p": 0.05', '"p": 1.5'),
    "check of another intervention": in_check("zero", "one"),
    "check of p without an effect": in_check('"effect": -2.957', '"effect": null'),
    "check of no neuron": in_check("L1/N2", "here"),
    "check of another neuron": sql("UPDATE checks SET layer = 2 WHERE layer IS NOT NULL"),
    "check of a set in a neuron's row": sql("UPDATE checks SET layer = 1, idx = 2"),
    "check of a neuron as a set": sql("UPDATE checks SET layer = NULL, idx = NULL"),
    "check with half an address": sql("UPDATE checks SET idx = NULL"),
    "check far away": sql("UPDATE checks SET layer = 1 << 40"),
    "event of another kind": sql("UPDATE events SET kind = 'wish'"),
    "event of a number": sql("UPDATE events SET before = 5"),
    "event of another type": sql("UPDATE events SET after = '\"x\"', undoable = 1"),
    "event of nested lists": sql(f"UPDATE events SET after = '{'[' * 200_000}'"),
    "event far away": sql("UPDATE events SET layer = 1 << 40"),
    "resume a number": sql("UPDATE meta SET value = 5 WHERE key = 'resume'"),
    "resume of numbers": sql(
        'UPDATE meta SET value = \'{"neuron": 1, "filter": 2, "order": 3}\' WHERE key = \'resume\''
    ),
    "resume of lists": sql(
        'UPDATE meta SET value = \'{"neuron": "L1/N2", "filter": [], "order": {}}\' WHERE key = \'resume\''
    ),
    "a row of 100 MB": sql("UPDATE neurons SET note = zeroblob(100000000)"),
    "a pipe": replaced(os.mkfifo),
    "a device": replaced(lambda path: path.symlink_to("/dev/zero")),
    "a folder": replaced(Path.mkdir),
    "not a database": lambda path: path.write_bytes(b"x" * 5000),
    "cut": lambda path: os.truncate(path, 5000),
    "zeros": lambda path: path.write_bytes(path.read_bytes()[:4096] + bytes(len(path.read_bytes()) - 4096)),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_a_message(path: Path, kind: str) -> None:
    DAMAGES[kind](path)
    begun = time.monotonic()
    with pytest.raises(NotebookError) as caught:
        read_all(path)
    assert time.monotonic() - begun < 2
    assert str(path) in caught.value.message
    assert len(caught.value.message) < 2000
    assert caught.value.hint


def test_an_undamaged_notebook_is_read(path: Path) -> None:
    read_all(path)


def test_a_statement_that_takes_too_long_is_stopped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "STATEMENT_SECONDS", 0.2)
    with Notebook.open(path, SCAN) as notebook:
        begun = time.monotonic()
        endless = f"{ENDLESS} count(*) FROM n"  # no query of ours is slow enough
        with (
            pytest.raises(NotebookError, match=r"takes too long to read: more than 0\.2 s"),
            notebook._file.reading() as db,
        ):
            db.execute(endless).fetchone()
        assert time.monotonic() - begun < 2
        assert notebook.entry(NEURON).note == "a note"
