"""The notebook's tables, version by version, and its file: opened, checked, migrated, locked, its errors explained.

Version 2 added tags, version 3 causal checks, version 4 the notes of colleagues, version 5 scores of no explanation.
The tables hold what is; ``events`` holds every change, and is shortened by ``Notebook.withdraw`` alone. What an event
added (an explanation, a failure, a score, a check, a colleague's notes) has the event's id.
"""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path

from vlmscope.core.base.errors import NotebookError
from vlmscope.core.notebook.codec import BadRecord, packed

APPLICATION_ID = 0x766C6D73  # "vlms", in the file's header
ELSEWHERE = "Or set `notebooks` in the settings file to a folder that you may write to."

# Entry n leads from version n to n + 1; 0 is an empty file. An entry that was released is never edited.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,  -- ISO 8601, UTC
            layer INTEGER NOT NULL,
            idx INTEGER NOT NULL,
            kind TEXT NOT NULL,
            before NOT NULL,  -- JSON
            after NOT NULL,  -- JSON
            undoable INTEGER NOT NULL,  -- 1: alone; 2: together with the event before it
            undone INTEGER NOT NULL DEFAULT 0  -- 1: can be redone; 2: not any more
        )""",
        "CREATE INDEX events_to_undo ON events (undone, id) WHERE undoable",
        """CREATE TABLE explanations (
            id INTEGER PRIMARY KEY REFERENCES events (id),
            layer INTEGER NOT NULL,
            idx INTEGER NOT NULL,
            source TEXT NOT NULL,
            model NOT NULL,
            prompt_version NOT NULL,
            created NOT NULL,
            text NOT NULL,
            details NOT NULL,  -- JSON
            removed INTEGER NOT NULL DEFAULT 0  -- undone
        )""",
        "CREATE INDEX explanations_by_neuron ON explanations (layer, idx, removed)",
        """CREATE TABLE neurons (
            layer INTEGER NOT NULL,
            idx INTEGER NOT NULL,
            verdict TEXT CHECK (verdict IN ('keep', 'reject', 'unsure')),
            bookmark INTEGER NOT NULL DEFAULT 0,
            lead INTEGER REFERENCES explanations (id),
            note,  -- last, so that its pages are read only where it is asked for
            PRIMARY KEY (layer, idx)
        ) WITHOUT ROWID""",
        """CREATE TABLE failures (
            id INTEGER PRIMARY KEY REFERENCES events (id),
            layer INTEGER NOT NULL,
            idx INTEGER NOT NULL,
            body NOT NULL  -- JSON
        )""",
        "CREATE INDEX failures_by_neuron ON failures (layer, idx)",
        """CREATE TABLE scores (
            id INTEGER PRIMARY KEY REFERENCES events (id),
            explanation INTEGER NOT NULL REFERENCES explanations (id),
            backend NOT NULL,
            created NOT NULL,
            body NOT NULL  -- JSON
        )""",
        "CREATE INDEX scores_by_explanation ON scores (explanation)",
    ),
    (
        """CREATE TABLE tags (
            layer INTEGER NOT NULL,
            idx INTEGER NOT NULL,
            folded TEXT NOT NULL,
            tag TEXT NOT NULL,
            PRIMARY KEY (layer, idx, folded)
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE checks (
            id INTEGER PRIMARY KEY REFERENCES events (id),
            layer INTEGER,  -- NULL with idx: a set's, whose neurons are in the body
            idx INTEGER,
            body NOT NULL  -- JSON
        )""",
        "CREATE INDEX checks_by_neuron ON checks (layer, idx)",
    ),
    (
        """CREATE TABLE merges (
            id INTEGER PRIMARY KEY REFERENCES events (id),
            person NOT NULL,
            source NOT NULL,  -- the notebook that it was taken from
            removed INTEGER NOT NULL DEFAULT 0  -- undone
        )""",
        """CREATE TABLE reviews (
            merged INTEGER NOT NULL REFERENCES merges (id),
            layer INTEGER NOT NULL,
            idx INTEGER NOT NULL,
            verdict TEXT CHECK (verdict IN ('keep', 'reject', 'unsure')),
            bookmark INTEGER NOT NULL,
            tags NOT NULL,  -- JSON
            note,
            PRIMARY KEY (layer, idx, merged)
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE own_scores (
            id INTEGER PRIMARY KEY REFERENCES events (id),
            layer INTEGER NOT NULL,
            idx INTEGER NOT NULL,
            backend NOT NULL,
            created NOT NULL,
            body NOT NULL  -- JSON
        )""",
        "CREATE INDEX own_scores_by_neuron ON own_scores (layer, idx)",
    ),
)
VERSION = len(STEPS)

#: Seconds that the statements of one ``reading`` or ``writing`` may take: of a large notebook they take less than two.
STATEMENT_SECONDS = 20.0
_STEPS_BETWEEN_CHECKS = 100_000  #: of SQLite's machine, a few milliseconds
#: Bytes of a row, at most: a note of ``NOTE_LIMIT`` control characters takes 24 MB in JSON, and an event holds two.
ROW_BYTES = 64 * 1024 * 1024
SEQUENCE = "CREATE TABLE sqlite_sequence(name,seq)"  #: which SQLite adds for AUTOINCREMENT

# The types that vlmscope writes, by table and column. SQLite itself keeps any type in any column.
_WHOLE, _TEXT, _JSON = "'integer'", "'text'", "'text', 'blob'"
_TYPES: dict[str, dict[str, str]] = {
    "events": {"layer": _WHOLE, "idx": _WHOLE, "kind": _TEXT, "before": _JSON, "after": _JSON},
    "explanations": {"layer": _WHOLE, "idx": _WHOLE, "source": _TEXT, "model": _JSON, "prompt_version": _JSON}
    | {"created": _JSON, "text": _JSON, "details": _JSON, "removed": _WHOLE},
    "neurons": {"layer": _WHOLE, "idx": _WHOLE, "verdict": "'text', 'null'", "bookmark": _WHOLE}
    | {"lead": "'integer', 'null'", "note": "'text', 'blob', 'null'"},
    "failures": {"layer": _WHOLE, "idx": _WHOLE, "body": _JSON},
    "scores": {"explanation": _WHOLE, "backend": _JSON, "created": _JSON, "body": _JSON},
    "tags": {"layer": _WHOLE, "idx": _WHOLE, "folded": _TEXT, "tag": _TEXT},
    "checks": {"layer": "'integer', 'null'", "idx": "'integer', 'null'", "body": _JSON},
    "merges": {"person": _JSON, "source": _JSON, "removed": _WHOLE},
    "reviews": {"merged": _WHOLE, "layer": _WHOLE, "idx": _WHOLE, "verdict": "'text', 'null'", "bookmark": _WHOLE}
    | {"tags": _JSON, "note": "'text', 'blob', 'null'"},
    "own_scores": {"layer": _WHOLE, "idx": _WHOLE, "backend": _JSON, "created": _JSON, "body": _JSON},
}
_SINCE = {"tags": 2, "checks": 3, "merges": 4, "reviews": 4, "own_scores": 5}  #: the versions that added tables
_LARGEST = 2**31 - 1  #: layer and index of a neuron, far above any model


class NotebookFile:
    """The open database. All access is by ``reading`` or ``writing``, which raise failures as NotebookError."""

    def __init__(self, path: Path, scan_id: str, timeout: float, *, copy: bool = False) -> None:
        """Open or create ``path``; wait ``timeout`` seconds at most for others' locks.

        Args:
            copy: open a copy in memory instead, so that the file stays as it is: it is not made, nor brought up to
                date, and what is written to the copy is lost.
        """
        self.path = path
        self._timeout = timeout
        self._is_copy = copy
        self._until = time.monotonic() + STATEMENT_SECONDS
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe or device would be read without an end
            raise NotebookError(f"{path} is not a regular file.", "Move it away.")
        self.connection = self._copied() if copy else self._opened()
        self.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, ROW_BYTES)
        self.connection.set_progress_handler(lambda: time.monotonic() > self._until, _STEPS_BETWEEN_CHECKS)
        try:
            with self._translated():
                self._prepare(scan_id)
        except BaseException:
            self.close()
            raise

    def _opened(self) -> sqlite3.Connection:
        path = self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotebookError(f"The folder {path.parent} cannot be made: {error.strerror}.", ELSEWHERE) from error
        with self._translated():
            # Callers use it from one thread at a time, but not always from the one that opened it.
            return sqlite3.connect(path, self._timeout, isolation_level=None, check_same_thread=False)

    def _copied(self) -> sqlite3.Connection:
        path = self.path
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            raise NotebookError(f"{path} is not a notebook: it {what}.", "Name a notebook's file, such as a.sqlite.")
        with self._translated():
            copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            try:
                uri = f"{path.resolve().as_uri()}?mode=ro"
                with closing(sqlite3.connect(uri, self._timeout, uri=True)) as source:
                    source.backup(copy)
            except BaseException:
                copy.close()
                raise
        return copy

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Several reads of one moment. It locks writers out, of this process and others, as long as it is open.

        Inside another ``reading`` or ``writing`` it belongs to that one's moment.
        """
        with self._translated(), nullcontext() if self.connection.in_transaction else self._transaction("BEGIN"):
            yield self.connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on the disk when this returns; nothing can change between its reads and its writes."""
        with self._translated(), self._transaction("BEGIN IMMEDIATE"):
            yield self.connection

    def data_version(self) -> int:
        """A number that differs from the last one if another connection has committed since."""
        with self._translated():
            return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self.connection.execute(begin)
        self._until = time.monotonic() + STATEMENT_SECONDS
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            # SQLite itself has rolled back already after some failures, a full disk among them.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def _prepare(self, scan_id: str) -> None:
        run = self.connection.execute
        run("PRAGMA trusted_schema = OFF")  # the file may come from elsewhere
        run("PRAGMA foreign_keys = ON")
        run("PRAGMA synchronous = FULL")
        if self._is_new() and not self._is_copy:
            self._create(scan_id)
        if run("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise NotebookError(f"{self.path} is not a notebook of vlmscope.", "Move the file away.")
        version = self._version()
        if version > VERSION:
            raise NotebookError(
                f"{self.path} was written by a newer vlmscope (notebook version {version}; this one reads {VERSION}).",
                "Update vlmscope.",
            )
        self._check_schema(version)
        if not self._is_copy:
            run("PRAGMA journal_mode = DELETE")
        found = run("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise self._damaged(str(found))
        self._check_types(version)
        owner = run("SELECT value FROM meta WHERE key = 'scan_id'").fetchone()
        if owner is None or owner[0] != packed(scan_id):
            raise NotebookError(
                f"{self.path} is the notebook of another scan.",
                "Move the file away, or open the scan that it was made for.",
            )
        if version < VERSION:
            self._migrate()

    def _check_schema(self, version: int) -> None:
        """Refuse a file with other tables than ours: a view in place of one could run any query, without an end."""
        own = {_words(statement) for step in STEPS[:version] for statement in step}
        # An index that SQLite makes for a key has no statement.
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL OR type <> 'index'"
        if {_words(str(sql)) for (sql,) in self.connection.execute(query)} != own | {_words(SEQUENCE)}:
            raise NotebookError(
                f"{self.path} is damaged: its tables are not those of a notebook of vlmscope.",
                "Move the file away: it may come from elsewhere.",
            )

    def _check_types(self, version: int) -> None:
        """Refuse values of another type than vlmscope writes."""
        for table, columns in _TYPES.items():
            if version < _SINCE.get(table, 1):
                continue
            wrong = [f"typeof({column}) NOT IN ({types})" for column, types in columns.items()]
            wrong += [f"{name} NOT BETWEEN 0 AND {_LARGEST}" for name in ("layer", "idx") if name in columns]
            wrong += ["(layer IS NULL) <> (idx IS NULL)"] if table == "checks" else []
            query = f"SELECT 1 FROM {table} WHERE {' OR '.join(wrong)} LIMIT 1"  # noqa: S608  # our own names
            if self.connection.execute(query).fetchone() is not None:
                raise self._damaged(f"a value in the table {table} is not of its type")

    def _is_new(self) -> bool:
        return self._version() == 0 and not self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    def _version(self) -> int:
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    def _create(self, scan_id: str) -> None:
        with self._transaction("BEGIN IMMEDIATE"):
            if self._is_new():  # another vlmscope may have made it in between
                self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._step_up(0)
                self.connection.execute("INSERT INTO meta VALUES ('scan_id', ?)", (packed(scan_id),))

    def _migrate(self) -> None:
        with self._transaction("BEGIN IMMEDIATE"):
            version = self._version()
            if version < VERSION:  # another vlmscope may have done it in between
                if not self._is_copy:
                    self._keep_copy(version)
                self._step_up(version)

    def _step_up(self, version: int) -> None:
        for step in STEPS[version:]:
            for statement in step:
                self.connection.execute(statement)
        self.connection.execute(f"PRAGMA user_version = {VERSION}")

    def _keep_copy(self, version: int) -> None:
        """Copy the file as it is. By SQLite: closing a file that Python opened would give up this process's locks."""
        copy = self.path.with_name(f"{self.path.name}.v{version}.bak")
        unfinished = copy.with_name(f"{copy.name}.tmp")
        try:
            unfinished.unlink(missing_ok=True)
            with (
                closing(sqlite3.connect(self.path, self._timeout)) as source,
                closing(sqlite3.connect(unfinished)) as to,
            ):
                source.backup(to)
            unfinished.replace(copy)
        except OSError as error:
            raise NotebookError(
                f"{self.path} is of an older version, and no copy of it can be kept at {copy}: {error.strerror}.",
                "Make the folder writable, or free some space.",
            ) from error
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except BadRecord as error:
            raise self._damaged(str(error)) from error
        except OverflowError as error:  # a number beyond 64 bits
            raise self._damaged(str(error)) from error
        except sqlite3.Error as error:
            if str(error).startswith("Could not decode to UTF-8"):  # of Python's: it has no code
                raise self._damaged("a text is not UTF-8") from error
            explained = self._explained(error)
            if explained is None:
                raise  # a defect of ours: wrong SQL, or used after it was closed
            raise explained from error

    def _explained(self, error: sqlite3.Error) -> NotebookError | None:  # noqa: PLR0911  # one for each reason
        path, folder = self.path, self.path.parent
        match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF:  # the low byte: without the fine print
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return NotebookError(
                    f"Another vlmscope holds {path}: vlmscope waited {self._timeout:g} s and changed nothing.",
                    "Try again; if it lasts, look for a vlmscope that hangs, on other machines too.",
                )
            case sqlite3.SQLITE_FULL:
                return NotebookError(
                    f"The disk is full: nothing was written to {path}.", f"Free some space. {ELSEWHERE}"
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return NotebookError(f"{path} may not be written.", f"Make file and folder writable. {ELSEWHERE}")
            case sqlite3.SQLITE_CANTOPEN if not path.exists():
                return NotebookError(f"No file can be made in {folder}.", f"Make the folder writable. {ELSEWHERE}")
            case sqlite3.SQLITE_CANTOPEN:
                # Also where the file may be written, but no journal made beside it.
                return NotebookError(
                    f"{path} cannot be opened, or not be written.", f"Make file and folder writable. {ELSEWHERE}"
                )
            case sqlite3.SQLITE_NOTADB:
                return NotebookError(f"{path} is not an SQLite database.", "Move the file away.")
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_TOOBIG:
                return self._damaged(str(error))
            case sqlite3.SQLITE_INTERRUPT:
                return NotebookError(
                    f"{path} takes too long to read: more than {STATEMENT_SECONDS:g} s.",
                    "Try again; if it lasts, the file is damaged: restore a copy of it.",
                )
            case sqlite3.SQLITE_IOERR:
                # A quota that is used up arrives here, not as a full disk.
                return NotebookError(
                    f"{path} cannot be read or written: {error}.", f"Look at disk, quota and network. {ELSEWHERE}"
                )
        return None

    def _damaged(self, reason: str) -> NotebookError:
        return NotebookError(
            f"{self.path} is damaged: {reason}.",
            f"Restore a copy of it, or save what is left: sqlite3 {os.fspath(self.path)!r} .recover",
        )


def _words(statement: str) -> str:
    """A statement without its comments and blanks: an earlier version may have written it on other lines."""
    return "".join(re.sub("--.*", "", statement).split())
