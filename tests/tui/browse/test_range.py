"""Panel samples on the page, after the top samples."""

from pathlib import Path

import numpy as np
import pytest

from tests.tui.widgets.test_parts import PLAIN
from vlmscope.core.analysis.panel import across_range
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.worker.messages import MapAnswer
from vlmscope.tui.browse import moves
from vlmscope.tui.browse.session import Session
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.widgets.page.head import sample_line, votes_line

NEURON = Neuron(1, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("panel") / "scan"
    write_synthetic_scan(out, layers=2, neurons=8, samples=40, top_n=6, maps=2, grid=(3, 3), image=24, panel=30)
    return out


@pytest.fixture
def session(folder: Path) -> Session:
    made = Session(ScanStore(folder), NEURON, name="small")
    made.load_page()
    return made


def step(session: Session, by: int) -> str:
    changed, note = moves.to_sample(session, by)
    assert (changed | session.load_page()) in (Changed.PAGE, Changed.NOTHING, Changed.PAGE | Changed.KEYS)
    return note


def test_l_steps_on_from_the_last_top_sample(session: Session) -> None:
    chosen = across_range(session.store, session.store.panel_for("It"), NEURON)
    assert step(session, 5) == "" and session.scene.picture is not None and session.scene.picture.rank == 5
    assert step(session, 1) == "10 panel samples across its range, none of them a top sample."
    for at, one in enumerate(chosen):
        picture = session.scene.picture
        assert picture is not None and picture.across == one and session.state.rank == 6 + at
        assert (picture.sample, picture.activation, picture.rank) == (one.sample, one.activation, None)
        assert picture.image == session.store.sample(one.sample).image and picture.crop is not None
        assert (picture.visual, picture.vote, picture.visual_tokens) == (None, None, 9)
        text = sample_line(picture, 6, PLAIN, 90).text
        assert text.startswith(f"panel, {one.place:.0%} are weaker · ") and f"#{one.sample}" in text
        assert ("random" in text) == (one.quantile is None)
        votes_line(session.scene, PLAIN, 60)
        assert step(session, 1) == ""
    assert session.state.rank == 15  # the last one
    step(session, -10)
    assert session.state.rank == 5 and session.scene.picture is not None and session.scene.picture.across is None


def test_the_models_map_gives_a_panel_sample_its_vote(session: Session) -> None:
    step(session, 7)
    picture = session.scene.picture
    assert picture is not None and picture.vote is None
    layout = session.store.layout(picture.sample or 0)
    values = np.linspace(0, 1, 9, dtype=np.float32)
    words = np.zeros(len(picture.tokens), dtype=np.float32)
    answer = MapAnswer(NEURON, picture.image, picture.sample, values, words, layout.edges, layout.cover)
    session.answers.maps[picture.key] = answer
    session.refresh_picture()
    shown = session.scene.picture
    assert shown is not None and shown.across == picture.across
    assert shown.vote is not None and shown.exact and shown.activation == pytest.approx(1)


def test_another_neuron_begins_with_its_top_samples(session: Session) -> None:
    step(session, 8)
    session.go(Neuron(0, 2))
    session.load_page()
    assert session.state.rank == 0 and session.scene.picture is not None and session.scene.picture.rank == 0


def test_without_a_panel_the_last_top_sample_is_the_end(scan: Path) -> None:
    session = Session(ScanStore(scan), NEURON)
    moves.to_sample(session, 100)
    assert session.state.rank == 7


def test_a_damaged_panel_is_a_message(folder: Path) -> None:
    store = ScanStore(folder)
    store.arrays["panel_sample"] = np.zeros(30, dtype=np.int32)
    session = Session(store, NEURON)
    _, note = moves.to_sample(session, 20)
    assert "is damaged: panel_sample.npy" in note and session.state.rank == 5
