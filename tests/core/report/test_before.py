"""What version 0.1.0 wrote is read, and written again byte for byte.

``tests/fixtures/before_demo``: the dump of a notebook of the demo that 0.1.0 filled, and its reports on four neurons.
"""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.errors import NotebookError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.notebook.codec import from_json, to_json
from vlmscope.core.notebook.explanation import Source
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Kind, Resume, Verdict
from vlmscope.core.report.write import Format, write_report
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.store.reader import ScanStore

BEFORE = Path(__file__).parents[2] / "fixtures" / "before_demo"
NEURONS = (Neuron(0, 0), Neuron(1, 3), Neuron(2, 5), Neuron(3, 7))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "notes.sqlite"
    with closing(sqlite3.connect(made)) as db:
        db.executescript((BEFORE / "notebook.sql").read_text(encoding="utf-8"))
    return made


@pytest.fixture
def store() -> ScanStore:
    return ScanStore(scan_folder("demo"))


@pytest.fixture
def notebook(path: Path, store: ScanStore) -> Iterator[Notebook]:
    with Notebook.open(path, store.manifest.scan_id) as opened:
        yield opened


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def test_scores_are_read_and_written_byte_for_byte(notebook: Notebook, path: Path) -> None:
    stored: dict[object, object] = dict(rows(path, "SELECT id, body FROM scores"))
    saved = [score for neuron in NEURONS for score in notebook.scores(neuron)]
    assert sorted(score.backend for score in saved) == ["later", "lens", "lens", "mine", "oracle", "oracle"]
    for score in saved:
        if score.backend in ("lens", "oracle"):
            assert to_json(ScoreReport.from_json(score.body).to_json()) == stored[score.id]
        else:
            with pytest.raises(NotebookError, match="cannot be read"):
                ScoreReport.from_json(score.body)
        assert to_json(from_json(stored[score.id])) == stored[score.id]


def test_explanations_and_failures_are_read_and_written_byte_for_byte(notebook: Notebook, path: Path) -> None:
    columns = "source, model, prompt_version, created, text, details"
    newest = "SELECT max(id) FROM"
    seen = set()
    for neuron in NEURONS:
        for saved in notebook.explanations(neuron):
            seen.add(saved.explanation.source)
            again = notebook.add_explanation(neuron, saved.explanation)
            before, after = (
                rows(path, f"SELECT {columns} FROM explanations WHERE id = {one}") for one in (saved.id, again)
            )
            assert before == after
        for failure in notebook.failures(neuron):
            bodies = {body for (body,) in rows(path, "SELECT body FROM failures")}
            notebook.add_failure(neuron, failure)
            assert rows(path, f"SELECT body FROM failures WHERE id = ({newest} failures)")[0][0] in bodies
    assert seen == set(Source)


def verdicts_of(notebook: Notebook) -> Counter[Verdict]:
    return Counter(mark.verdict for mark in notebook.marks().values() if mark.verdict is not None)


def test_marks_undo_and_place_go_on(notebook: Notebook) -> None:
    assert verdicts_of(notebook) == {Verdict.KEEP: 2, Verdict.REJECT: 1}
    assert notebook.resume() == Resume(NEURONS[1], "label visual", "max")
    kinds = []
    while (change := notebook.undo()) is not None:
        kinds.append(change.kind)
    assert set(kinds) == {one for one in Kind if one.undoable} - {Kind.COLLEAGUE}  # which came later
    redone = 0
    while notebook.redo() is not None:
        redone += 1
    assert redone == len(kinds)
    assert verdicts_of(notebook) == {Verdict.KEEP: 2, Verdict.REJECT: 1}


@pytest.mark.parametrize("form", Format)
def test_a_report_is_the_same_but_for_the_names_of_scores(
    notebook: Notebook, store: ScanStore, tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmscope.core.report.collect.version", lambda _: "0.1.0")
    expected = (BEFORE / form.file).read_bytes()
    when = datetime.fromisoformat(json.loads((BEFORE / "report.json").read_bytes())["created"])
    written = write_report(tmp_path / "out", store, notebook, NEURONS, Thresholds(), form, when=when, samples=1)
    created = b"- Date: " if form is Format.MARKDOWN else b' "created": '
    text = written.file.read_bytes()
    now, before = (
        [line for line in one.splitlines() if not line.startswith(created)]
        for one in (text if form is Format.MARKDOWN else _without_added(text), expected)
    )
    if form is Format.MARKDOWN:
        now = _without_added_lines(now)
        # The table's scores have names now, and those of the model itself are named so. Nothing else has changed.
        legend = next(at for at, line in enumerate(now) if line.startswith(b"A score is Pearson's correlation"))
        del now[legend - 1 : legend + 1]
        assert [row.split(b" | ")[-1] for row in now if row.startswith(b"| [L")] == [
            b"visual, top+random: Pearson 0.00 \\[-0.01, 0.02\\] by oracle;"
            b" text, top+random: Pearson 0.14 \\[0.07, 0.21\\] by lens (not independent) |",
            b"visual, top: Pearson 0.25 by later; Pearson n/a by mine |",
            b"visual, top+random: Pearson 0.09 \\[0.05, 0.13\\] by lens (not independent);"
            b" text, top+random: Pearson -0.02 \\[-0.03, -0.00\\] by lens (not independent) |",
            b" |",
        ]
        now, before = ([_without_names(line) for line in lines] for lines in (now, before))
    assert now == before


def _without_added(text: bytes) -> bytes:
    """A JSON report without the fields that came later, in which there is nothing."""
    report = json.loads(text)
    assert report.pop("sets") == []
    for name in ("checks", "reviews", "own_scores"):
        assert [neuron.pop(name) for neuron in report["neurons"]] == [[]] * len(NEURONS)
    for neuron in report["neurons"]:
        assert set(neuron.pop("firmness")) == {"share", "margin", "sign_p", "low", "high", "fragile"}
        for sample in neuron["samples"]:
            assert len(sample.pop("above")) >= len(sample["words"])
    return (json.dumps(report, indent=1) + "\n").encode()


def _without_added_lines(lines: list[bytes]) -> list[bytes]:
    """A report without its title, the line on the method, that on the pictures, firmness, and bold words."""
    assert lines[0] == b"# 4 neurons of demo, on 1,500 samples of demo"
    kept, added = [b"# Neurons"], 0
    for line in lines[1:]:
        if line.startswith((b"- Vote: share ", b"Activations at the hook point", b"A picture has ", b"*fragile*: ")):
            added += 1
            if not line.startswith(b"-"):
                assert kept.pop() == b""
            continue
        kept.append(re.sub(rb"\*\*(\S+?)\*\*", rb"\1", line) if line.startswith(b"> ") else line)
        kept[-1] = kept[-1].replace(" · fragile".encode(), b"")
    assert added in (len(NEURONS) + 2, len(NEURONS) + 3)
    return kept


def _without_names(line: bytes) -> bytes:
    """A line of a report without the table's score, and without the words after a simulator's name."""
    return line.rpartition(b" | ")[0] if line.startswith(b"| [L") else line.replace(b" (not independent)", b"")
