"""The notebook's changes: each is made together with its event, in one transaction of the caller, and can be undone."""

import sqlite3
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any

from vlmscope.core.base.clock import now
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.notebook.codec import BadRecord, from_json, packed, to_json, unpacked, verdict_from
from vlmscope.core.notebook.values import Change, Decision, Kind, Value

TAG_LIMIT = 64  #: characters
NOTE_LIMIT = 4 * 1024 * 1024  #: characters

# Columns of ``neurons`` by kind: how to read, and how to write.
_COLUMN = {
    kind: (
        f"SELECT {kind} FROM neurons WHERE layer = ? AND idx = ?",  # noqa: S608  # our own names
        f"INSERT INTO neurons (layer, idx, {kind}) VALUES (?, ?, ?)"  # noqa: S608
        f" ON CONFLICT (layer, idx) DO UPDATE SET {kind} = excluded.{kind}",
    )
    for kind in (Kind.VERDICT, Kind.NOTE, Kind.BOOKMARK, Kind.LEAD)
}

# What an event of these kinds added: how to read, and how to take out or put back.
_ADDED = {
    Kind.OWN_EXPLANATION: (
        "SELECT text FROM explanations WHERE id = ? AND NOT removed",
        "UPDATE explanations SET removed = ? WHERE id = ?",
    ),
    Kind.COLLEAGUE: (
        "SELECT person FROM merges WHERE id = ? AND NOT removed",
        "UPDATE merges SET removed = ? WHERE id = ?",
    ),
}


_UNDOABLE, _WITH_PREVIOUS = 1, 2  # of ``events.undoable``: alone, or together with the one before it


def change(db: sqlite3.Connection, neuron: Neuron, kind: Kind, after: Value) -> Change | None:
    """Set a value and record it; None if it was so already."""
    done = change_all(db, [(neuron, after)], kind).changes
    return done[0] if done else None


def change_all(db: sqlite3.Connection, wanted: Iterable[tuple[Neuron, Value]], kind: Kind) -> Decision:
    """Set the values of neurons and record them, as one step of undo; those that are so already stay out."""
    redoable = tuple(event for (event,) in db.execute("SELECT id FROM events WHERE undoable AND undone = 1"))
    changes: list[Change] = []
    events: list[int] = []
    for neuron, after in wanted:
        before = _current(db, neuron, kind, 0)
        if before != after:
            _put(db, neuron, kind, 0, after)
            events.append(record(db, neuron, kind, before, after, with_previous=bool(events)))
            changes.append(Change(neuron, kind, before, after))
    return Decision(tuple(changes), tuple(events), redoable)


def withdraw(db: sqlite3.Connection, decision: Decision) -> tuple[Change, ...]:
    """Make it as if ``decision`` had not been: no event of it is left, and what could be redone before can be again.

    Returns:
        what was changed back; nothing where a change that can be undone came after it.
    """
    newest = db.execute("SELECT max(id) FROM events WHERE undoable").fetchone()[0]
    if not decision.events or newest != decision.events[-1]:
        return ()
    back: list[Change] = []
    for event, done in zip(decision.events, decision.changes, strict=True):
        if _current(db, done.neuron, done.kind, event) == done.after:
            _put(db, done.neuron, done.kind, event, done.before)
            back.append(Change(done.neuron, done.kind, done.after, done.before))
        db.execute("DELETE FROM events WHERE id = ?", (event,))
    db.executemany("UPDATE events SET undone = 1 WHERE id = ?", [(event,) for event in decision.redoable])
    return tuple(back)


def record(
    db: sqlite3.Connection, neuron: Neuron, kind: Kind, before: Value, after: Value, *, with_previous: bool = False
) -> int:
    """Append an event and return its id. One that can be undone ends the redo of what was undone before it.

    Args:
        with_previous: it is undone and redone together with the event before it.
    """
    if kind.undoable:
        db.execute("UPDATE events SET undone = 2 WHERE undoable AND undone = 1")
    undoable = 0 if not kind.undoable else _WITH_PREVIOUS if with_previous else _UNDOABLE
    values = (now(), neuron.layer, neuron.index, kind, to_json(before), to_json(after), undoable)
    # No RETURNING: clusters of today have an SQLite of 2018.
    db.execute(
        "INSERT INTO events (at, layer, idx, kind, before, after, undoable) VALUES (?, ?, ?, ?, ?, ?, ?)", values
    )
    return int(db.execute("SELECT last_insert_rowid()").fetchone()[0])


_COLUMNS = "SELECT id, undoable, layer, idx, kind"
_NEWEST = f"{_COLUMNS}, after, before FROM events WHERE undoable AND undone = 0 ORDER BY id DESC LIMIT 1"
_LAST_UNDONE = f"{_COLUMNS}, before, after FROM events WHERE undoable AND undone = 1 ORDER BY id LIMIT 1"


def step(db: sqlite3.Connection, *, back: bool, poled: bool = False) -> list[tuple[Change, bool]]:
    """Undo the newest change, or redo the last one that was undone, with those that were made together with it.

    False beside a change: it cannot be made, since the neuron is not as the event left it; the event is skipped from
    then on.
    """
    done: list[tuple[Change, bool]] = []
    while (row := db.execute(_NEWEST if back else _LAST_UNDONE).fetchone()) is not None:
        together = row[1] == _WITH_PREVIOUS
        if not back and done and not together:
            break  # the first one after what was made together
        done.append(_step_one(db, row, back=back, poled=poled))
        if back and not together:
            break
    return done


