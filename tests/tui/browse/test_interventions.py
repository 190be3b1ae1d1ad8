"""Ablations and causal checks on the screen: asked when the cursor rests, shown, kept, stopped. The model is a fake."""

from pathlib import Path

import msgspec
import pytest
from PIL import Image

from tests.support.screen_app import Driver, FakeModel, running
from tests.support.worded import concepts_of
from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.intervention import Intervention, InterventionKind, Positions
from vlmscope.core.base.neuron import Neuron, Numbering
from vlmscope.core.method.labels import Thresholds
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.concept_files import replace_concepts
from vlmscope.core.store.manifest import MANIFEST, ControlInfo, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.interventions import CaptionRequest, InterventionAnswer, InterventionRequest
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.command_line import read_command
from vlmscope.tui.command_values import SetAblating
from vlmscope.tui.views.state import Ablating, Mode, Pane, SetKind, State

NEURON = Neuron(0, 2)  #: the stand-in changes every token by -1 without it


@pytest.fixture
def pictured(scan_copy: Path) -> Path:
    """The small scan with pictures, which are in its folder, and with concepts of three neurons."""
    pictures = scan_copy / "pictures"
    pictures.mkdir()
    for index in range(12):
        Image.new("RGB", (40, 40), (index, 120, 200)).save(pictures / f"image_{index:04}.jpg")
    manifest = read_manifest(scan_copy).model_copy(update={"image_root": str(pictures)})
    (scan_copy / "manifest.json").write_text(manifest.model_dump_json())
    store = ScanStore(scan_copy)
    placed = {(0, 2): (("train", 9.0), ("dog", 4.0)), (1, 2): (("train", 7.0),), (2, 3): (("river", 6.0),)}
    replace_concepts(scan_copy, concepts_of(store, placed), store.manifest)
    return scan_copy


def requests(on: Driver) -> list[InterventionRequest]:
    return [one for model in on.models for one in model.interventions if isinstance(one, InterventionRequest)]


async def ablated(on: Driver) -> None:
    await on.until(lambda: on.scene.ablation is not None and on.scene.ablation.ablation is not None)
    await on.pilot.pause()


# -- the page of ablation ----------------------------------------------------------------------------------------------


