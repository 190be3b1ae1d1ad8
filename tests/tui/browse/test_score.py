"""Scores on the screen: chosen, computed, shown side by side, kept, stopped. The model is a stand-in, the rest real."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.api_server import ApiServer, api_server, completion
from tests.support.screen_app import Driver, running
from tests.support.worded import concepts_of
from vlmscope.core.base.config import Api, Config
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.correlation import Pooled, ScoredGroup, TokenKind
from vlmscope.core.method.judged import judged
from vlmscope.core.method.labels import Label
from vlmscope.core.notebook.explanation import Explanation, Source
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import SavedScore
from vlmscope.core.scoring.judge_report import JudgedSample, JudgeMethod, JudgeReport, Metric
from vlmscope.core.scoring.report import Failure, ScoreReport
from vlmscope.core.store.concept_files import replace_concepts
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.tui.dialogs.choice import LETTERS, ChoiceScreen, by_letter
from vlmscope.tui.dialogs.confirm import ConfirmScreen
from vlmscope.tui.views.state import Mode
from vlmscope.tui.widgets.page.score import note_of


@pytest.fixture
def pictured(scan_copy: Path) -> Path:
    """The small scan with pictures, which are in its folder, and with concepts of two neurons."""
    pictures = scan_copy / "pictures"
    pictures.mkdir()
    for index in range(12):
        Image.new("RGB", (40, 40), (index, 120, 200)).save(pictures / f"image_{index:04}.jpg")
    manifest = read_manifest(scan_copy).model_copy(update={"image_root": str(pictures)})
    (scan_copy / "manifest.json").write_text(manifest.model_dump_json())
    store = ScanStore(scan_copy)
    placed = {(0, 0): (("train", 9.0), ("dog", 4.0)), (1, 2): (("dog", 7.0),), (2, 2): (("river", 6.0),)}
    replace_concepts(scan_copy, concepts_of(store, placed), store.manifest)
    return scan_copy


def scores(scan: Path, neuron: Neuron) -> tuple[SavedScore, ...]:
    scan_id = read_manifest(scan).scan_id
    with Notebook.open(notebook_path(scan_id, scan, "data"), scan_id) as kept:
        return kept.scores(neuron)


async def score_by(on: Driver, letter: str) -> None:
    await on.press("S")
    await on.until(lambda: isinstance(on.app.screen, ChoiceScreen))
    await on.press(letter)


async def idle(on: Driver) -> None:
    await on.until(lambda: not on.scene.working)


async def test_a_score_is_shown_with_its_pictures_and_kept(pictured: Path) -> None:
    async with running(pictured) as on:
        await on.press("S")
        await on.until(lambda: "lens: the model itself" in on.screen)
        assert "grounded-sam2" in on.screen
        assert "api-text" in on.screen
        assert "oracle" not in on.screen  # the demo's alone
        await on.press("l")
        await on.until(lambda: "L0/N0 is scored by lens. s shows it." in on.notes)
        await on.press("s")
        for shown in (
            "“concept words: train",
            "not independent",
            "patches, top samples:",
            "words, top and random:",
            "example 1 of",
            "origin",
            "ground truth",
            "prediction",
        ):
            assert shown in on.page
        assert "n/a: " in on.page  # the stand-in's truth is constant: no score, and never 0
        await on.press("l")
        assert "example 2 of" in on.page
        await on.press("h", "h")
        assert "example 1 of" in on.page
        await on.until(lambda: on.list.line_text(0)[1:10] == "    0   s")
        await on.press("s")
        assert on.state.mode is Mode.PICTURES
        assert "score     by lens (not independent):  patches n/a: " in on.page
        await on.press("e")
        assert "score     by lens (not independent):" in on.page
    (saved,) = scores(pictured, Neuron(0, 0))
    assert saved.backend == "lens"
    async with running(pictured, start=Neuron(0, 0)) as on:
        await on.until(lambda: on.session.notebook_read)
        await on.press("s")
        await on.until(lambda: "S computes them again" in on.page)
        assert "“concept words: train" in on.page
        await on.press("j")
        await on.settled()
        assert on.state.mode is Mode.PICTURES, "a neuron without a score has no such page to step to"
        await on.press("s")
        await on.until(lambda: "no score yet" in on.page)


def notebook_of(scan: Path) -> Notebook:
    scan_id = read_manifest(scan).scan_id
    return Notebook.open(notebook_path(scan_id, scan, "data"), scan_id)


def known_words() -> Explanation:
    return Explanation("trains", Source.USER, "2026-01-01T00:00:00+00:00")


def kept(scan: Path, neuron: Neuron, *scores: tuple[str, float]) -> None:
    """Put scores of one explanation into the notebook, the oldest first."""
    with notebook_of(scan) as notebook:
        said = notebook.add_explanation(neuron, known_words())
        for backend, value in scores:
            pools = {TokenKind.VISUAL: dict.fromkeys(ScoredGroup, Pooled(value, "", None, None, 20, 20, 9))}
            report = ScoreReport(backend, backend != "lens", "trains", ("train",), pools, (), (), "")
            notebook.add_score(said, backend, report.to_json(), "2026-01-01T00:00:00+00:00")


async def test_a_later_score_hides_no_better_one(pictured: Path) -> None:
    kept(pictured, Neuron(0, 0), ("oracle", 0.69), ("lens", 0.14))
    kept(pictured, Neuron(0, 1), ("lens", 0.99))
    async with running(pictured) as on:
        await on.until(lambda: "score     by oracle:  patches 0.69 over 20 samples  1 more: s" in on.page)
        await on.type(":sort score")
        await on.until(lambda: "all · by score" in str(on.list.border_title))
        assert [on.scene.selection.at(row).index for row in range(2)] == [0, 1]
        await on.press("s")
        for shown in (
            "score 1 of 2 · by oracle",
            "patches, top samples: 0.69 over 20 samples",
            "Pearson's correlation of true and predicted activations; others: ",
            "J K show the others: by lens (not independent):  patches 0.14",
        ):
            assert shown in on.page
        await on.press("J", "J")
        for shown in ("score 2 of 2 · by lens", "patches, top samples: 0.14", "by oracle:  patches 0.69"):
            assert shown in on.page
        await on.press("K")
        assert "score 1 of 2 · by oracle" in on.page
        await on.press("J", "j")
        await on.settled()
        await on.until(lambda: "patches, top samples: 0.99" in on.page)
        assert "score 1 of" not in on.page


async def test_a_judges_score_stands_beside_a_simulators(pictured: Path) -> None:
    kept(pictured, Neuron(0, 0), ("lens", 0.14))
    truth = np.repeat([True, False], 5)
    found = judged(truth, truth.astype(np.float32), (5, 6), 1)
    answers = tuple(JudgedSample(at, None, 0.5, 9.0, bool(yes), 9 * int(yes)) for at, yes in enumerate(truth))
    lost = Failure(77, None, None, "refused: no")
    report = JudgeReport(
        JudgeMethod.DETECTION, "gpt-4o", True, "trains", "judge-1", {Metric.AUC: found}, answers, (lost,), ""
    )
    for neuron in (Neuron(0, 0), Neuron(0, 1)):
        with notebook_of(pictured) as notebook:
            known = notebook.explanations(neuron)
            said = known[0].id if known else notebook.add_explanation(neuron, known_words())
            notebook.add_score(said, report.backend, report.to_json(), "2026-01-01T00:00:00+00:00")
    async with running(pictured) as on:
        await on.until(lambda: "by lens (not independent):  patches 0.14 over 20 samples  1 more: s" in on.page)
        await on.press("s")
        # The independent one leads.
        for shown in ("score 1 of 2 · by detection/gpt-4o", "AUC: 1.00 (95% ", "activating samples, rated", "#4 9"):
            assert shown in on.page
        assert "1 samples failed: refused: no" in on.page and "by lens (not independent):  patches 0.14" in on.page
        await on.press("J")
        assert "score 2 of 2 · by lens" in on.page and "by detection/gpt-4o: AUC 1.00" in on.page
        await on.press("e")
        assert "score     by detection/gpt-4o: AUC 1.00" in on.page
        await on.press("e", "j")
        await on.settled()
        await on.until(lambda: "score     by detection/gpt-4o: AUC 1.00" in on.page)


async def test_the_score_that_was_just_made_is_shown_as_one_of_several(pictured: Path) -> None:
    async with running(pictured) as on:
        await score_by(on, "l")
        await on.until(lambda: "s shows it" in on.notes)
        (first,) = scores(pictured, Neuron(0, 0))
        said = first.explanation_id or 0
        better = {**first.body, "backend": "oracle", "independent": True}
        await on.browse.controllers.notebook_link.write(
            lambda notebook: notebook.add_score(said, "oracle", better, "2026-01-01T00:00:00+00:00")
        )
        await on.press("s")
        await score_by(on, "l")
        await on.until(lambda: "score 2 of 3 · by lens" in on.page)
        assert "example 1 of" in on.page


async def test_pictures_without_digests_elsewhere_are_not_scored_on(pictured: Path, tmp_path: Path) -> None:
    outside = (pictured / "pictures").rename(tmp_path / "outside")
    manifest = read_manifest(pictured).model_copy(update={"image_root": str(outside)})
    (pictured / "manifest.json").write_text(manifest.model_dump_json())
    async with running(pictured) as on:
        await score_by(on, "l")
        await on.until(lambda: "the scan has no digest of its picture" in on.notes)
        assert "a allows it" in on.notes
        assert on.models == [] or on.models[0].lenses == []


async def test_ones_own_words_are_scored(pictured: Path) -> None:
    async with running(pictured, start=Neuron(3, 3)) as on:
        await on.type(":words dog beside a river")
        await on.until(lambda: "L3/N3 is scored by lens. s shows it." in on.notes)
        await on.press("s")
        assert "“dog beside a river”" in on.page
        assert "looks for: dog, river" in on.page
    assert len(scores(pictured, Neuron(3, 3))) == 1


async def test_what_cannot_be_scored_says_why(pictured: Path) -> None:
    async with running(pictured, start=Neuron(3, 3)) as on:
        await on.type(":words zebras")
        await on.until(lambda: "can search for nothing in 'zebras'" in on.notes)
        await idle(on)
        assert on.models == []
        await on.type(":words")
        await on.until(lambda: "No words were given" in on.notes)


async def test_without_words_there_is_nothing_to_score(scan: Path) -> None:
    async with running(scan) as on:
        await score_by(on, "l")
        await on.until(lambda: "no concept words" in on.notes)
        await idle(on)
        assert "none yet" in on.page


async def test_without_pictures_there_is_no_truth_and_no_score(scan_copy: Path) -> None:
    store = ScanStore(scan_copy)
    replace_concepts(scan_copy, concepts_of(store, {(0, 0): (("train", 9.0),)}), store.manifest)
    async with running(scan_copy) as on:
        await score_by(on, "l")
        await on.until(lambda: "its picture is not here" in on.notes)
        await idle(on)
    assert scores(scan_copy, Neuron(0, 0)) == ()


async def test_escape_stops_it_and_keeps_nothing(pictured: Path) -> None:
    async with running(pictured) as on:
        await on.press("w")
        await on.until(lambda: "against dog cake" in on.page)
        on.models[0].hold.clear()
        await score_by(on, "l")
        await on.until(lambda: "scoring by lens" in on.page)
        assert "esc stop" in on.keys
        await on.press("S")
        await on.until(lambda: "being scored already" in on.notes)
        await on.press("escape")
        assert on.scene.working, "it closes the message first"
        await on.press("escape")
        await idle(on)
        await on.until(lambda: "scoring by lens" not in on.page)
        assert on.state.mode is Mode.PICTURES
    assert scores(pictured, Neuron(0, 0)) == ()


@pytest.mark.parametrize("keys", [(), ("l",), ("v",), ("j",), ("?",), ("colon",)])
async def test_a_score_that_is_ready_moves_no_page_under_the_users_fingers(
    pictured: Path, keys: tuple[str, ...]
) -> None:
    async with running(pictured) as on:
        await on.press("w")
        await on.until(lambda: "against dog cake" in on.page)
        on.models[0].hold.clear()
        await score_by(on, "l")
        await on.until(lambda: "scoring by lens" in on.page)
        if keys:
            await on.press(*keys)
        mode = on.state.mode
        on.models[0].hold.set()
        await on.until(lambda: "L0/N0 is scored by lens." in on.notes)
        await idle(on)
        assert on.state.mode is mode
        assert f"s shows it{' there' if on.neuron != Neuron(0, 0) else ''}." in on.notes
    assert len(scores(pictured, Neuron(0, 0))) == 1


async def test_escape_leaves_views_first_and_ctrl_c_stops_in_them(pictured: Path) -> None:
    async with running(pictured) as on:
        await on.press("w")
        await on.until(lambda: "against dog cake" in on.page)
        on.models[0].hold.clear()
        await score_by(on, "l")
        await on.until(lambda: "scoring by lens" in on.page)
        await on.press("v")
        assert "esc back" in on.keys
        await on.press("escape")
        assert on.state.mode is Mode.PICTURES
        assert "scoring by lens" in on.page and on.scene.working and "Stopped" not in on.notes
        assert "esc stop" in on.keys
        await on.press("escape")
        await on.until(
            lambda: "Stopped: scoring L0/N0. Nothing of it is kept; what was finished before is." in on.notes
        )
        await idle(on)
        on.models[0].fail = None
        on.models[0].hold.clear()
        await score_by(on, "l")
        await on.until(lambda: "scoring by lens" in on.page)
        await on.press("e", "ctrl+c")
        await on.until(lambda: on.notes.count("Stopped: scoring L0/N0.") == 2)
        assert [on.state.mode] == [Mode.MEANING]
        await idle(on)
        await on.press("ctrl+c")
        await on.until(lambda: "q quits" in on.notes)
    assert scores(pictured, Neuron(0, 0)) == ()


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


async def test_an_api_is_asked_only_after_a_yes(pictured: Path, api: ApiServer) -> None:
    api.otherwise = completion("no JSON")
    async with running(pictured) as on:
        await score_by(on, "a")
        await on.until(lambda: "OPENAI_API_KEY" in on.notes)
    async with running(pictured, config=Config(api=Api(base_url=api.url))) as on:
        await score_by(on, "a")
        await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
        await on.press("n")
        await on.pilot.pause()
        assert not on.scene.working
        assert api.bodies == []
        await score_by(on, "a")
        await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
        assert "At most $" in on.screen
        await on.press("y")
        await on.until(lambda: bool(api.bodies))
        await idle(on)
        assert on.state.mode is Mode.PICTURES  # no answer was of use: no score
        assert "$" in on.title
    assert scores(pictured, Neuron(0, 0)) == ()


async def test_judges_stand_beside_simulators(tmp_path: Path, api: ApiServer) -> None:
    write_synthetic_scan(
        tmp_path / "panel", layers=2, neurons=8, samples=80, top_n=40, maps=1, grid=(4, 4), image=32, panel=40
    )
    text = int(np.flatnonzero(ScanStore(tmp_path / "panel").stored_labels().label[0] == Label.TEXT)[0])
    api.otherwise = completion('{"intruder": 1}')
    config = Config(api=Api(base_url=api.url))
    async with running(tmp_path / "panel", config=config, start=Neuron(0, text)) as on:
        await on.press("S")
        await on.until(lambda: isinstance(on.app.screen, ChoiceScreen))
        assert "detection: a judge: which samples activate it?" in on.screen
        assert "fuzzing" not in on.screen  # a text neuron has no patches of its own
        await on.press("d")
        await on.until(lambda: "no concept words" in on.notes)
        assert api.bodies == []
        await score_by(on, "i")
        await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
        assert "At most $" in on.screen and " requests with 0 pictures" in on.screen
        await on.press("y")
        await on.until(lambda: f"L0/N{text} is scored by intruder." in on.notes)
        assert "score     by intruder/gpt-4o: accuracy " in on.page
        await on.press("s")
        for shown in (
            "which of five samples does not belong?",
            "by intruder/gpt-4o",
            "chance 0.20",
            "taken for one",
        ):
            assert shown in on.page
    assert len(api.bodies) >= 5


@pytest.mark.parametrize(
    ("independent", "note", "said"),
    [
        (True, "", "independent of the inspected model"),
        (True, "the scan was not whole", "independent of the inspected model; the scan was not whole"),
        (False, "not independent", "not independent"),
    ],
)
def test_what_to_know_of_a_score_is_one_line(independent: bool, note: str, said: str) -> None:
    assert note_of(ScoreReport("any", independent, "apples", (), {}, (), (), note)) == said


def test_every_simulator_gets_a_letter_of_its_own() -> None:
    found = by_letter(["lens", "length", "lens-of-another", "queue", "jjj"])
    assert found == {"l": "lens", "e": "length", "n": "lens-of-another", "u": "queue", "a": "jjj"}
    assert set(by_letter(map(str, range(99)))) == set(LETTERS)