def _step_one(db: sqlite3.Connection, row: tuple[Any, ...], *, back: bool, poled: bool) -> tuple[Change, bool]:
    event, _, layer, index, kind_name, there_json, wanted_json = row
    if kind_name not in list(Kind):
        raise BadRecord(f"there is an event of kind {kind_name!r:.80}")
    neuron, kind = Neuron(layer, index, poled), Kind(kind_name)
    there, wanted = _value(kind, there_json), _value(kind, wanted_json)
    fits = _current(db, neuron, kind, event) == there
    if fits:
        _put(db, neuron, kind, event, wanted)
    # One that does not fit must not block the others for ever.
    db.execute("UPDATE events SET undone = ? WHERE id = ?", (int(back) if fits else 2, event))
    return Change(neuron, kind, there, wanted), fits


def _current(db: sqlite3.Connection, neuron: Neuron, kind: Kind, event: int) -> Value:
    if kind is Kind.TAGS:
        return tags(db, neuron)
    if kind in _ADDED:
        row = db.execute(_ADDED[kind][0], (event,)).fetchone()
        return unpacked(row[0]) if row else None
    row = db.execute(_COLUMN[kind][0], (neuron.layer, neuron.index)).fetchone()
    value = row[0] if row else None
    if kind is Kind.VERDICT:
        return verdict_from(value)
    if kind is Kind.NOTE:
        return "" if value is None else unpacked(value)
    if kind is Kind.BOOKMARK:
        return bool(value)
    return None if value is None else int(value)


def _put(db: sqlite3.Connection, neuron: Neuron, kind: Kind, event: int, value: Value) -> None:
    where = (neuron.layer, neuron.index)
    if kind is Kind.TAGS:
        assert isinstance(value, tuple)
        db.execute("DELETE FROM tags WHERE layer = ? AND idx = ?", where)
        db.executemany("INSERT INTO tags VALUES (?, ?, ?, ?)", [(*where, folded(tag), tag) for tag in value])
    elif kind in _ADDED:
        db.execute(_ADDED[kind][1], (value is None, event))
    elif kind is Kind.NOTE:
        assert isinstance(value, str)
        db.execute(_COLUMN[kind][1], (*where, packed(value) if value else None))
    else:
        db.execute(_COLUMN[kind][1], (*where, value))


def _value(kind: Kind, stored: object) -> Value:
    """A ``before`` or ``after`` as it was given to ``record``."""
    match kind, from_json(stored):
        case Kind.VERDICT, value:
            return verdict_from(value)
        case Kind.TAGS, list() as given:
            return tuple(str(tag) for tag in given)
        case (Kind.NOTE, str() as value) | (Kind.BOOKMARK, bool() as value):
            return value
        case (
            (Kind.LEAD, None | int() as value)
            | (Kind.OWN_EXPLANATION, None | str() as value)
            | (Kind.COLLEAGUE, None | str() as value)
        ):
            return value
        case _, value:
            raise BadRecord(f"an event of kind {kind} holds {value!r:.80}")


def tags(db: sqlite3.Connection, neuron: Neuron) -> tuple[str, ...]:
    """A neuron's tags, sorted without regard to case."""
    query = "SELECT tag FROM tags WHERE layer = ? AND idx = ? ORDER BY folded"
    return tuple(tag for (tag,) in db.execute(query, (neuron.layer, neuron.index)))


def folded(tag: str) -> str:
    """What two spellings of one tag have in common."""
    return unicodedata.normalize("NFC", tag.casefold())


def clean_tags(given: Collection[str]) -> tuple[str, ...]:
    """Tags as they are kept: stripped, none empty, one spelling of each (capitals first), sorted ignoring case.

    Raises:
        UsageError: if a tag is too long, or holds control characters or lone surrogates.
    """
    unique: dict[str, str] = {}
    for tag in sorted(tag.strip() for tag in given):
        if len(tag) > TAG_LIMIT:
            raise UsageError(f"The tag {plain(tag, TAG_LIMIT)!r} is too long.", f"At most {TAG_LIMIT} characters.")
        if plain(tag) != tag:
            raise UsageError(f"The tag {plain(tag)!r} holds characters that cannot be shown.", "Leave them out.")
        if tag:
            unique.setdefault(folded(tag), tag)
    return tuple(unique[key] for key in sorted(unique))


def clean_person(name: str) -> str:
    """A person's name as it is kept.

    Raises:
        UsageError: if it is empty, too long, or holds control characters or lone surrogates.
    """
    clean = name.strip()
    if not clean or len(clean) > TAG_LIMIT:
        raise UsageError(f"{plain(clean, TAG_LIMIT)!r} is not a name of a person.", f"1 to {TAG_LIMIT} characters.")
    if plain(clean) != clean:
        raise UsageError(f"The name {plain(clean)!r} holds characters that cannot be shown.", "Leave them out.")
    return clean
