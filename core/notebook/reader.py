"""What a notebook holds, read from its tables."""

import sqlite3
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook import events
from vlmscope.core.notebook.codec import (
    body_from,
    check_from,
    explanation_from,
    failure_from,
    packed,
    resume_from,
    tags_from,
    unpacked,
    verdict_from,
)
from vlmscope.core.notebook.explanation import FailedExplanation
from vlmscope.core.notebook.file import NotebookFile
from vlmscope.core.notebook.texts import FOLDED_CHARACTERS, FoldedTexts, TextKind
from vlmscope.core.notebook.values import (
    Colleague,
    Entry,
    Mark,
    MarkBit,
    Resume,
    Review,
    SavedCheck,
    SavedExplanation,
    SavedScore,
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
# For marks: ``Mark.bits`` in an integer beside the address, as 100,000 rows of more values are slow to take in.
_OWN_BITS = (
    "CASE verdict WHEN 'keep' THEN 1 WHEN 'reject' THEN 2 WHEN 'unsure' THEN 3 ELSE 0 END"
    f" + {MarkBit.BOOKMARK:d} * (bookmark <> 0) + {MarkBit.NOTE:d} * (note IS NOT NULL)"
)
_BIT_SOURCES = (
    (_OWN_BITS, "FROM neurons WHERE 1"),
    (f"{MarkBit.TAGS:d}", "FROM tags WHERE 1"),
    # Words that are there to be scored alone (``Source.of_the_neuron``) explain nothing.
    (f"{MarkBit.EXPLAINED:d}", "FROM explanations WHERE NOT removed AND source NOT IN ('concepts', 'borrowed')"),
    (
        f"{MarkBit.SCORED:d}",
        "FROM scores JOIN explanations ON explanations.id = explanation WHERE NOT removed",
    ),
    (f"{MarkBit.FAILED:d}", "FROM failures WHERE 1"),
)
_TEXTS = {
    TextKind.NOTE: "SELECT layer, idx, note FROM neurons WHERE note IS NOT NULL",
    TextKind.TAG: "SELECT layer, idx, tag FROM tags",
    TextKind.EXPLANATION: "SELECT layer, idx, text FROM explanations WHERE NOT removed",
}


# Of each person the newest notes that are not undone.
_CURRENT = "SELECT max(id) FROM merges WHERE NOT removed GROUP BY person"
_REVIEWS = (
    "SELECT layer, idx, person, verdict, note, tags, bookmark"  # noqa: S608  # our own names
    f" FROM reviews JOIN merges ON merges.id = merged WHERE merged IN ({_CURRENT})"
)


def _review(row: tuple[Any, ...]) -> tuple[tuple[int, int], Review]:
    layer, index, person, verdict, note, tags, bookmark = row
    text = "" if note is None else unpacked(note)
    review = Review(unpacked(person), verdict_from(verdict), text, tags_from(tags), bool(bookmark))
    return (layer, index), review


class NotebookReader:
    """The reading half of ``Notebook``: each call sees one moment of the file."""

    def __init__(self, file: NotebookFile, poled: bool = False) -> None:
        """``poled``: whether the scan's neurons are poles; the tables have the rows of its arrays."""
        self._file = file
        self._poled = poled

    def _neuron(self, layer: int, index: int) -> Neuron:
        return Neuron(layer, index, self._poled)

    def entry(self, neuron: Neuron) -> Entry:
        """Everything on one neuron."""
        with self._file.reading() as db:
            said = self.explanations(neuron)
            newest = max((saved.id for saved in said), default=0)
            failed = self.failures(neuron, after=newest)
            return replace(
                self._own(db, neuron),
                explanations=said,
                failure=failed[0] if failed else None,
                scores=self.scores(neuron),
                checks=self.checks(neuron),
                reviews=self._reviews(neuron),
                own_scores=self.own_scores(neuron),
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

    def own_scores(self, neuron: Neuron) -> tuple[SavedScore, ...]:
        """The scores of the neuron itself, which need no explanation, the newest first."""
        query = "SELECT id, backend, created, body FROM own_scores WHERE layer = ? AND idx = ? ORDER BY id DESC"
        with self._file.reading() as db:
            return tuple(
                SavedScore(event, neuron, None, unpacked(backend), unpacked(created), body_from(body))
                for event, backend, created, body in db.execute(query, (neuron.layer, neuron.index))
            )

    def checks(self, neuron: Neuron) -> tuple[SavedCheck, ...]:
        """The causal checks of a neuron by itself, the newest first."""
        query = "SELECT id, body FROM checks WHERE layer = ? AND idx = ? ORDER BY id DESC"
        with self._file.reading() as db:
            rows = db.execute(query, (neuron.layer, neuron.index))
            return tuple(SavedCheck(event, check_from(body, neuron)) for event, body in rows)

    def set_checks(self) -> tuple[SavedCheck, ...]:
        """The causal checks of sets, the newest first."""
        query = "SELECT id, body FROM checks WHERE layer IS NULL ORDER BY id DESC"
        with self._file.reading() as db:
            return tuple(SavedCheck(event, check_from(body, None)) for event, body in db.execute(query))

    def newest_checks(self) -> tuple[SavedCheck, ...]:
        """Of each checked neuron and word the newest check, by layer and index, then the newest first; no sets'.

        All checks are read: some 4,000 in a second.
        """
        found: dict[tuple[Neuron, str], SavedCheck] = {}
        query = "SELECT id, layer, idx, body FROM checks WHERE layer IS NOT NULL ORDER BY layer, idx, id DESC"
        with self._file.reading() as db:
            for event, layer, index, body in db.execute(query):
                check = check_from(body, self._neuron(layer, index))
                found.setdefault((check.neurons[0], check.word), SavedCheck(event, check))
        return tuple(found.values())

    def checked_neurons(self) -> list[Neuron]:
        """The neurons that have a causal check by themselves, by layer and index."""
        query = "SELECT DISTINCT layer, idx FROM checks WHERE layer IS NOT NULL ORDER BY layer, idx"
        with self._file.reading() as db:
            return [self._neuron(*row) for row in db.execute(query)]

    def colleagues(self) -> tuple[Colleague, ...]:
        """The other people whose verdicts and notes were taken in, by name."""
        query = f"SELECT person, source, at FROM merges JOIN events USING (id) WHERE id IN ({_CURRENT})"  # noqa: S608
        with self._file.reading() as db:
            found = [Colleague(unpacked(person), unpacked(source), at) for person, source, at in db.execute(query)]
        return tuple(sorted(found, key=lambda one: one.person))

    def reviews(self, person: str) -> dict[Neuron, Review]:
        """What another person's notebook held when it was taken in, by neuron."""
        query = f"{_REVIEWS} AND person = ? ORDER BY layer, idx"
        with self._file.reading() as db:
            found = map(_review, db.execute(query, (packed(person),)))
            return {self._neuron(*at): review for at, review in found}

    def own_reviews(self, person: str) -> dict[Neuron, Review]:
        """The notebook's own verdicts, notes, tags and bookmarks in the same form, under the name ``person``."""
        found: dict[Neuron, Review] = {}
        with self._file.reading() as db:
            for neuron, mark in self.marks().items():
                if mark.verdict or mark.bookmark or mark.has_note or mark.has_tags:
                    entry = self._own(db, neuron)
                    found[neuron] = Review(person, entry.verdict, entry.note, entry.tags, entry.bookmark)
        return dict(sorted(found.items()))

    def reviewed_neurons(self) -> frozenset[Neuron]:
        """The neurons that another person's notebook has something on."""
        query = f"SELECT DISTINCT layer, idx FROM reviews WHERE merged IN ({_CURRENT})"  # noqa: S608
        with self._file.reading() as db:
            return frozenset(self._neuron(*row) for row in db.execute(query))

    def _reviews(self, neuron: Neuron) -> tuple[Review, ...]:
        query = f"{_REVIEWS} AND layer = ? AND idx = ?"
        with self._file.reading() as db:
            found = [_review(row)[1] for row in db.execute(query, (neuron.layer, neuron.index))]
        return tuple(sorted(found, key=lambda one: one.person))

    def _own(self, db: sqlite3.Connection, neuron: Neuron) -> Entry:
        """What the user decided and wrote."""
        query = "SELECT verdict, bookmark, note FROM neurons WHERE layer = ? AND idx = ?"
        verdict, bookmark, note = db.execute(query, (neuron.layer, neuron.index)).fetchone() or (None, False, None)
        text = "" if note is None else unpacked(note)
        return Entry(neuron, verdict_from(verdict), text, events.tags(db, neuron), bool(bookmark))

    def _neuron_of(self, explanation_id: int) -> Neuron | None:
        """The neuron that an explanation belongs to; None if there is no such explanation, or it was undone."""
        query = "SELECT layer, idx FROM explanations WHERE id = ? AND NOT removed"
        with self._file.reading() as db:
            row = db.execute(query, (explanation_id,)).fetchone()
        return self._neuron(*row) if row else None

    def marks(self) -> dict[Neuron, Mark]:
        """The mark of every neuron that has an entry."""
        found: dict[int, int] = {}
        with self._file.reading() as db:
            for bits, source in _BIT_SOURCES:
                for key, value in db.execute(f"SELECT DISTINCT layer << 32 | idx, {bits} AS bits {source} AND bits"):
                    found[key] = found.get(key, 0) | value
        return {self._neuron(key >> 32, key & 0xFFFFFFFF): Mark.of_bits(bits) for key, bits in found.items()}

    def mark_bits(self, layers: int, neurons: int) -> NDArray[np.uint8]:
        """``Mark.bits`` of every neuron of a model of this size, for lists of all of them; others are left out.

        Returns:
            uint8 (L * F,), 0 where there is no entry.
        """
        found = np.zeros(layers * neurons, dtype=np.uint8)
        with self._file.reading() as db:
            for bits, source in _BIT_SOURCES:
                query = f"SELECT (layer * ? + idx) << 8 | {bits} {source} AND layer < ? AND idx < ?"
                rows = db.execute(query, (neurons, layers, neurons))
                packed = np.fromiter((value for (value,) in rows), dtype=np.int64)
                # Several rows of one neuron have the same bits here: which one is written last does not matter.
                at = packed >> 8
                found[at] |= (packed & 0xFF).astype(np.uint8)
        return found

    def texts(self, layers: int, neurons: int, most: int = FOLDED_CHARACTERS) -> FoldedTexts | None:
        """All notes, tags and explanations of the neurons of a model of this size, to be searched often.

        Returns:
            None if they have more than ``most`` characters: ``with_text`` searches them without keeping them.
        """
        found = FoldedTexts(neurons)
        with closing(self.each_text()) as texts:
            for kind, layer, index, text in texts:
                if layer < layers and index < neurons:
                    found.add(layer * neurons + index, kind, text)
                    if found.characters > most:
                        return None
        return found

    def with_text(self, words: str, layers: int, neurons: int, kind: TextKind | None = None) -> NDArray[np.int64]:
        """The neurons, by their flat number ``layer * F + index``, whose texts have ``words``: as ``texts`` finds them.

        Slow: everything is read, but no more than one text is held.
        """
        found = set()
        for of, layer, index, text in self.each_text():
            if layer < layers and index < neurons and kind in (None, of):
                one = FoldedTexts(neurons)
                one.add(layer * neurons + index, of, text)
                found |= set(one.find(words, kind).tolist())
        return np.array(sorted(found), dtype=np.int64)

    def scored(self) -> list[Neuron]:
        """The neurons that have a score of any explanation, by layer and index."""
        query = (
            "SELECT DISTINCT layer, idx FROM scores JOIN explanations ON explanations.id = explanation"
            " WHERE NOT removed ORDER BY layer, idx"
        )
        with self._file.reading() as db:
            return [self._neuron(*row) for row in db.execute(query)]

    def each_text(self) -> Generator[tuple[TextKind, int, int, str]]:
        """Kind, layer, index and text of every note, tag and explanation.

        Writers are locked out until the last is taken.
        """
        with self._file.reading() as db:
            for kind, query in _TEXTS.items():
                for layer, index, text in db.execute(query):
                    yield kind, layer, index, unpacked(text)

    def resume(self) -> Resume | None:
        """The place of the last session."""
        with self._file.reading() as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'resume'").fetchone()
            return None if row is None else resume_from(row[0])
