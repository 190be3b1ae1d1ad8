"""A pinned neuron and others beside it, on the same sample."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.screen_app import running
from tests.tui.widgets.test_parts import PLAIN
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.worker.messages import MapAnswer
from vlmscope.tui.browse import incoming, moves
from vlmscope.tui.browse.session import Session
from vlmscope.tui.views.evidence import sample_evidence
from vlmscope.tui.views.state import Mode, OwnPicture, Pinned
from vlmscope.tui.widgets.page.compare import address_line, here_line

NEURON = Neuron(0, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A neuron has 6 of 40 samples among its top ones; 30 are in the panel."""
    out = tmp_path_factory.mktemp("compare") / "scan"
    write_synthetic_scan(out, layers=2, neurons=8, samples=40, top_n=6, maps=2, grid=(3, 3), image=24, panel=30)
    return out


@pytest.fixture
def session(folder: Path) -> Session:
    made = Session(ScanStore(folder), NEURON, name="small")
    made.load_page()
    return made


def test_a_sample_is_shown_as_far_as_the_scan_knows_it(session: Session) -> None:
    store, at = session.store, session.state.thresholds
    panel = store.panel_for("A test")
    top = store.top_samples(NEURON)
    for index in range(40):
        picture = sample_evidence(store, NEURON, index, at)
        assert picture.sample == index and picture.crop is not None
        if index in top:
            assert picture.rank == top.index(index) and picture.below is None and picture.vote is not None
            assert (picture.visual is not None) == (picture.rank < 2)
            continue
        assert (picture.rank, picture.vote, picture.visual) == (None, None, None)
        assert picture.below == pytest.approx(store.scores(NEURON)[-1])
        if index in panel.samples:
            column = panel.samples.tolist().index(index)
            assert picture.activation == panel.largest((0, 3))[column]
        else:
            assert picture.activation is None
            assert f"below {picture.below:.2f}"[:9] in here_line(picture, 6, PLAIN, 90).text


def test_other_neurons_are_shown_on_the_pinned_sample(session: Session) -> None:
    moves.to_sample(session, 1)
    session.load_page()
    top = session.store.top_samples(NEURON)
    _, note = moves.to_pinned(session)
    assert "L0/N3 is pinned" in note and session.state.pinned == Pinned(NEURON, top[1], 1)
    session.go(Neuron(1, 5))
    session.load_page()
    picture, beside = session.scene.picture, session.scene.beside
    assert picture is not None and beside is not None
    assert (picture.neuron, picture.sample) == (Neuron(1, 5), top[1])
    assert (beside.neuron, beside.sample, beside.rank) == (NEURON, top[1], 1) and beside.visual is not None
    moves.to_sample(session, -1)
    session.load_page()
    assert session.scene.picture is not None and session.scene.picture.sample == top[0]
    moves.to_sample(session, 99)
    session.load_page()
    assert session.state.pinned == Pinned(NEURON, top[5], 5)
    # Another page and back: the pinned neuron is still there.
    session.change_state(mode=Mode.MEANING)
    session.go(Neuron(1, 6))
    session.load_page()
    session.change_state(mode=Mode.PICTURES)
    assert session.scene.beside is not None and session.scene.beside.sample == top[5]
    moves.to_pinned(session)
    session.load_page()
    assert session.state.pinned is None and session.scene.beside is None
    assert session.scene.picture is not None and session.scene.picture.rank == 0
    session.change_state(own=OwnPicture("a.png", "?"))
    session.load_page()
    assert moves.to_pinned(session)[1].startswith("There is no sample to compare on")


def test_the_models_answer_is_taken_for_either_neuron(session: Session) -> None:
    moves.to_sample(session, 4)
    session.load_page()
    moves.to_pinned(session)
    session.go(Neuron(1, 5))
    session.load_page()
    for picture in (session.scene.beside, session.scene.picture):
        assert picture is not None and picture.sample is not None
        layout = session.store.layout(picture.sample)
        values, words = np.linspace(0, 1, 9, dtype=np.float32), np.ones(len(picture.tokens), dtype=np.float32)
        answer = MapAnswer(picture.neuron, picture.image, picture.sample, values, words, layout.edges, layout.cover)
        assert incoming.take_map(session, answer, picture.image)
    for picture in (session.scene.beside, session.scene.picture):
        assert picture is not None and picture.exact and picture.vote is not None


def test_numbers_are_dropped_whole(session: Session) -> None:
    picture = sample_evidence(session.store, NEURON, session.store.top_samples(NEURON)[0], session.state.thresholds)
    whole = here_line(picture, 6, PLAIN, 200, "pinned ").text.rstrip()
    assert whole.startswith("pinned L0/N3 · sample 1 of 6 · activation ") and whole.count("≈") == 3
    items = whole.split(" · ")
    for width in range(12, 90):
        shown = here_line(picture, 6, PLAIN, width, "pinned ").text.rstrip()
        assert shown.split(" · ") == items[: len(shown.split(" · "))]
        above = address_line(picture, None, PLAIN, width, "pinned ").text.rstrip()
        assert "L0/N3" in above and ("≈" not in above or f"≈{picture.visual.max():.1f}" in above)  # type: ignore[union-attr]


async def test_keys_pin_step_and_leave(folder: Path) -> None:
    async with running(folder, size=(80, 24)) as on:
        top = on.scene.columns.store.top_samples(Neuron(0, 0))
        await on.press("enter", "=")
        await on.until(lambda: "pinned L0/N0 peak" in on.screen)
        await on.press("j", "l")
        await on.until(lambda: on.scene.state.pinned == Pinned(Neuron(0, 0), top[1], 1) and not on.scene.stale)
        await on.until(lambda: "pinned L0/N0 · sample 2 of 6" in on.screen and "L0/N1 ·" in on.screen)
        await on.press("z")
        await on.until(lambda: "pinned L0/N0 peak" in on.screen)
        await on.press("z", "escape")
        await on.until(lambda: on.scene.state.pinned is None and "origin" in on.screen)
        assert on.scene.state.neuron == Neuron(0, 1)