async def test_the_page_shows_the_neuron_off_and_follows_the_cursor(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.press("A")
        assert on.state.mode is Mode.ABLATION
        await ablated(on)
        assert "L0/N2 -> 0, all tokens" in on.page
        assert "sample 1 of 8" in on.page
        (request,) = requests(on)
        assert request.at is Positions.ALL
        assert [edit.neuron for edit in request.rows[0]] == [NEURON]
        await on.press("j")
        await ablated(on)
        assert "L0/N3 -> 0" in on.page
        await on.press("k")
        await ablated(on)
        assert len(requests(on)) == 2, "an ablation that is there is not asked for again"
        await on.press("l")
        await ablated(on)
        assert requests(on)[-1].sample.sample == on.store.top_samples(NEURON)[1]
        await on.press("escape")
        assert "vote " in on.page


async def test_a_held_key_asks_once(pictured: Path) -> None:
    async with running(pictured, start=NEURON, pace=Pace(rest_s=0.3)) as on:
        await on.press("A")
        await ablated(on)
        for _ in range(6):
            on.browse.action_step(1)
        assert "…" in on.page or on.scene.stale
        await ablated(on)
        assert [request.rows[0][0].neuron.index for request in requests(on)] == [2, 8]


async def test_what_a_left_page_asks_for_is_stopped(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.press("w")
        await on.until(lambda: bool(on.models) and on.idle)
        on.models[0].hold.clear()
        await on.press("A")
        await on.until(lambda: bool(requests(on)))
        assert "asking the model" in on.page
        await on.press("escape")
        await on.until(lambda: on.browse.controllers.requests.idle)
        await on.press("A")
        await on.until(lambda: len(requests(on)) == 2)
        await on.press("ctrl+c")
        await on.until(lambda: "Stopped." in on.page)
        on.models[0].fail = None
        await on.press("A", "A")
        await ablated(on)
        assert len(requests(on)) == 3


async def test_the_steps_of_a_clamp_of_several_are_counted(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.press("w")
        await on.until(lambda: bool(on.models) and on.idle)
        on.models[0].hold.clear()
        await on.type(":ablate neurons L0/N2 L0/N5")
        await on.type(":ablate clamp5")
        await on.until(lambda: "asking the model … 0 of 3 steps" in on.page)
        on.models[0].hold.set()
        await ablated(on)
        assert "asking" not in on.page


async def test_a_failure_stands_on_the_page_and_goes_with_a_restart(pictured: Path) -> None:
    async with running(pictured, start=NEURON, model=Tokenless) as on:
        await on.press("A")
        await on.until(lambda: "do not fit this scan" in on.page)
        assert "Unexpected" not in on.notes
        Tokenless.wrong = False
        await on.type(":restart")
        await ablated(on)
        assert "L0/N2 -> 0" in on.page


class Tokenless(FakeModel):
    """Answers for a description of one token, until it is told otherwise."""

    wrong = True

    async def intervene(self, request: InterventionRequest) -> InterventionAnswer:
        short = msgspec.structs.replace(request, tokens=(0,))
        return await super().intervene(short if self.wrong else request)


async def test_choices_of_the_page(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.type(":ablate x3")
        await ablated(on)
        assert "L0/N2 -> x3, all tokens" in on.page
        assert requests(on)[-1].rows[0][0].factor == 3
        await on.type(":ablate at picture")
        await ablated(on)
        assert requests(on)[-1].at is Positions.PICTURE
        await on.type(":ablate concept train")
        await on.until(lambda: "concept train (2 neurons)" in on.page)
        assert [edit.neuron for edit in requests(on)[-1].rows[0]] == [NEURON, Neuron(1, 2)]
        await on.type(":ablate concept train 1")
        await on.until(lambda: "concept train (1 neuron" in on.page)
        assert [edit.neuron for edit in requests(on)[-1].rows[0]] == [NEURON]
        asked = len(requests(on))
        await on.type(":ablate off")
        assert on.state.ablating == Ablating()
        assert "vote " in on.page
        assert len(requests(on)) == asked


async def test_sets_of_the_notebook(pictured: Path) -> None:
    scan_id = read_manifest(pictured).scan_id
    with Notebook.open(notebook_path(scan_id, pictured, "data"), scan_id) as notebook:
        notebook.set_verdict(Neuron(2, 1), Verdict.KEEP)
        notebook.set_tags(Neuron(3, 4), ["odd ones"])
    async with running(pictured, start=NEURON) as on:
        await on.until(lambda: "triaged" in on.screen)
        await on.type(":ablate kept")
        await on.until(lambda: "kept (1 neuron" in on.page)
        assert [edit.neuron for edit in requests(on)[-1].rows[0]] == [Neuron(2, 1)]
        await on.press("1")
        await on.until(lambda: "kept (2 neurons" in on.page)
        assert [edit.neuron for edit in requests(on)[-1].rows[0]] == [NEURON, Neuron(2, 1)]
        await on.type(":ablate tag odd ones")
        await on.until(lambda: "tag odd ones (1 neuron" in on.page)
        await on.type(":ablate tag nothing")
        await on.until(lambda: "No neuron has the tag 'nothing'" in on.page)


async def test_the_caption_is_written_again(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.type(":ablate caption")
        await ablated(on)
        asked = [one for one in on.models[0].interventions if isinstance(one, CaptionRequest)]
        assert [bool(one.edits) for one in asked] == [False, True]
        assert "horse" in on.page


async def test_a_scan_without_pictures_says_so_without_loading_a_model(scan: Path) -> None:
    async with running(scan, start=NEURON) as on:
        await on.press("A")
        await on.until(lambda: bool(on.scene.ablation and on.scene.ablation.problem))
        assert not on.models
        await on.press("C")
        await on.until(lambda: "has no leading concept" in on.notes)
        assert not on.models


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", Ablating()),
        ("zero", Ablating()),
        ("mean", Ablating(to=Intervention(InterventionKind.MEAN))),
        ("X-2.5", Ablating(to=Intervention(InterventionKind.SCALE, -2.5))),
        ("clamp 5", Ablating(to=Intervention(InterventionKind.CLAMP, 5))),
        ("at answer", Ablating(at=Positions.ANSWER)),
        ("word shirt", Ablating(word="shirt")),
        ("word", Ablating()),
        ("concept red train", Ablating(kind=SetKind.CONCEPT, name="red train")),
        ("kept", Ablating(kind=SetKind.KEPT)),
        ("tag 'odd ones'", Ablating(kind=SetKind.TAG, name="odd ones")),
        ("neuron", Ablating()),
        ("neurons 3.96 L4/N2", Ablating(kind=SetKind.NEURONS, name="L3/N96 L4/N2")),
        ("caption", Ablating(caption=True)),
        ("off", None),
    ],
)
def test_lines_of_ablation(line: str, expected: Ablating | None) -> None:
    state = State(Neuron(0, 0), Thresholds())
    assert read_command(f"ablate {line}", state, Numbering(4, 32)) == SetAblating(expected)


@pytest.mark.parametrize(
    "line", ["xinf", "clampnan", "x", "at the answer", "concept", "tag", "neurons", "neurons 3", "kept ones", "twice"]
)
def test_lines_that_are_not_ablations(line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_command(f"ablate {line}", State(Neuron(0, 0), Thresholds()), Numbering(4, 32))
    assert "clamp5" in caught.value.hint


# -- causal checks -----------------------------------------------------------------------------------------------------


async def test_a_first_check_is_made_shown_and_kept(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.press("C")
        assert on.state.mode is Mode.CHECK
        await on.until(lambda: 'L0/N2 "train"' in on.page)
        await on.until(lambda: 'L0/N2 "train": ' in on.notes)
        entry = on.scene.entry
        assert entry is not None
        (saved,) = entry.checks
        assert saved.check.settings.intervention == "zero"
        await on.press("C")
        assert "vote " in on.page
        await on.press("C")
        assert len(entry.checks) == 1, "a neuron with a check is not checked again"
        await on.press("j")
        await on.settled()
        assert "vote " in on.page, "a neuron without a check has no such page to step to"
        await on.press("C")
        assert "no causal check yet: C compares it" in on.page
        await on.until(lambda: "L0/N3 has no leading concept" in on.notes)
        await on.press("k")
        await on.settled()
        assert 'L0/N2 "train"' in on.page
    async with running(pictured, start=NEURON) as on:
        await on.until(lambda: on.scene.entry is not None and len(on.scene.entry.checks) == 1)
        await on.press("C")
        assert 'L0/N2 "train"' in on.page
        assert not on.models
        await on.type(":only checked")
        await on.until(lambda: len(on.scene.selection) == 1)
        assert on.scene.selection.at(0) == NEURON


async def test_a_check_of_another_word_opens_where_it_was_asked_for(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.type(":check dog")
        await on.until(lambda: 'L0/N2 "dog"' in on.page)
        await on.type(":ablate x3")
        await ablated(on)
        await on.type(":check")
        await on.until(lambda: 'L0/N2 "train" -> x3' in on.page)
        assert "check 1 of 2" in on.page
        await on.press("J")
        assert 'L0/N2 "dog"' in on.page
        await on.press("J", "K", "K")
        assert 'L0/N2 "train"' in on.page


async def test_a_check_is_stopped_and_does_not_open_elsewhere(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.press("w")
        await on.until(lambda: bool(on.models) and on.idle)
        model = on.models[0]
        model.hold.clear()
        await on.press("C")
        await on.until(lambda: "checking “train”: 0 of" in on.page)
        await on.type(":check dog")
        await on.until(lambda: "being checked already" in on.notes)
        await on.press("ctrl+c")
        await on.until(lambda: "Stopped: checking L0/N2" in on.notes)
        await on.until(lambda: on.idle)
        entry = on.scene.entry
        assert entry is not None and not entry.checks
        model.fail = None
        model.hold.clear()
        await on.type(":check dog")
        await on.press("escape", "j")
        model.hold.set()
        await on.until(lambda: 'L0/N2 "dog": ' in on.notes)
        assert "C shows it there." in on.notes
        assert on.state.mode is Mode.PICTURES


async def test_a_set_is_checked_against_sets_and_its_checks_are_shown(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.type(":ablate neurons 0.2 1.3")
        await on.until(lambda: "L0/N2, L1/N3 (2 neurons) -> 0" in on.page)
        await on.press("C")
        await on.until(lambda: 'L0/N2, L1/N3 (2 neurons) "train" -> 0' in on.page)
        await on.until(lambda: "matched sets" in on.page)
        asked = len(requests(on))
        await on.press("C")
        await on.press("A")
        await ablated(on)
        await on.press("C")
        await on.until(lambda: on.idle)
        assert "check 1 of" not in on.page
        assert len(requests(on)) == asked, "the same check is not made twice"
        await on.type(":check dog")
        await on.until(lambda: 'L0/N2, L1/N3 (2 neurons) "dog"' in on.page)
        assert "check 1 of 2" in on.page
        await on.press("J")
        assert '(2 neurons) "train"' in on.page
        entry = on.scene.entry
        assert entry is not None and not entry.checks
        await on.press("escape", "C")
        await on.until(lambda: 'L0/N2 "train" -> 0, all tokens' in on.page)


async def test_a_bad_word_is_refused(pictured: Path) -> None:
    async with running(pictured, start=NEURON) as on:
        await on.type(":check two words")
        await on.until(lambda: "is not a word to check" in on.notes)
        await on.type(":check xylophone")
        await on.until(lambda: "xylophone is in no description" in on.notes)
        assert on.state.pane is Pane.PAGE


async def test_a_control_has_no_model_to_ask(scan_copy: Path) -> None:
    manifest = read_manifest(scan_copy).model_copy(update={"control": ControlInfo(scan_id="other", seed=1)})
    (scan_copy / MANIFEST).write_text(manifest.model_dump_json())
    async with running(scan_copy, start=NEURON) as on:
        await on.press("A")
        await on.until(lambda: "This scan is a control" in on.page)
        await on.press("C")
        await on.until(lambda: "This scan is a control" in on.notes)
        await on.press("escape", "P", "enter")
        await on.until(lambda: "of those that have it" in on.screen)
        await on.press("o", "a")
        await on.until(lambda: "This scan is a control" in on.screen)
        await on.press("escape", "r")
        await on.until(lambda: "any two neurons share" in on.screen)
        assert not on.models
