"""What a notebook holds, read from its tables."""

from collections.abc import Iterator
from typing import Any

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook import events
from vlmscope.core.notebook.codec import (
    body_from,
    explanation_from,
    failure_from,
    resume_from,
    unpacked,
    verdict_from,
)
from vlmscope.core.notebook.explanation import FailedExplanation, Source
from vlmscope.core.notebook.file import NotebookFile
from vlmscope.core.notebook.values import (
    Entry,
    Kind,
    Mark,
    NotebookText,
    Resume,
    SavedExplanation,
    SavedScore,
    Verdict,
)

_EXPLANATIONS = (
    "SELECT id, source, model, prompt_version, created, text, details FROM explanations"
    " WHERE layer = ? AND idx = ? AND NOT removed ORDER BY id DESC"
)
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


class NotebookReader:
    """The reading half of ``Notebook``: each call sees one moment of the file."""

    def __init__(self, file: NotebookFile) -> None:
        self._file = file

    def entry(self, neuron: Neuron) -> Entry:
        """Everything on one neuron."""
        query = "SELECT verdict, bookmark, note FROM neurons WHERE layer = ? AND idx = ?"
        with self._file.reading() as db:
            row = db.execute(query, (neuron.layer, neuron.index)).fetchone()
            verdict, bookmark, note = row or (None, False, None)
            said = self.explanations(neuron)
            newest = max((saved.id for saved in said), default=0)
            failed = self.failures(neuron, after=newest)
            return Entry(
                neuron,
                verdict_from(verdict),
                "" if note is None else unpacked(note),
                events.tags(db, neuron),
                bool(bookmark),
                said,
                failed[0] if failed else None,
                self.scores(neuron),
            )

    def explanations(self, neuron: Neuron) -> tuple[SavedExplanation, ...]:
        """The leading one first, then the newest first."""
        where = (neuron.layer, neuron.index)
        with self._file.reading() as db:
            rows = db.execute(_EXPLANATIONS, where).fetchall()
            chosen = db.execute("SELECT lead FROM neurons WHERE layer = ? AND idx = ?", where).fetchone()
            ids = [row[0] for row in rows]
            lead = chosen[0] if chosen and chosen[0] in ids else max(ids, default=None)
            saved = [SavedExplanation(row[0], neuron, explanation_from(*row[1:]), row[0] == lead) for row in rows]
        return tuple(sorted(saved, key=lambda one: not one.leads))

    def failures(self, neuron: Neuron, after: int = 0) -> tuple[FailedExplanation, ...]:
        """All requests that gave no explanation, the newest first; only those after the event of the id ``after``."""
        query = "SELECT body FROM failures WHERE layer = ? AND idx = ? AND id > ? ORDER BY id DESC"
        with self._file.reading() as db:
            return tuple(failure_from(body) for (body,) in db.execute(query, (neuron.layer, neuron.index, after)))

    def scores(self, neuron: Neuron) -> tuple[SavedScore, ...]:
        """The scores of all its explanations, the newest first."""
        with self._file.reading() as db:
            return tuple(
                SavedScore(event, neuron, explanation, unpacked(backend), unpacked(created), body_from(body))
                for event, explanation, backend, created, body in db.execute(_SCORES, (neuron.layer, neuron.index))
            )

    def _neuron_of(self, explanation_id: int) -> Neuron | None:
        """The neuron that an explanation belongs to; None if there is no such explanation, or it was undone."""
        query = "SELECT layer, idx FROM explanations WHERE id = ? AND NOT removed"
        with self._file.reading() as db:
            row = db.execute(query, (explanation_id,)).fetchone()
        return Neuron(*row) if row else None

    def marks(self) -> dict[Neuron, Mark]:
        """For the list: every neuron that has an entry."""
        with self._file.reading() as db:
            found: dict[int, int] = dict(db.execute(_MARKED))
            for bit, query in _ADDED:
                for (key,) in db.execute(query):
                    found[key] = found.get(key, 0) | bit
        by_bits = {bits: _mark(bits) for bits in set(found.values())}
        return {Neuron(key >> 32, key & 0xFFFFFFFF): by_bits[bits] for key, bits in found.items()}

    def texts(self) -> Iterator[NotebookText]:
        """All notes, tags and explanations, to search in; as they are now, however slowly they are taken."""
        with self._file.reading() as db:
            notes = db.execute("SELECT layer, idx, note FROM neurons WHERE note IS NOT NULL").fetchall()
            tags = db.execute("SELECT layer, idx, tag FROM tags").fetchall()
            said = db.execute("SELECT layer, idx, text, source FROM explanations WHERE NOT removed").fetchall()
        return _texts(notes, tags, said)

    def resume(self) -> Resume | None:
        """The place of the last session."""
        with self._file.reading() as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'resume'").fetchone()
            return None if row is None else resume_from(row[0])


def _mark(bits: int) -> Mark:
    flags = (bool(bits & bit) for bit in (_BOOKMARK, _NOTE, _TAG, _EXPLAINED, _SCORED, _FAILED))
    return Mark(_VERDICTS[bits & 3], *flags)


_Rows = list[tuple[Any, ...]]


def _texts(notes: _Rows, tags: _Rows, said: _Rows) -> Iterator[NotebookText]:
    for layer, index, note in notes:
        yield NotebookText(Neuron(layer, index), Kind.NOTE, unpacked(note))
    for layer, index, tag in tags:
        yield NotebookText(Neuron(layer, index), Kind.TAGS, unpacked(tag))
    for layer, index, text, source in said:
        kind = Kind.OWN_EXPLANATION if source == Source.USER else Kind.EXPLANATION
        yield NotebookText(Neuron(layer, index), kind, unpacked(text))
