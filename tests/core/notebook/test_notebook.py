"""What is put into a notebook comes out of it, by whatever way, and can be undone."""

import math
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.checks import check
from tests.support.notebook_model import (
    DATE,
    NAMES,
    NEURONS,
    SCAN,
    SIZE,
    Model,
    Step,
    by_api,
    differences,
    failed,
    own,
    take,
)
from vlmscope.core.base.errors import NotebookError, UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook import notebook as module
from vlmscope.core.notebook.events import NOTE_LIMIT, clean_tags
from vlmscope.core.notebook.notebook import Notebook, note_on_path, notebook_path
from vlmscope.core.notebook.texts import FoldedTexts, TextKind
from vlmscope.core.notebook.values import Change, Entry, Kind, Mark, Resume, Verdict

A, B, C = NEURONS
HOSTILE = [
    "[bold red]no[/] [link=x]",
    "<script>alert(1)</script> # **md** | cell |",
    "\x1b[2J\x1b]0;title\x07\x9b31m",
    "abc \u202e dcba \u2066\ufeff",
    "nul \x00 in the middle\x00",
    "\ud800 lone, \ud83d\ude00 two of them side by side",
    "\r\n\r \u2028\u0085",
    '"; DROP TABLE neurons; --\\u0000',
    "é e\u0301 😀",
    "line\n" * (4 * 1024 * 1024 // 5),
    "😀" * (1024 * 1024),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "folder" / "notes.sqlite"


@pytest.fixture
def notebook(path: Path) -> Iterator[Notebook]:
    with Notebook.open(path, SCAN) as opened:
        yield opened


def reopened(notebook: Notebook) -> Notebook:
    notebook.close()
    return Notebook.open(notebook.path, SCAN)


def test_a_new_notebook_is_empty(notebook: Notebook) -> None:
    assert notebook.entry(A) == Entry(A)
    assert notebook.marks() == {}
    assert list(notebook.each_text()) == []
    assert not notebook.mark_bits(32, 8).any()
    assert notebook.resume() is None
    assert (notebook.undo(), notebook.redo(), notebook.changed()) == (None, None, False)


def test_everything_is_there_when_it_is_opened_again(notebook: Notebook) -> None:
    notebook.set_verdict(A, Verdict.KEEP)
    notebook.set_note(A, "wheels, not cars")
    notebook.set_tags(A, {"wheel", "Street"})
    notebook.set_bookmark(A, True)
    first = notebook.add_explanation(A, by_api(1))
    second = notebook.add_explanation(A, own(2))
    score = notebook.add_score(first, "clip", {"r": 0.5, "interval": [0.1, None]}, DATE)
    notebook.add_failure(A, failed(3))
    notebook.set_resume(Resume(A, "label visual", "max"))
    entry = reopened(notebook).entry(A)
    assert (entry.verdict, entry.note, entry.tags, entry.bookmark) == (
        Verdict.KEEP,
        "wheels, not cars",
        ("Street", "wheel"),
        True,
    )
    assert [(one.id, one.explanation, one.leads) for one in entry.explanations] == [
        (second, own(2), True),
        (first, by_api(1), False),
    ]
    assert entry.failure == failed(3)
    assert [(one.id, one.neuron, one.explanation_id, one.body) for one in entry.scores] == [
        (score, A, first, {"r": 0.5, "interval": [0.1, None]})
    ]
    with Notebook.open(notebook.path, SCAN) as again:
        assert again.entry(B) == Entry(B)
        assert again.resume() == Resume(A, "label visual", "max")


def test_a_change_says_what_it_was_and_nothing_twice(notebook: Notebook) -> None:
    assert notebook.set_verdict(A, Verdict.KEEP) == Change(A, Kind.VERDICT, None, Verdict.KEEP)
    assert notebook.set_verdict(A, Verdict.KEEP) is None
    assert notebook.set_verdict(A, None) == Change(A, Kind.VERDICT, Verdict.KEEP, None)
    assert notebook.undo() == Change(A, Kind.VERDICT, None, Verdict.KEEP)
    assert notebook.undo() == Change(A, Kind.VERDICT, Verdict.KEEP, None)
    assert notebook.undo() is None
    assert notebook.redo() == Change(A, Kind.VERDICT, None, Verdict.KEEP)
    assert notebook.set_tags(B, ["x"]) == Change(B, Kind.TAGS, (), ("x",))
    assert notebook.redo() is None


def test_undo_and_redo_reach_into_an_earlier_session(notebook: Notebook) -> None:
    notebook.set_note(A, "one")
    notebook.set_note(A, "two")
    notebook.undo()
    with reopened(notebook) as later:
        assert later.redo() == Change(A, Kind.NOTE, "one", "two")
        assert later.undo() == Change(A, Kind.NOTE, "two", "one")
        assert later.undo() == Change(A, Kind.NOTE, "one", "")
        assert later.entry(A) == Entry(A)


def test_what_an_api_gave_is_not_undone_and_ends_no_redo(notebook: Notebook) -> None:
    notebook.set_bookmark(A, True)
    notebook.undo()
    explanation = notebook.add_explanation(A, by_api(1))
    notebook.add_score(explanation, "clip", {}, DATE)
    notebook.add_failure(A, failed(1))
    assert notebook.undo() is None
    assert notebook.redo() == Change(A, Kind.BOOKMARK, False, True)
    assert [one.id for one in notebook.explanations(A)] == [explanation]


def test_an_own_explanation_goes_with_its_scores_and_comes_back_the_same(notebook: Notebook) -> None:
    identity = notebook.add_explanation(A, own(1))
    notebook.add_score(identity, "clip", {}, DATE)
    before = notebook.entry(A)
    assert notebook.undo() == Change(A, Kind.OWN_EXPLANATION, "mine 1", None)
    assert notebook.entry(A) == Entry(A)
    assert notebook.marks() == {}
    with pytest.raises(UsageError, match="no explanation"):
        notebook.choose_explanation(A, identity)
    with pytest.raises(UsageError, match="no explanation"):
        notebook.add_score(identity, "clip", {}, DATE)
    notebook.redo()
    assert notebook.entry(A) == before


def test_the_newest_explanation_leads_unless_one_was_chosen(notebook: Notebook) -> None:
    first = notebook.add_explanation(A, by_api(1))
    second = notebook.add_explanation(A, by_api(2))
    assert [one.id for one in notebook.explanations(A)] == [second, first]
    notebook.choose_explanation(A, first)
    third = notebook.add_explanation(A, by_api(3))
    assert [(one.id, one.leads) for one in notebook.explanations(A)] == [(first, True), (third, False), (second, False)]
    notebook.choose_explanation(A, None)
    assert [(one.id, one.leads) for one in notebook.explanations(A)] == [(third, True), (second, False), (first, False)]
    for neuron, identity in ((B, first), (A, 999)):
        with pytest.raises(UsageError, match=f"no explanation {identity}"):
            notebook.choose_explanation(neuron, identity)


def test_a_failure_counts_until_an_explanation_comes(notebook: Notebook) -> None:
    notebook.add_failure(A, failed(1))
    notebook.add_failure(A, failed(2))
    assert notebook.entry(A).failure == failed(2)
    notebook.add_explanation(A, by_api(1))
    assert notebook.entry(A).failure is None
    assert notebook.failures(A) == (failed(2), failed(1))
    assert notebook.marks() == {A: Mark(explained=True, failed=True)}


def test_marks_say_what_there_is(notebook: Notebook) -> None:
    notebook.set_verdict(A, Verdict.UNSURE)
    notebook.set_note(B, "x")
    notebook.set_tags(B, ["x", "y"])
    notebook.add_score(notebook.add_explanation(C, by_api(1)), "clip", {}, DATE)
    large = Neuron(999_999, 999_999_999)
    notebook.set_bookmark(large, True)
    assert notebook.marks() == {
        A: Mark(verdict=Verdict.UNSURE),
        B: Mark(has_note=True, has_tags=True),
        C: Mark(explained=True, scored=True),
        large: Mark(bookmark=True),
    }


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_any_text_survives(notebook: Notebook, text: str) -> None:
    notebook.set_note(A, text)
    notebook.add_explanation(A, replace(by_api(1), text=text, text_cue=text, visual_phrases=(text,), model=text))
    notebook.add_explanation(A, replace(own(1), text=text))
    notebook.add_failure(B, replace(failed(1), reason=text, model=text))
    notebook.add_score(notebook.explanations(A)[0].id, text, {"why": text}, DATE)
    notebook.set_resume(Resume(A, text, text))
    before = notebook.entry(A)
    assert notebook.undo() is not None
    assert notebook.redo() == Change(A, Kind.OWN_EXPLANATION, None, text)
    with reopened(notebook) as again:
        assert again.entry(A) == before
        assert before.note == text
        assert [one.explanation.text for one in before.explanations] == [text, text]
        assert before.explanations[1].explanation.visual_phrases == (text,)
        assert [(one.backend, one.body) for one in before.scores] == [(text, {"why": text})]
        assert again.failures(B) == (replace(failed(1), reason=text, model=text),)
        assert again.resume() == Resume(A, text, text)
        assert before.explanations[1].explanation.model == text
        assert [found for *_, found in again.each_text()] == [text, text, text]


def test_a_note_has_a_limit(notebook: Notebook) -> None:
    notebook.set_note(A, "n" * NOTE_LIMIT)
    with pytest.raises(UsageError, match="4194305"):
        notebook.set_note(A, "n" * (NOTE_LIMIT + 1))
    assert len(notebook.entry(A).note) == NOTE_LIMIT


def test_tags_are_cleaned() -> None:
    assert clean_tags([" b", "", "  ", "Car", "car", "ÄRGER", "a\u0308rger", "b"]) == ("b", "Car", "a\u0308rger")
    assert clean_tags({"straße", "STRASSE"}) == ("STRASSE",)
    assert clean_tags(["x" * 64]) == ("x" * 64,)
    for bad in ("x" * 65, "a\nb", "a\x1b[1m", "a\u202eb", "\ud800", "a\x00"):
        with pytest.raises(UsageError, match="tag"):
            clean_tags([bad])


def test_a_tag_may_change_its_capitals(notebook: Notebook) -> None:
    notebook.set_tags(A, ["Car"])
    assert notebook.set_tags(A, ["car"]) == Change(A, Kind.TAGS, ("Car",), ("car",))
    assert notebook.entry(A).tags == ("car",)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused_and_leave_nothing(notebook: Notebook, number: float) -> None:
    identity = notebook.add_explanation(A, by_api(1))
    before = notebook.entry(A)
    with pytest.raises(UsageError, match="cannot keep"):
        notebook.add_score(identity, "clip", {"r": [number]}, DATE)
    with pytest.raises(UsageError, match="cannot keep"):
        notebook.add_explanation(A, replace(own(1), cost_usd=number))
    assert notebook.entry(A) == before
    assert notebook.undo() is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_check_of_no_number_is_refused_and_leaves_nothing(notebook: Notebook, number: float) -> None:
    with pytest.raises(UsageError, match="cannot keep"):
        notebook.add_check(check(A, effect=number))
    assert notebook.checks(A) == ()


def test_a_check_names_its_neurons_and_has_bounds(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (check(), check(name="kept"), check(A, B)):
        with pytest.raises(UsageError, match="needs a name"):
            notebook.add_check(wrong)
    monkeypatch.setattr("vlmscope.core.notebook.codec.JSON_VALUES", 100)
    with pytest.raises(UsageError, match="too large"):
        notebook.add_check(check(A))
    assert notebook.checked_neurons() == []
    assert notebook.undo() is None


def test_of_a_neuron_and_word_the_newest_check_counts(notebook: Notebook) -> None:
    for neuron, word, p in ((B, "dog", 0.05), (A, "cat", 0.5), (A, "dog", 0.3), (A, "cat", None)):
        notebook.add_check(check(neuron, word=word, p=p))
    notebook.add_check(check(A, B, name="kept"))
    found = [(saved.check.neurons[0], saved.check.word, saved.check.p) for saved in notebook.newest_checks()]
    assert found == [(A, "cat", None), (A, "dog", 0.3), (B, "dog", 0.05)]
    assert [saved.check.p for saved in notebook.checks(A)] == [None, 0.3, 0.5]
    assert notebook.undo() is None  # a check stays


def test_texts_are_those_that_are_there(notebook: Notebook) -> None:
    notebook.set_note(A, "note")
    notebook.set_note(B, "gone")
    notebook.set_note(B, "")
    notebook.set_tags(C, ["t1", "t2"])
    notebook.add_explanation(B, by_api(4))
    notebook.add_explanation(B, own(5))
    notebook.add_explanation(B, own(6))
    notebook.undo()
    assert set(notebook.each_text()) == {
        ("note", *at(A), "note"),
        ("tag", *at(C), "t1"),
        ("tag", *at(C), "t2"),
        ("explanation", *at(B), "cars 4"),
        ("explanation", *at(B), "mine 5"),
    }


def at(neuron: Neuron) -> tuple[int, int]:
    return neuron.layer, neuron.index


def found_in(notebook: Notebook, words: str, kind: TextKind | None = None) -> list[int]:
    """What a search finds, by both ways."""
    texts = notebook.texts(*SIZE)
    assert texts is not None
    found: list[int] = texts.find(words, kind).tolist()
    assert notebook.with_text(words, *SIZE, kind).tolist() == found
    return found


def test_a_search_ignores_case_and_keeps_to_the_model(notebook: Notebook) -> None:
    notebook.set_note(A, "A Straße\nof TRAINS")
    notebook.set_tags(A, ["Rail"])
    notebook.set_note(B, "rails")
    notebook.set_note(Neuron(2, SIZE[1]), "rails of another model")
    notebook.set_note(Neuron(SIZE[0], 2), "rails of another model")
    first, second = (neuron.layer * SIZE[1] + neuron.index for neuron in (A, B))
    assert found_in(notebook, "RAIL") == sorted([first, second])
    assert found_in(notebook, "strasse") == [first]
    assert found_in(notebook, "trainsrail") == [], "two texts are not one"
    assert found_in(notebook, "another") == []
    assert found_in(notebook, "rail", TextKind.NOTE) == [second]
    assert found_in(notebook, "Rail", TextKind.TAG) == [first]
    assert found_in(notebook, "rai", TextKind.TAG) == [], "a tag is meant as a whole"


def test_more_texts_than_are_kept_are_searched_where_they_are(notebook: Notebook) -> None:
    notebook.set_note(A, "x" * 100)
    notebook.set_note(B, "y" * 100)
    assert notebook.texts(*SIZE, most=199) is None
    assert notebook.texts(*SIZE, most=200) is not None
    assert notebook.with_text("y", *SIZE).tolist() == [B.layer * SIZE[1] + B.index]


def test_texts_that_are_kept_follow_the_entries(notebook: Notebook) -> None:
    texts = FoldedTexts(SIZE[1])
    for change in (
        lambda: notebook.set_note(A, "one Two"),
        lambda: notebook.set_tags(A, ["three"]),
        lambda: notebook.add_explanation(A, own(5)),
        notebook.undo,
        lambda: notebook.set_note(A, ""),
        notebook.redo,
        lambda: notebook.set_tags(A, []),
    ):
        change()
        texts.put(notebook.entry(A))
        again = notebook.texts(*SIZE)
        assert again is not None
        assert (vars(texts), texts.characters) == (vars(again), again.characters)


def test_marks_in_bits_are_the_marks() -> None:
    for bits in range(256):
        assert Mark.of_bits(bits).bits == bits
    assert Mark.of_bits(0) == Mark()
    assert Mark.of_bits(Mark(Verdict.UNSURE, has_tags=True).bits) == Mark(Verdict.UNSURE, has_tags=True)


def test_it_is_used_by_another_thread_than_it_was_opened_in(notebook: Notebook) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(notebook.set_verdict, A, Verdict.KEEP).result() is not None
    assert [mark.verdict for mark in notebook.marks().values()] == [Verdict.KEEP]


def test_two_vlmscopes_on_one_notebook(notebook: Notebook) -> None:
    with Notebook.open(notebook.path, SCAN) as other:
        notebook.set_verdict(A, Verdict.KEEP)
        assert not notebook.changed()
        assert other.changed()
        assert not other.changed()
        other.set_verdict(A, Verdict.REJECT)
        other.set_note(B, "from the other")
        assert notebook.changed()
        assert notebook.marks() == {A: Mark(verdict=Verdict.REJECT), B: Mark(has_note=True)}
        assert notebook.undo() == Change(B, Kind.NOTE, "from the other", "")
        assert notebook.undo() == Change(A, Kind.VERDICT, Verdict.REJECT, Verdict.KEEP)
        assert other.undo() == Change(A, Kind.VERDICT, Verdict.KEEP, None)
        assert notebook.redo() == Change(A, Kind.VERDICT, None, Verdict.KEEP)
        other.set_bookmark(C, True)
        assert notebook.redo() is None
        assert notebook.entry(C).bookmark


def test_an_event_that_no_longer_fits_is_skipped(notebook: Notebook) -> None:
    notebook.set_bookmark(B, True)
    notebook.set_verdict(A, Verdict.KEEP)
    notebook._file.connection.execute("UPDATE neurons SET verdict = 'reject' WHERE idx = 0")
    with pytest.raises(NotebookError, match="L0/N0"):
        notebook.undo()
    assert notebook.entry(A).verdict is Verdict.REJECT
    assert notebook.undo() == Change(B, Kind.BOOKMARK, True, False)
    assert notebook.redo() == Change(B, Kind.BOOKMARK, False, True)
    assert notebook.redo() is None


steps = st.tuples(st.sampled_from(NAMES), st.sampled_from(NEURONS), st.integers(0, 11))


@given(st.lists(st.tuples(steps, st.integers(0, 2)), max_size=40))
def test_any_sequence_equals_the_model(sequence: list[tuple[Step, int]]) -> None:
    """By two vlmscopes in turn; at 2 the first one ends and starts again."""
    with tempfile.TemporaryDirectory() as folder:
        path, model = Path(folder) / "notes.sqlite", Model()
        books = [Notebook.open(path, SCAN), Notebook.open(path, SCAN)]
        for step, who in sequence:
            if who == 2:
                books[0].close()
                books[0] = Notebook.open(path, SCAN)
            take(books[who % 2], step)
            take(model, step)
            assert differences(books[1 - who % 2], model) == []
        for book in books:
            book.close()


def test_where_the_notebook_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "data_folder", lambda: tmp_path / "data")
    scan = tmp_path / "scans" / "my scan"
    scan.mkdir(parents=True)
    beside = tmp_path / "scans" / "my scan.notebook.sqlite"
    at_home = tmp_path / "data" / "notebooks" / f"{SCAN}.sqlite"
    assert notebook_path(SCAN, scan, "data") == at_home
    assert notebook_path(SCAN, scan, "beside") == beside
    assert notebook_path(SCAN, scan, str(tmp_path / "mine")) == tmp_path / "mine" / f"{SCAN}.sqlite"
    assert notebook_path(SCAN, scan, "~/mine").parent == Path.home() / "mine"
    assert note_on_path(SCAN, scan, "data") == ""
    beside.touch()
    assert notebook_path(SCAN, scan, "data") == beside
    assert str(beside) in note_on_path(SCAN, scan, "data")
    assert note_on_path(SCAN, scan, "beside") == note_on_path(SCAN, scan, "~/mine") == ""
    monkeypatch.chdir(scan)
    assert notebook_path(SCAN, Path(), "data") == beside


def test_no_two_scans_share_a_file(tmp_path: Path) -> None:
    identities = ["a", "A", "a/b", "a-b", "a b", "../../etc/passwd", "", ".", "\x00", "\ud800", "x" * 64, "x" * 65, "ä"]
    paths = [notebook_path(identity, tmp_path, "/folder") for identity in identities]
    assert len({str(path).casefold() for path in paths}) == len(identities)
    assert (
        notebook_path(paths[1].stem, tmp_path, "/folder") not in paths
    )  # an identity that looks like a name made here
    assert all(path.parent == Path("/folder") and len(path.name) < 200 for path in paths)
