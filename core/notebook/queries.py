"""What a notebook holds, read from its tables inside a transaction of the caller."""

import sqlite3
from collections.abc import Iterator

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook import events
from vlmscope.core.notebook.codec import (
    BadRecord,
    explanation_from,
    failure_from,
    from_json,
    packed,
    unpacked,
    verdict_from,
)
from vlmscope.core.notebook.explanation import FailedExplanation, Source
from vlmscope.core.notebook.values import (
    Entry,
    Kind,
    Mark,
    NotebookText,
    Resume,
    SavedExplanation,
    SavedScore,
    TriageCounts,
    Verdict,
)

_EXPLANATIONS = "SELECT id, source, model, prompt_version, created, text, details FROM explanations"
_SCORES = (
    "SELECT scores.id, scores.explanation, scores.backend, scores.created, scores.body"
    " FROM scores JOIN explanations ON explanations.id = scores.explanation"
    " WHERE explanations.layer = ? AND explanations.idx = ? AND NOT explanations.removed ORDER BY scores.id DESC"
)
# For ``marks``: layer and index in one integer, all that there is in the bits of another, as 100,000 rows of more are
# slow to take in. The lowest two bits are the verdict's place in ``_VERDICTS``.
_VERDICTS = (None, Verdict.KEEP, Verdict.REJECT, Verdict.UNSURE)
_BOOKMARK, _NOTE, _TAG, _EXPLAINED, _SCORED, _FAILED = 4, 8, 16, 32, 64, 128
_MARKED = """
    SELECT layer << 32 | idx,
        CASE verdict WHEN 'keep' THEN 1 WHEN 'reject' THEN 2 WHEN 'unsure' THEN 3 ELSE 0 END
            + 4 * bookmark + 8 * (note IS NOT NULL) AS bits
    FROM neurons WHERE bits
"""
_ADDED = (
    (_TAG, "SELECT DISTINCT layer << 32 | idx FROM tags"),
    # Words that are there to be scored alone (``Source.of_the_neuron``) explain nothing.
    (
        _EXPLAINED,
        "SELECT layer << 32 | idx FROM explanations WHERE NOT removed AND source NOT IN ('concepts', 'borrowed')",
    ),
    (
        _SCORED,
        "SELECT layer << 32 | idx FROM scores JOIN explanations ON explanations.id = explanation WHERE NOT removed",
    ),
    (_FAILED, "SELECT DISTINCT layer << 32 | idx FROM failures"),
)


def entry(db: sqlite3.Connection, neuron: Neuron) -> Entry:
    """Everything on one neuron."""
    query = "SELECT verdict, bookmark, note FROM neurons WHERE layer = ? AND idx = ?"
    verdict, bookmark, note = db.execute(query, (neuron.layer, neuron.index)).fetchone() or (None, False, None)
    said = explanations(db, neuron)
    failed = _failures(db, neuron)
    newest = max((saved.id for saved in said), default=0)
    return Entry(
        neuron,
        verdict_from(verdict),
        "" if note is None else unpacked(note),
        events.tags(db, neuron),
        bool(bookmark),
        said,
        failed[0][1] if failed and failed[0][0] > newest else None,
        scores(db, neuron),
    )


def explanations(db: sqlite3.Connection, neuron: Neuron) -> tuple[SavedExplanation, ...]:
    """The leading one first, then the newest first."""
    where = (neuron.layer, neuron.index)
    rows = db.execute(f"{_EXPLANATIONS} WHERE layer = ? AND idx = ? AND NOT removed ORDER BY id DESC", where).fetchall()
    if not rows:
        return ()
    chosen = db.execute("SELECT lead FROM neurons WHERE layer = ? AND idx = ?", where).fetchone()
    ids = [row[0] for row in rows]
    lead = chosen[0] if chosen and chosen[0] in ids else ids[0]
    saved = [SavedExplanation(row[0], neuron, explanation_from(*row[1:]), row[0] == lead) for row in rows]
    return tuple(sorted(saved, key=lambda one: not one.leads))


def failures(db: sqlite3.Connection, neuron: Neuron) -> tuple[FailedExplanation, ...]:
    """The newest first."""
    return tuple(failure for _, failure in _failures(db, neuron))


