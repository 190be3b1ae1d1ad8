"""The session as a value, without a screen: moves, filters, orders, labels, and what each leaves to be painted."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.growing import Growing
from tests.support.worded import concepts_of
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.method.correlation import Pooled, ScoredGroup, TokenKind
from vlmscope.core.method.heatmap import ColourMap
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.notebook.texts import FoldedTexts, TextKind
from vlmscope.core.notebook.values import Entry, Mark, SavedExplanation, SavedScore, Verdict
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.store.concept_files import replace_concepts
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.worker.messages import MapAnswer, MapRequest, ModelStatus, Phase, PromotedAnswer
from vlmscope.tui.browse import incoming, moves
from vlmscope.tui.browse.answers import PROMOTED
from vlmscope.tui.browse.find import nothing
from vlmscope.tui.browse.place import read_places, written_places
from vlmscope.tui.browse.session import Session
from vlmscope.tui.command_line import read_command, read_search
from vlmscope.tui.views.columns import Columns, ListScore, Noted
from vlmscope.tui.views.filters import Decided, Filter, read_filter
from vlmscope.tui.views.history import PLACES, History, Place, place_of
from vlmscope.tui.views.scene import Changed, ControlCounts, Scene
from vlmscope.tui.views.score import place_of_newest
from vlmscope.tui.views.selection import Selection
from vlmscope.tui.views.state import Listed, Mode, Order, OwnPicture, Pane
from vlmscope.tui.widgets.bars import footer, in_all
from vlmscope.tui.widgets.neuron_list import list_title, sign_at
from vlmscope.tui.widgets.page.head import waiting

LIST, PAGE, LAYERS, TITLE, KEYS = Changed.LIST, Changed.PAGE, Changed.LAYERS, Changed.TITLE, Changed.KEYS


@pytest.fixture
def session(scan: Path) -> Session:
    made = Session(ScanStore(scan), name="small")
    made.load_page()
    return made


def moved(session: Session, changed: Changed) -> Changed:
    """A move with its page, as the screen makes it."""
    return changed | session.load_page()


def test_no_screen_library_is_needed() -> None:
    code = "import sys, vlmscope.tui.browse.session, vlmscope.tui.browse.moves; print('textual' in sys.modules)"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


# -- moves -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "expected"),
    [((1,), 1), ((1, 1), 2), ((1, 1, -1), 1), ((-1,), 0), ((40,), 31), ((40, 1), 31), ((8, -3), 5)],
)
def test_steps_stay_in_the_list(session: Session, steps: tuple[int, ...], expected: int) -> None:
    for by in steps:
        session.step(by)
    assert session.state.neuron == Neuron(0, expected)
    assert session.scene.cursor == expected
    assert session.scene.listed


def test_a_step_paints_list_and_page_and_nothing_else(session: Session) -> None:
    assert moved(session, session.step(1)) == LIST | PAGE
    assert moved(session, moves.to_layer(session, 1)[0]) == LIST | PAGE | LAYERS
    assert session.step(0) == Changed.NOTHING


def test_a_move_leaves_the_page_stale_until_it_is_loaded(session: Session) -> None:
    before = session.scene
    assert session.step(1) == LIST | PAGE
    assert session.scene.stale
    assert session.scene.picture is before.picture
    assert session.scene.firmness is None
    assert session.load_page() == PAGE
    picture, facts, meaning = session.scene.picture, session.scene.facts, session.scene.meaning
    assert not session.scene.stale
    assert picture is not None and picture.neuron == Neuron(0, 1)
    assert facts is not None and facts.neuron == Neuron(0, 1)
    assert meaning is not None and meaning.neuron == Neuron(0, 1)


def test_samples_step_to_both_ends_and_a_new_neuron_begins_at_its_first(session: Session) -> None:
    assert moves.to_sample(session, -1)[0] == Changed.NOTHING
    assert moved(session, moves.to_sample(session, 1)[0]) == PAGE
    assert session.state.rank == 1
    for _ in range(12):
        moves.to_sample(session, 1)
    assert session.state.rank == 7
    session.step(1)
    assert session.state.rank == 0


def test_layers_step_to_both_ends(session: Session) -> None:
    session.step(7)
    for layer in (-1, 4):
        assert moves.to_layer(session, layer) == (Changed.NOTHING, "")
    moves.to_layer(session, 3)
    assert session.state.neuron == Neuron(3, 7)
    session.set_filter(Filter(all_layers=True))
    moves.to_layer(session, 1)
    assert session.state.neuron == Neuron(1, 0)
    session.set_filter(Filter(layers=(1, 2)))
    assert moves.to_layer(session, 3) == (Changed.NOTHING, "No neuron of layer 3 is in this list.")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"colour_map": ColourMap.GREY}, PAGE),
        ({"mode": Mode.ZOOM}, PAGE | KEYS),
        ({"mode": Mode.STATISTICS, "pane": Pane.PAGE}, PAGE | KEYS),
        ({"pane": Pane.PAGE}, KEYS),
        ({"search": "trains"}, Changed.NOTHING),
        ({"order": Order.MAXIMUM}, LIST),
        ({"filter": Filter(all_layers=True)}, LIST),
        ({}, Changed.NOTHING),
    ],
)
def test_what_is_changed_is_painted_and_no_more(session: Session, changes: dict[str, object], parts: Changed) -> None:
    assert session.change_state(**changes) == parts


# -- filter, order, search ---------------------------------------------------------------------------------------------


def test_the_filter_keeps_one_label(session: Session) -> None:
    labels = session.scene.columns.labels
    kept = np.flatnonzero(labels.label[0] == Label.MULTIMODAL)
    session.set_filter(Filter(label=Label.MULTIMODAL))
    assert [neuron.index for neuron in map(session.scene.selection.at, range(len(kept)))] == kept.tolist()
    assert session.scene.listed
    session.go_row(len(kept) - 1)
    assert session.state.neuron == Neuron(0, int(kept[-1]))
    assert title_of(session.scene) == f"L0 · {len(kept)} neurons · multimodal · by index"
    session.set_filter(Filter())
    assert len(session.scene.selection) == 32


def test_the_filter_takes_all_layers_and_high_confidence(session: Session) -> None:
    firm = session.scene.columns.labels.high_confidence
    session.set_filter(Filter(high_confidence=True, all_layers=True))
    assert len(session.scene.selection) == int(firm.sum())
    session.go_row(len(session.scene.selection) - 1)
    assert session.state.neuron == Neuron(*divmod(int(np.flatnonzero(firm.ravel())[-1]), 32))


def test_an_empty_list_keeps_the_page(session: Session) -> None:
    session.set_filter(Filter(label=Label.UNKNOWN, high_confidence=True))
    session.set_filter(Filter(verdict=Decided.KEEP))
    assert len(session.scene.selection) == 0
    assert session.scene.cursor is None
    assert not session.scene.listed
    for changed in (session.step(1), session.go_row(0), session.step(-1)):
        assert changed == Changed.NOTHING
    assert session.state.neuron == Neuron(0, 0)
    assert moves.to_untriaged(session) == (Changed.NOTHING, "The list is empty.")


def test_a_neuron_that_is_not_listed_steps_to_its_neighbour(session: Session) -> None:
    labels = session.scene.columns.labels.label[0]
    outside = next(int(at) for at in range(1, 31) if labels[at] != Label.TEXT)
    inside = np.flatnonzero(labels == Label.TEXT)
    session.set_filter(Filter(label=Label.TEXT))
    session.go(Neuron(0, outside))
    assert not session.scene.listed
    session.step(1)
    assert session.state.neuron.index in inside
    assert session.scene.listed


@pytest.mark.parametrize("order", list(Order))
def test_sorting(session: Session, order: Order) -> None:
    columns, labels = session.scene.columns, session.scene.columns.labels
    by = {
        Order.INDEX: -np.arange(32),
        Order.MAXIMUM: session.store.maximum[0],
        Order.MARGIN: columns.margin[:32],
        Order.CONCEPT: np.zeros(32),
        Order.SCORE: np.zeros(32),
        Order.CLEAREST: columns.clearness[:32] + 10.0 * labels.high_confidence[0],
        Order.FRAGILE: 10.0 * columns.fragile[:32] - columns.margin[:32],
        Order.PREFERENCE: np.zeros(32),
        Order.MATCH: np.zeros(32),
    } | {Order(label.word): labels.votes[0, :, label] for label in Label}
    session.change_state(order=order)
    values = [float(by[order][session.scene.selection.at(row).index]) for row in range(32)]
    assert values == sorted(values, reverse=True)
    session.go_row(0)
    assert session.state.neuron == session.scene.selection.at(0)


def found_by(session: Session, text: str) -> Selection:
    """The neurons of this layer that a search means."""
    asked = read_search(text, session.state.neuron.layer, session.store.numbering)
    assert isinstance(asked, Filter)
    order = Order.MATCH if asked.words else Order.INDEX
    return session.select(replace(session.state, filter=asked.among(session.state.filter), order=order))


def test_a_label_search_steps_through_its_matches(session: Session) -> None:
    after = [int(hit) for hit in np.flatnonzero(session.scene.columns.labels.label[0] == Label.TEXT) if hit > 0]
    found = found_by(session, "here text")
    for by, at in ((1, after[0]), (1, after[1]), (-1, after[0])):
        moves.to_match(session, "text", found, by, strongest=False)
        assert session.state.neuron.index == at
    session.go_row(after[-1])
    assert "other end" in moves.to_match(session, "text", found, 1, strongest=False)[1]


@pytest.mark.parametrize("text", ["L2/N5", "2.5", "2:5", "2 5"])
def test_an_address_in_any_spelling_is_found(text: str) -> None:
    assert read_search(text, 1, Numbering(4, 32)) == Neuron(2, 5)
    assert read_search("30", 1, Numbering(4, 32)) == Neuron(1, 30)


def test_words_are_searched_strongest_first_and_within_the_filter(scan_copy: Path) -> None:
    store = ScanStore(scan_copy)
    placed = {(0, 3): (("train", 9.0),), (2, 7): (("train", 12.5),), (3, 1): (("dog", 7.0), ("train", 2.5))}
    replace_concepts(scan_copy, concepts_of(store, placed), store.manifest)
    session = Session(ScanStore(scan_copy))
    assert incoming.take_concepts(session) == LIST
    found = found_by(session, "trains")
    for by, neuron, place in ((1, Neuron(2, 7), 1), (1, Neuron(0, 3), 2), (1, Neuron(3, 1), 3), (1, Neuron(2, 7), 1)):
        _, note = moves.to_match(session, "trains", found, by, strongest=True)
        assert session.state.neuron == neuron
        assert note.startswith(f"trains: {place} of 3, strongest first.")
    session.text_hits[None, "trains"] = np.array([33])
    assert found_by(session, "trains").at(0) == Neuron(1, 1), "the user's own words come first"
    session.set_filter(Filter(layers=(3, 3)))
    found = found_by(session, "trains")
    assert [found.at(row) for row in range(len(found))] == [Neuron(3, 1)]
    assert "Similar words: train" in nothing(session, Filter(words="traim"))


def test_a_filter_keeps_what_all_its_terms_hold_for(scan_copy: Path) -> None:
    store = ScanStore(scan_copy)
    placed = {(0, 3): (("train", 9.0),), (2, 7): (("train", 12.5),), (3, 1): (("dog", 7.0), ("train", 2.5))}
    replace_concepts(scan_copy, concepts_of(store, placed), store.manifest)
    session = Session(ScanStore(scan_copy))
    incoming.take_concepts(session)
    texts = FoldedTexts(32)
    for flat, kind, text in ((3, TextKind.TAG, "Yard"), (71, TextKind.TAG, "yard 2"), (97, TextKind.NOTE, "in a yard")):
        texts.add(flat, kind, text)
    session.texts = texts
    marked = Mark(verdict=Verdict.KEEP)
    score = ListScore(0.4, independent=True)
    session.scene = replace(session.scene, noted=session.scene.noted.with_mark(Neuron(2, 7), marked, score))
    maximum = session.store.maximum.ravel()
    margin = session.scene.columns.margin
    for line, expected in {
        "train": [71, 3, 97],
        "train tag:yard": [3],
        "note:YARD": [97],
        'tag:"yard 2" keep': [71],
        "score>=.4 train": [71],
        "score<.4": [],
        "L0-2 train": [71, 3],
        "train L3": [97],
        "max>3": np.flatnonzero(maximum > 3).tolist(),
        "max>3 margin<=.5": np.flatnonzero((maximum > 3) & (margin <= 0.5)).tolist(),
        "strength=12.5": [71],
        "prefers:visual": [],
    }.items():
        filter_ = read_filter(line)
        order = Order.MATCH if filter_.words else Order.INDEX
        assert session.select(replace(session.state, filter=filter_, order=order)).rows.tolist() == expected, line


def test_places_are_gone_back_and_forward_to(session: Session) -> None:
    session.step(3)
    session.go(Neuron(2, 5))
    session.step(1)
    session.set_filter(Filter(label=Label.TEXT, all_layers=True))
    here = place_of(session.state)
    history = session.history
    assert [place.neuron for place in history.back] == [Neuron(0, 3), Neuron(2, 6)], "a step is not a jump"
    found = history.step(-1, here)
    assert found is not None
    place, back = found
    assert (place.neuron, place.listed) == (Neuron(2, 6), Listed())
    assert back.step(1, place) == (here, history)
    assert History().step(-1, here) is None
    for layer in range(300):
        history = history.leave(Place(Neuron(layer, 0), Listed(Filter(words="a b", layers=(1, 2)), Order.MATCH)))
    assert len(history.back) == PLACES
    kept = written_places(history, Listed(Filter(label=Label.TEXT)))
    assert read_places(kept, Numbering(300, 1)) == (history, Listed(Filter(label=Label.TEXT)))
    assert read_places(kept, Numbering(299, 1)) == (History(), None), "of another model"
    assert read_places("[]", Numbering(4, 32)) == (History(), None)


# -- labels and checkpoints --------------------------------------------------------------------------------------------


def test_other_thresholds_label_and_list_all_neurons_again(session: Session) -> None:
    wanted = Thresholds(T_v=9.5)
    session.wanted = wanted
    labels = session.store.labels(wanted)
    changed = incoming.take_labels(session, Columns(session.store, labels, None))
    assert changed == TITLE | LAYERS | LIST | PAGE
    assert session.state.thresholds == wanted
    assert session.scene.state.thresholds == wanted
    assert session.scene.columns.labels.label.tolist() == labels.label.tolist()
    assert session.scene.picture is not None and session.scene.picture.thresholds == wanted


def test_labels_that_nobody_waits_for_any_more_are_dropped(session: Session, scan: Path) -> None:
    early, late = Thresholds(T_v=9), Thresholds(T_v=1)
    session.wanted = late
    columns = {at: Columns(session.store, session.store.labels(at), None) for at in (early, late)}
    assert incoming.take_labels(session, columns[early]) == Changed.NOTHING
    assert incoming.take_labels(session, columns[late]) != Changed.NOTHING
    other = ScanStore(scan)
    assert incoming.take_labels(session, Columns(other, other.labels(late), None)) == Changed.NOTHING
    assert session.store is not other


def test_a_later_checkpoint_keeps_what_was_chosen(scan: Path, tmp_path: Path) -> None:
    growing = Growing(scan, tmp_path / "scan")
    growing.save(5)
    session = Session(ScanStore(growing.out))
    session.set_filter(Filter(all_layers=True))
    session.go(Neuron(2, 17))
    session.change_state(rank=4, mode=Mode.STATISTICS)
    session.load_page()
    facts, state = session.scene.facts, session.state
    growing.save(7, lean=0.5)
    store = ScanStore(growing.out)
    changed = incoming.replace_store(session, Columns(store, store.labels(session.wanted), None))
    assert changed & (TITLE | LAYERS | LIST | PAGE) == TITLE | LAYERS | LIST | PAGE
    session.load_page()
    assert session.store is store
    assert session.state == state
    assert session.scene.facts is not facts
    assert session.scene.columns.labels.valid == 7
    growing.close()


def test_the_control_is_counted_for_the_thresholds_of_now(session: Session) -> None:
    counts = ((1, 2, 3, 4),) * 4
    assert incoming.set_control(session, ControlCounts(Thresholds(T_v=9), counts)) == Changed.NOTHING
    assert incoming.set_control(session, ControlCounts(session.state.thresholds, counts)) == TITLE | LAYERS
    assert in_all(session.scene.control_counts or ()) == [4, 8, 12, 16]
    session.wanted = Thresholds(T_v=9)
    incoming.take_labels(session, Columns(session.store, session.store.labels(session.wanted), None))
    assert in_all(session.scene.control_counts or ()) == [0, 0, 0, 0], "it is on its way"


# -- the notebook ------------------------------------------------------------------------------------------------------


def noted(session: Session) -> Noted:
    return Noted.empty(session.store.layers, session.store.neurons)


def test_a_verdict_marks_its_row_and_counts(session: Session) -> None:
    incoming.take_noted(session, noted(session))
    changed = incoming.take_entry(session, Entry(Neuron(0, 0), verdict=Verdict.KEEP))
    assert changed == LIST | PAGE | LAYERS
    assert sign_at(session.scene, Neuron(0, 0)) == "✓   "
    assert session.scene.noted.progress == "triaged 1 of 128 · ✓1 ✗0 ?0"
    assert incoming.take_entry(session, Entry(Neuron(1, 5), bookmark=True)) == LIST
    assert sign_at(session.scene, Neuron(1, 5)) == " b  "


def test_a_list_by_verdict_follows_the_verdicts(session: Session) -> None:
    session.set_filter(Filter(verdict=Decided.NONE))
    assert len(session.scene.selection) == 32
    incoming.take_entry(session, Entry(Neuron(0, 0), verdict=Verdict.REJECT))
    assert len(session.scene.selection) == 31
    assert not session.scene.listed
    session.step(1)
    assert session.state.neuron == Neuron(0, 1)


def test_the_next_untriaged_neuron(session: Session) -> None:
    for index in (0, 1, 3):
        incoming.take_entry(session, Entry(Neuron(0, index), verdict=Verdict.KEEP))
    for expected in (2, 4):
        moves.to_untriaged(session)
        assert session.state.neuron == Neuron(0, expected)
    session.go_row(31)
    assert moves.to_untriaged(session)[1] == "From the list's beginning."
    assert session.state.neuron == Neuron(0, 2)
    session.set_filter(Filter(verdict=Decided.KEEP))
    assert "has a verdict" in moves.to_untriaged(session)[1]


def test_an_explanation_is_on_the_page_and_in_the_list_without_reading_the_notebook(session: Session) -> None:
    made = Explanation("a train at night", Source.USER, "2026-01-01T00:00:00+00:00")
    entry = Entry(Neuron(0, 0), explanations=(SavedExplanation(1, Neuron(0, 0), made, leads=True),))
    assert incoming.take_entry(session, entry) == LIST | PAGE
    assert session.scene.meaning is not None and session.scene.meaning.entry is entry
    assert sign_at(session.scene, Neuron(0, 0)) == "   e"
    session.step(1)
    assert incoming.take_entry(session, entry) == LIST, "the page is another neuron's"


def score(number: int, explanation: int, backend: str, value: float | None) -> SavedScore:
    pooled = Pooled(value, "" if value is not None else "constant", None, None, 20, 20, 9)
    pools = {TokenKind.VISUAL: dict.fromkeys(ScoredGroup, pooled)}
    report = ScoreReport(backend, backend != "lens", "trains", ("train",), pools, (), (), "")
    return SavedScore(number, Neuron(0, 0), explanation, backend, "2026", report.to_json())


def entry_of(neuron: Neuron, *scores: SavedScore, leading: int = 1) -> Entry:
    made = Explanation("a train at night", Source.USER, "2026-01-01T00:00:00+00:00")
    said = (SavedExplanation(at, neuron, made, at == leading) for at in (leading, 3 - leading))
    return Entry(neuron, explanations=tuple(said), scores=scores)


def test_independent_scores_sort_the_list_before_others(session: Session) -> None:
    session.change_state(order=Order.SCORE)
    incoming.take_entry(session, entry_of(Neuron(0, 9), score(3, 1, "lens", 0.9)))
    incoming.take_entry(session, entry_of(Neuron(0, 7), score(4, 1, "lens", 0.8), score(3, 1, "oracle", 0.1)))
    incoming.take_entry(session, entry_of(Neuron(0, 8), score(3, 1, "oracle", 0.4)))
    incoming.take_entry(session, entry_of(Neuron(0, 3), score(3, 1, "oracle", None)))
    assert [session.scene.selection.at(row).index for row in range(4)] == [8, 7, 9, 0]
    assert list_title(session.state.filter, session.state.order, 0, 32, 80).endswith("by score, independent first")


def test_another_explanation_that_leads_brings_its_own_score(session: Session) -> None:
    session.change_state(order=Order.SCORE)
    scores = score(4, 2, "oracle", 0.5), score(3, 1, "oracle", 0.9)
    for leading, expected in ((1, 0.9), (2, 0.5)):
        incoming.take_entry(session, entry_of(Neuron(0, 9), *scores, leading=leading))
        assert session.scene.noted.score[9] == np.float32(expected)
    incoming.take_entry(session, Entry(Neuron(0, 9)))
    assert np.isnan(session.scene.noted.score[9])


def test_the_score_page_goes_through_all_scores(session: Session) -> None:
    unread = SavedScore(6, Neuron(0, 0), 1, "later", "2026", {"format": 99})
    scores = (
        unread,
        score(5, 1, "lens", 0.14),
        score(4, 2, "grounded-sam2", 0.8),
        score(3, 1, "oracle", 0.69),
    )
    incoming.take_entry(session, entry_of(Neuron(0, 0), *scores))
    session.load_page()
    session.change_state(mode=Mode.SCORE)
    seen = []
    for _ in range(6):
        shown = session.scene.score
        assert shown is not None
        seen.append((shown.place, shown.report.backend if shown.report is not None else shown.problem[:7], shown.leads))
        assert shown.count == 4
        assert len(shown.others) == (3 if shown.report is None else 2)
        moves.to_score(session, 1)
    assert seen[:4] == [(0, "oracle", True), (1, "lens", True), (2, "grounded-sam2", False), (3, "A score", True)]
    assert seen[4] == seen[5] == seen[3], "the last one stays"
    moves.to_score(session, -1)
    assert session.scene.score is not None and session.scene.score.place == 2
    assert place_of_newest(entry_of(Neuron(0, 0), *scores[1:])) == 1
    session.step(1)
    assert session.state.score == 0


# -- the model ---------------------------------------------------------------------------------------------------------


def test_a_status_of_the_model_paints_the_title_alone(session: Session) -> None:
    phases = [ModelStatus(Phase.LOADING, "shards", at / 100) for at in range(100)]
    for status in (ModelStatus(Phase.STARTING), *phases, ModelStatus(Phase.READY)):
        assert incoming.set_model(session, status, asking=False, busy=False) == TITLE


def test_a_page_that_waits_for_a_map_follows_the_phase_and_not_the_share(session: Session) -> None:
    session.change_state(rank=3)
    session.load_page()
    loading = ModelStatus(Phase.LOADING, "shards", 0.1)
    assert incoming.set_model(session, loading, asking=True, busy=True) == TITLE | PAGE | KEYS
    assert waiting(session.scene) == "asking the model: loading"
    further = dataclasses.replace(loading, progress=0.2)
    assert incoming.set_model(session, further, asking=True, busy=True) == TITLE


def answer_of(image: str, sample: int | None, tokens: int) -> MapAnswer:
    layout = VisualLayout.plain(4, 4)
    request = MapRequest(Neuron(0, 0), image, "", "", sample)
    return MapAnswer.of(request, np.ones(len(layout), np.float32), layout, np.ones(tokens, np.float32))


def test_a_map_is_kept_for_what_it_is_of(session: Session) -> None:
    session.change_state(rank=3)
    session.load_page()
    picture = session.scene.picture
    assert picture is not None and picture.visual is None
    answer = answer_of("/there.jpg", picture.sample, 40)
    session.step(1)
    session.load_page()
    assert incoming.take_map(session, answer, picture.image) == Changed.NOTHING, "the page is another neuron's"
    session.go(Neuron(0, 0))
    session.change_state(rank=3)
    session.load_page()
    assert session.scene.picture is not None and session.scene.picture.exact


def test_the_own_picture_comes_and_goes(session: Session) -> None:
    own = OwnPicture("/mine.png", "What?", "USER: <image>", "A zebra.", ("A", " zebra."))
    session.change_state(mode=Mode.STATISTICS)
    assert moved(session, incoming.show_own(session, own)) & (PAGE | KEYS) == PAGE | KEYS
    assert (session.state.mode, session.state.pane) == (Mode.PICTURES, Pane.PAGE)
    assert rank_of(session.scene) is None
    assert moves.to_sample(session, 1)[1].startswith("Your own picture")
    late = answer_of("/mine.png", None, 2)
    incoming.take_map(session, late, "/mine.png")
    assert session.answers.maps
    incoming.leave_own(session)
    assert not session.answers.maps
    assert incoming.take_map(session, late, "/mine.png") == Changed.NOTHING
    assert not session.answers.maps


def test_promoted_tokens_are_shown_and_noted(session: Session) -> None:
    logits = np.ones(1, np.float32)
    assert incoming.note_promoted(session, Neuron(0, 0), "asking the model") == PAGE
    answer = PromotedAnswer(Neuron(0, 0), ("train",), logits, ("cake",), logits)
    assert incoming.take_promoted(session, answer) == PAGE
    assert session.scene.meaning is not None and session.scene.meaning.promoted is answer
    assert incoming.note_promoted(session, Neuron(2, 2), "no such layer") == Changed.NOTHING
    assert PROMOTED > 1


def test_work_on_a_neuron_shows_in_footer_and_words(session: Session) -> None:
    assert incoming.set_doing(session, "explain", Neuron(0, 0), "asking") == PAGE | KEYS
    assert incoming.set_doing(session, "score", Neuron(1, 1), "scoring") == Changed.NOTHING
    assert session.scene.meaning is not None and session.scene.meaning.asking == "asking"
    assert incoming.set_doing(session, "explain", Neuron(0, 0), "") == PAGE
    assert session.scene.working
    assert incoming.set_doing(session, "score", Neuron(1, 1), "") == KEYS
    assert session.change(spent="$0.01") == TITLE


# -- commands that are wrong -------------------------------------------------------------------------------------------


def test_a_command_is_read_against_the_state(session: Session) -> None:
    command = read_command("label visual", session.state, Numbering(4, 32))
    assert dataclasses.asdict(command)["filter"]["label"] is Label.VISUAL


# -- any sequence ------------------------------------------------------------------------------------------------------

FILTERS = st.builds(
    Filter,
    label=st.sampled_from([None, *Label]),
    high_confidence=st.booleans(),
    all_layers=st.booleans(),
    verdict=st.sampled_from([None, *Decided]),
    bookmarked=st.booleans(),
    fragile=st.booleans(),
    layers=st.sampled_from([None, (0, 0), (1, 2), (2, 9)]),
)
NEURONS = st.builds(Neuron, st.integers(0, 3), st.integers(0, 31))
ENTRIES = st.builds(
    Entry, NEURONS, verdict=st.sampled_from([None, *Verdict]), bookmark=st.booleans(), note=st.sampled_from(["", "x"])
)
THRESHOLDS = st.sampled_from([Thresholds(), Thresholds(T_v=9.5), Thresholds(T_v=0, n_v=1, T_t=0, n_t=1)])


def relabel(session: Session, at: Thresholds) -> Changed:
    session.wanted = at
    return incoming.take_labels(session, Columns(session.store, session.store.labels(at), None))


STEPS: st.SearchStrategy[Callable[[Session], Changed]] = st.one_of(
    st.integers(-40, 40).map(lambda by: lambda session: session.step(by)),
    st.integers(-2, 40).map(lambda row: lambda session: session.go_row(row)),
    st.integers(-1, 4).map(lambda layer: lambda session: moves.to_layer(session, layer)[0]),
    st.sampled_from([-1, 1]).map(lambda by: lambda session: moves.to_sample(session, by)[0]),
    st.just(lambda session: moves.to_untriaged(session)[0]),
    st.sampled_from([-1, 1]).map(
        lambda by: lambda session: moves.to_match(session, "", found_by(session, "high text"), by, strongest=False)[0]
    ),
    NEURONS.map(lambda neuron: lambda session: session.go(neuron)),
    FILTERS.map(lambda filter_: lambda session: session.set_filter(filter_)),
    st.sampled_from(list(Order)).map(lambda order: lambda session: session.change_state(order=order)),
    st.sampled_from(list(Mode)).map(lambda mode: lambda session: session.change_state(mode=mode)),
    st.sampled_from(list(ColourMap)).map(lambda which: lambda session: session.change_state(colour_map=which)),
    st.sampled_from(list(Pane)).map(lambda pane: lambda session: session.change_state(pane=pane)),
    ENTRIES.map(lambda entry: lambda session: incoming.take_entry(session, entry)),
    THRESHOLDS.map(lambda at: lambda session: relabel(session, at)),
    st.just(lambda session: session.load_page()),
    st.just(lambda session: incoming.show_own(session, OwnPicture("/x.png", "?", "p", "A b", ("A", " b")))),
    st.just(incoming.leave_own),
    st.booleans().map(
        lambda busy: lambda session: incoming.set_model(session, ModelStatus(Phase.BUSY), asking=busy, busy=busy)
    ),
)


def title_of(scene: Scene) -> str:
    state = scene.state
    return list_title(state.filter, state.order, state.neuron.layer, len(scene.selection), 200)


def rank_of(scene: Scene) -> int | None:
    return scene.state.rank if scene.state.own is None else None


def page(scene: Scene) -> tuple[object, ...]:
    state, store, labels = scene.state, scene.columns.store, scene.columns.labels
    at = (state.neuron.layer, state.neuron.index)
    own = (labels.label[at], *labels.votes[at], labels.valid, labels.high_confidence[at], store.maximum[at])
    chosen = (rank_of(scene), state.colour_map, state.mode, state.neuron)
    held = (scene.picture, scene.facts, scene.meaning, scene.score, scene.firmness, scene.stale, scene.listed)
    votes = tuple(store.votes(state.neuron, state.thresholds).tolist())
    return own, chosen, held, votes, waiting(scene), scene.problem, store.manifest.text_tokens_max


#: What each part shows: what its widget reads of the scene.
VIEWS: dict[Changed, Callable[[Scene], tuple[object, ...]]] = {
    TITLE: lambda scene: (
        scene.scan_name,
        scene.columns.store.manifest,
        in_all(scene.counts),
        scene.control_counts,
        scene.state.thresholds,
        scene.status,
        scene.spent,
        scene.scan_progress,
    ),
    LAYERS: lambda scene: (
        scene.columns.store.manifest,
        scene.counts,
        scene.control_counts,
        scene.state.neuron.layer,
        scene.noted.progress,
        scene.scan_progress,
    ),
    LIST: lambda scene: (
        title_of(scene),
        scene.noted.progress,
        scene.selection,
        scene.columns.labels,
        scene.columns.store,
        scene.columns.concepts,
        scene.has_concepts,
        scene.cursor,
        scene.listed,
        scene.state.filter,
        [sign_at(scene, scene.selection.at(row)) for row in range(len(scene.selection))],
    ),
    PAGE: page,
    KEYS: lambda scene: (footer(scene, narrow=True), scene.state.mode is Mode.ZOOM, scene.state.pane),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScanStore]:
    folder = tmp_path_factory.mktemp("scans") / "small"
    write_synthetic_scan(folder, layers=4, neurons=32, samples=12, top_n=8, maps=3, grid=(4, 4), image=32)
    yield ScanStore(folder)


@settings(max_examples=200)
@given(steps=st.lists(STEPS, max_size=25))
def test_any_steps_leave_a_consistent_session(shared: ScanStore, steps: list[Callable[[Session], Changed]]) -> None:
    session = Session(shared)
    for step in steps:
        before = session.scene
        changed = step(session)
        scene = session.scene
        rows, cursor = scene.selection.rows, scene.cursor
        assert (cursor is None) == (len(rows) == 0)
        if cursor is not None:
            assert 0 <= cursor < len(rows)
            assert scene.listed == (scene.selection.at(cursor) == scene.state.neuron)
            assert scene.listed == (scene.state.neuron.layer * 32 + scene.state.neuron.index in rows)
        assert 0 <= scene.state.rank < 8
        assert scene.columns.labels.thresholds == scene.state.thresholds
        if not scene.stale:
            assert scene.meaning is not None and scene.meaning.neuron == scene.state.neuron
            assert scene.facts is not None and scene.facts.neuron == scene.state.neuron
        for part, view in VIEWS.items():
            if view(before) != view(scene):
                assert part in changed, part


def test_a_thousand_steps_need_no_app(session: Session) -> None:
    for _ in range(1000):
        session.step(1)
        moves.to_layer(session, (session.state.neuron.layer + 1) % 4)
    assert session.scene.listed
