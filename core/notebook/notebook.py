"""The notebook of a scan: what people and APIs add to it, in one SQLite file.

Every change is on the disk when the call returns, together with an event, so that undo and redo reach across sessions,
and across two vlmscopes on one notebook. What an API gave (explanations, failures, scores) is kept as events too, but
not undone: it cost money. Nor are causal checks: a result stays, whatever it is.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

from vlmscope.core.base.config import data_folder
from vlmscope.core.base.errors import NotebookError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook import events
from vlmscope.core.notebook.check import CausalCheck
from vlmscope.core.notebook.codec import check_to_json, packed, to_json
from vlmscope.core.notebook.explanation import Explanation, FailedExplanation, Source
from vlmscope.core.notebook.file import NotebookFile
from vlmscope.core.notebook.reader import NotebookReader
from vlmscope.core.notebook.values import Change, Decision, Kind, Resume, Review, Verdict

BUSY_SECONDS = 5.0


def notebook_path(scan_id: str, scan_folder: Path, setting: str) -> Path:
    """Where the notebook of a scan is, or would be.

    Args:
        setting: "data" for vlmscope's data folder, unless there is a notebook beside the scan; "beside" for beside the
            scan; anything else is a folder to hold it.

    Raises:
        NotebookError: if ``setting`` cannot be a path.
    """
    beside = _beside(scan_folder)
    if setting == "beside" or (setting == "data" and beside.exists()):
        return beside
    return _in_folder(scan_id, setting)


def note_on_path(scan_id: str, scan_folder: Path, setting: str) -> str:
    """What the user is told of ``notebook_path``: that it is not the user's own; empty where it is.

    A notebook beside the scan may have come with the scan, from another person.
    """
    beside = _beside(scan_folder)
    if setting != "data" or not beside.exists():
        return ""
    own = _in_folder(scan_id, setting)
    yours = f", not yours ({own})" if own.exists() else ""
    return f"The notebook beside the scan is used{yours}: {beside}. To use your own, move that file away."


def _beside(scan_folder: Path) -> Path:
    folder = scan_folder.resolve()
    return folder.with_name(f"{folder.name}.notebook.sqlite")


def _in_folder(scan_id: str, setting: str) -> Path:
    """In the folder of the setting. Raises NotebookError if ``setting`` cannot be a path."""
    try:
        named = Path(setting).expanduser()
        problem = "a path has no NUL" if "\0" in setting else ""
    except RuntimeError as error:  # a ~ of an unknown user
        problem = str(error)
    if problem:
        raise NotebookError(f"{setting!r} is not a folder for notebooks: {problem}", "Set notebooks.")
    home = data_folder() / "notebooks" if setting == "data" else named
    return home / f"{_file_stem(scan_id)}.sqlite"


def _file_stem(scan_id: str) -> str:
    """A file name of its own for every identity, on file systems that ignore case too."""
    if re.fullmatch("[0-9a-z]{1,64}", scan_id):
        return scan_id
    # Only names that are made here hold a hyphen, so that none can meet one that is kept as it is.
    digest = hashlib.sha256(scan_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{re.sub('[^0-9a-z]+', '-', scan_id.lower())[:40].strip('-')}-{digest}"


class Notebook(NotebookReader, AbstractContextManager["Notebook"]):
    """An open notebook. For one thread at a time, which need not always be the same one.

    Every call may raise NotebookError: the file is damaged, may not be written, the disk is full, or another vlmscope
    holds it. Nothing of the call is written then.
    """

    def __init__(self, file: NotebookFile, poled: bool = False) -> None:
        super().__init__(file, poled)
        self._seen = file.data_version()

    @classmethod
    def open(cls, path: Path, scan_id: str, timeout: float = BUSY_SECONDS, *, poled: bool = False) -> Self:
        """Open a scan's notebook; make it, and its folder, where there is none; bring an older one up to date.

        Args:
            timeout: seconds to wait for another vlmscope's lock.
            poled: whether the scan's neurons are poles (``Numbering.poled``).

        Raises:
            NotebookError: also if it is another scan's, of a newer vlmscope, or no notebook at all.
        """
        return cls(NotebookFile(path, scan_id, timeout), poled)

    @classmethod
    def open_copy(cls, path: Path, scan_id: str, timeout: float = BUSY_SECONDS, *, poled: bool = False) -> Self:
        """Open a copy of another person's notebook of this scan in memory: the file stays as it is.

        Raises:
            NotebookError: as ``open``, and if there is no such file.
        """
        return cls(NotebookFile(path, scan_id, timeout, copy=True), poled)

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def close(self) -> None:
        """Close the file; everything is saved already."""
        self._file.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    # The user's marks. Each call returns the change, or None if the value was so already.

    def set_verdict(self, neuron: Neuron, verdict: Verdict | None) -> Change | None:
        """Decide on a neuron; None takes the decision back."""
        with self._file.writing() as db:
            return events.change(db, neuron, Kind.VERDICT, verdict)

    def decide(self, neurons: Iterable[Neuron], verdict: Verdict | None) -> Decision:
        """Decide on many neurons in one step of undo; None takes their decisions back."""
        with self._file.writing() as db:
            return events.change_all(db, ((neuron, verdict) for neuron in neurons), Kind.VERDICT)

    def withdraw(self, decision: Decision) -> tuple[Change, ...]:
        """Make it as if ``decision`` had not been; nothing where a change of the user came after it."""
        with self._file.writing() as db:
            return events.withdraw(db, decision)

    def add_tags(self, neurons: Iterable[Neuron], tags: Collection[str]) -> Decision:
        """Add tags to many neurons in one step of undo. UsageError as ``set_tags``."""
        clean = events.clean_tags(tags)
        with self._file.writing() as db:
            wanted = ((neuron, events.clean_tags([*events.tags(db, neuron), *clean])) for neuron in neurons)
            return events.change_all(db, wanted, Kind.TAGS)

    def set_note(self, neuron: Neuron, note: str) -> Change | None:
        """Replace the note; an empty one removes it. UsageError if it is longer than ``NOTE_LIMIT``."""
        if len(note) > events.NOTE_LIMIT:
            raise UsageError(
                f"The note has {len(note)} characters.", f"At most {events.NOTE_LIMIT} fit; put the rest into a file."
            )
        with self._file.writing() as db:
            return events.change(db, neuron, Kind.NOTE, note)

    def set_tags(self, neuron: Neuron, tags: Collection[str]) -> Change | None:
        """Replace the tags. UsageError if one is too long or holds control characters (``clean_tags``)."""
        clean = events.clean_tags(tags)
        with self._file.writing() as db:
            return events.change(db, neuron, Kind.TAGS, clean)

    def set_bookmark(self, neuron: Neuron, bookmark: bool) -> Change | None:
        """Set or remove the bookmark."""
        with self._file.writing() as db:
            return events.change(db, neuron, Kind.BOOKMARK, bookmark)

    def choose_explanation(self, neuron: Neuron, explanation_id: int | None) -> Change | None:
        """Let an explanation lead, whatever comes after it; None: the newest again. UsageError if it is not there."""
        with self._file.writing() as db:
            if explanation_id is not None and self._neuron_of(explanation_id) != neuron:
                raise UsageError(f"{neuron} has no explanation {explanation_id}.")
            return events.change(db, neuron, Kind.LEAD, explanation_id)

    def undo(self) -> Change | None:
        """Undo the user's newest change, of whichever session; None if there is none.

        Changes that were made together are undone together; the last one is returned, and names the ``others``.

        Raises:
            NotebookError: if the neuron is not as that change left it; it is skipped from then on.
        """
        return self._step(back=True)

    def redo(self) -> Change | None:
        """Redo the change that was undone last; None if there is none, or another change came after.

        Raises:
            NotebookError: as ``undo``.
        """
        return self._step(back=False)

    def _step(self, *, back: bool) -> Change | None:
        with self._file.writing() as db:
            found = events.step(db, back=back, poled=self._poled)
        if not found:
            return None
        change, done = next((one for one in reversed(found) if one[1]), found[-1])
        if not done:
            raise NotebookError(
                f"The last change of {change.neuron} ({change.kind}) cannot be {'undone' if back else 'redone'}:"
                " it is not as that change left it.",
                "Nothing was changed; this step is skipped next time.",
            )
        return replace(change, others=tuple(other.neuron for other, fits in found if fits and other is not change))

    # Explanations and their scores, by a person, a paper or an API.

    def add_explanation(self, neuron: Neuron, explanation: Explanation) -> int:
        """Keep an explanation and return its id. Only a person's own can be undone. UsageError for a cost of NaN."""
        details = asdict(explanation)
        columns = [packed(details.pop(name)) for name in ("source", "model", "prompt_version", "created", "text")]
        kind = Kind.OWN_EXPLANATION if explanation.source is Source.USER else Kind.EXPLANATION
        with self._file.writing() as db:
            event = events.record(db, neuron, kind, None, explanation.text)
            db.execute(
                "INSERT INTO explanations (id, layer, idx, source, model, prompt_version, created, text, details)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (event, neuron.layer, neuron.index, *columns, to_json(details)),
            )
        return event

    def add_failure(self, neuron: Neuron, failure: FailedExplanation) -> None:
        """Keep a request that gave no explanation. UsageError for a cost of NaN."""
        with self._file.writing() as db:
            event = events.record(db, neuron, Kind.FAILURE, None, failure.reason)
            values = (event, neuron.layer, neuron.index, to_json(asdict(failure)))
            db.execute("INSERT INTO failures VALUES (?, ?, ?, ?)", values)

    def add_score(self, explanation_id: int, backend: str, body: Mapping[str, object], created: str) -> int:
        """Keep a score of an explanation and return its id.

        Args:
            body: what JSON can hold: None is fine, lists for tuples, str for keys.
            created: ISO 8601, UTC.

        Raises:
            UsageError: if there is no such explanation, or ``body`` holds NaN or infinity.
        """
        with self._file.writing() as db:
            neuron = self._neuron_of(explanation_id)
            if neuron is None:
                raise UsageError(f"The notebook has no explanation {explanation_id}.")
            event = events.record(db, neuron, Kind.SCORE, None, explanation_id)
            values = (event, explanation_id, packed(backend), packed(created), to_json(dict(body)))
            db.execute("INSERT INTO scores VALUES (?, ?, ?, ?, ?)", values)
        return event

    def add_own_score(self, neuron: Neuron, backend: str, body: Mapping[str, object], created: str) -> int:
        """Keep a score of the neuron itself, which needs no explanation, and return its id; as ``add_score``."""
        with self._file.writing() as db:
            event = events.record(db, neuron, Kind.SCORE, None, None)
            values = (event, neuron.layer, neuron.index, packed(backend), packed(created), to_json(dict(body)))
            db.execute("INSERT INTO own_scores VALUES (?, ?, ?, ?, ?, ?)", values)
        return event

    def add_check(self, check: CausalCheck) -> int:
        """Keep a causal check of a neuron or a set and return its id.

        Raises:
            UsageError: if it is of no neuron, of several without a name, too large, or holds NaN or infinity.
        """
        if not check.neurons or (len(check.neurons) > 1 and not check.of_set):
            raise UsageError("A check of several neurons needs a name, and any check a neuron.")
        first, body = check.neurons[0], check_to_json(check)
        where = (None, None) if check.of_set else (first.layer, first.index)
        with self._file.writing() as db:
            event = events.record(db, first, Kind.CHECK, None, check.word)
            db.execute("INSERT INTO checks VALUES (?, ?, ?, ?)", (event, *where, body))
        return event

    def take_in(self, person: str, reviews: Mapping[Neuron, Review], source: str) -> int | None:
        """Take in another person's verdicts, notes, tags and bookmarks beside one's own, which stay as they are.

        It is one change, which ``undo`` takes back as a whole. What was taken in of the same person before is kept,
        and seen again after ``undo``.

        Args:
            person: at most ``TAG_LIMIT`` characters, without control characters.
            source: the notebook that they are from, to be shown.

        Returns:
            how many neurons they are on; None if they are those that were taken in of this person last.

        Raises:
            UsageError: if there are none, or the name is empty, too long or cannot be shown.
        """
        name = events.clean_person(person)
        if not reviews:
            raise UsageError(f"There is nothing to take in: no verdict, note, tag or bookmark in {source}.")
        with self._file.writing() as db:
            if {n: replace(one, person=name) for n, one in reviews.items()} == self.reviews(name):
                return None
            event = events.record(db, min(reviews), Kind.COLLEAGUE, None, name)
            values = (event, packed(name), packed(source))
            db.execute("INSERT INTO merges (id, person, source) VALUES (?, ?, ?)", values)
            rows = [
                (event, *at, one.verdict, one.bookmark, to_json(one.tags), packed(one.note) if one.note else None)
                for at, one in (((neuron.layer, neuron.index), one) for neuron, one in reviews.items())
            ]
            db.executemany(
                "INSERT INTO reviews (merged, layer, idx, verdict, bookmark, tags, note) VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        return len(reviews)

    def set_resume(self, place: Resume) -> None:
        """Remember where the session is. It is not an event."""
        value = to_json(asdict(place) | {"neuron": str(place.neuron)})
        with self._file.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('resume', ?)", (value,))

    def changed(self) -> bool:
        """Whether another vlmscope has changed anything since the last call, or since this was opened."""
        before, self._seen = self._seen, self._file.data_version()
        return before != self._seen