def _failures(db: sqlite3.Connection, neuron: Neuron) -> list[tuple[int, FailedExplanation]]:
    query = "SELECT id, body FROM failures WHERE layer = ? AND idx = ? ORDER BY id DESC"
    return [(event, failure_from(body)) for event, body in db.execute(query, (neuron.layer, neuron.index))]


def scores(db: sqlite3.Connection, neuron: Neuron) -> tuple[SavedScore, ...]:
    """Those of all its explanations, the newest first."""
    return tuple(
        SavedScore(event, neuron, explanation, unpacked(backend), unpacked(created), from_json(body))
        for event, explanation, backend, created, body in db.execute(_SCORES, (neuron.layer, neuron.index))
    )


def neuron_of(db: sqlite3.Connection, explanation_id: int) -> Neuron | None:
    """Whose explanation it is; None if there is none such, or it was undone."""
    query = "SELECT layer, idx FROM explanations WHERE id = ? AND NOT removed"
    row = db.execute(query, (explanation_id,)).fetchone()
    return Neuron(*row) if row else None


def explained(db: sqlite3.Connection, neuron: Neuron, model: str, prompt_version: str) -> bool:
    """Whether that model has explained it with that prompt."""
    query = (
        "SELECT 1 FROM explanations WHERE layer = ? AND idx = ? AND model = ? AND prompt_version = ?"
        " AND source = ? AND NOT removed"
    )
    values = (neuron.layer, neuron.index, packed(model), packed(prompt_version), Source.API)
    return db.execute(query, values).fetchone() is not None


def marks(db: sqlite3.Connection) -> dict[Neuron, Mark]:
    """Of every neuron of which there is anything."""
    found: dict[int, int] = dict(db.execute(_MARKED))
    for bit, query in _ADDED:
        for (key,) in db.execute(query):
            found[key] = found.get(key, 0) | bit
    by_bits = {bits: _mark(bits) for bits in set(found.values())}
    return {Neuron(key >> 32, key & 0xFFFFFFFF): by_bits[bits] for key, bits in found.items()}


def _mark(bits: int) -> Mark:
    flags = (bool(bits & bit) for bit in (_BOOKMARK, _NOTE, _TAG, _EXPLAINED, _SCORED, _FAILED))
    return Mark(_VERDICTS[bits & 3], *flags)


def texts(db: sqlite3.Connection) -> Iterator[NotebookText]:
    """All notes, tags and explanations. They are read before this returns: the transaction may then end."""
    notes = db.execute("SELECT layer, idx, note FROM neurons WHERE note IS NOT NULL").fetchall()
    tags = db.execute("SELECT layer, idx, tag FROM tags").fetchall()
    said = db.execute("SELECT layer, idx, text, source FROM explanations WHERE NOT removed").fetchall()

    def each() -> Iterator[NotebookText]:
        for layer, index, note in notes:
            yield NotebookText(Neuron(layer, index), Kind.NOTE, unpacked(note))
        for layer, index, tag in tags:
            yield NotebookText(Neuron(layer, index), Kind.TAGS, unpacked(tag))
        for layer, index, text, source in said:
            kind = Kind.OWN_EXPLANATION if source == Source.USER else Kind.EXPLANATION
            yield NotebookText(Neuron(layer, index), kind, unpacked(text))

    return each()


def counts(db: sqlite3.Connection) -> TriageCounts:
    """How many neurons have which verdict."""
    query = "SELECT verdict, count(*) FROM neurons WHERE verdict IS NOT NULL GROUP BY verdict"
    found = {verdict_from(verdict): int(count) for verdict, count in db.execute(query)}
    return TriageCounts(*(found.get(verdict, 0) for verdict in (Verdict.KEEP, Verdict.REJECT, Verdict.UNSURE)))


def resume(db: sqlite3.Connection) -> Resume | None:
    """Where the session was left, if that was ever written."""
    row = db.execute("SELECT value FROM meta WHERE key = 'resume'").fetchone()
    if row is None:
        return None
    try:
        found = dict(from_json(row[0]))
        return Resume(Neuron.parse(found["neuron"]), found["filter"], found["order"])
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise BadRecord(f"the place to resume at cannot be read: {error}") from error
