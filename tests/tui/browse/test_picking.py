"""Picked neurons: ranges and single ones; what is done to all of them at once, and where a verdict leads."""

from pathlib import Path

import pytest
from textual.widgets import Input

from tests.support.api_server import Gate, api_server, completion
from tests.support.knowing_judge import Knows
from tests.support.screen_app import running
from vlmscope.core.base.config import Api, Config
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm import client as chat_module
from vlmscope.core.llm.budget import dollars
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.scoring.judge_run import estimate_judging
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.browse.batch import progress_text
from vlmscope.tui.dialogs.choice import ChoiceScreen
from vlmscope.tui.dialogs.confirm import ConfirmScreen


async def test_picked_neurons_share_a_verdict_and_tags_and_one_undo(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("space", "j", "V", "5", "j")
        assert "range: 7 picked" in on.keys
        await on.press("escape")
        assert "1 picked" in on.keys
        await on.press("k", "V", "k", "k", "V", "6", "space")
        assert "".join(on.list._row(at, 60).text[0] for at in range(12)) == "●      ●●●▸ ", "those picked twice are not"
        await on.press("space", "2")
        await on.until(lambda: on.scene.noted.triaged[1] > 0)
        picked = on.scene.noted.triaged[1]
        assert f"{picked} neurons: reject. u undoes all of it." in on.notes
        await on.press("t")
        await on.until(lambda: on.app.focused is not None)
        box = on.app.focused
        assert isinstance(box, Input)
        box.value = "blue, sky"
        await on.press("enter")
        await on.until(lambda: on.list.line_text(0)[6:10] == "✗ t ")
        await on.press("u")
        await on.until(lambda: on.list.line_text(0)[6:10] == "✗   ")
        await on.press("u")
        await on.until(lambda: on.scene.noted.triaged == (0, 0, 0))
        assert f"and {picked - 1} more" in on.notes
        await on.press("ctrl+r")
        await on.until(lambda: on.scene.noted.triaged[1] == picked)
        await on.press("0")
        await on.press("escape")
        await on.until(lambda: on.scene.picked is None)
        await on.press("g", "1")
        await on.until(lambda: on.scene.noted.triaged[0] == 1)


async def test_a_range_belongs_to_its_list(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("V", "j", "j", "]")
        assert on.scene.picked_rows is None
        await on.press("V", "j", "V", "[")
        assert on.scene.picked is not None
        assert int(on.scene.picked.flags.sum()) == 2
        await on.press("escape")
        assert on.scene.picked is None


async def test_a_verdict_leads_on(scan: Path) -> None:
    async with running(scan, config=Config(after_verdict="next")) as on:
        await on.press("1", "2", "4", "3")
        assert on.neuron == Neuron(0, 3)
        await on.press("3", "0", "k")
        await on.until(lambda: on.idle)
        assert on.neuron == Neuron(0, 0), "back to where the digit was typed, and 30 up"
        await on.until(lambda: on.scene.noted.triaged == (1, 1, 1))
        await on.type(":after untriaged")
        await on.press("1")
        assert on.neuron == Neuron(0, 3)
        await on.type(":after home")
        assert "does not follow a verdict" in on.notes
        await on.type(":after stay")
        await on.press("1")
        assert on.neuron == Neuron(0, 3)


async def test_picked_neurons_are_checked_in_one_go(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("space", "space", "C")
        assert "Check 2 neurons" in on.screen
        await on.press("y")
        await on.until(
            lambda: "checking: 0 of 2 neurons done, 2 failed: L0/N0: L0/N0 has no leading concept." in on.notes
        )
        assert not on.scene.working


async def test_picked_neurons_are_explained_in_one_go_and_stopped_by_one_key(scan: Path) -> None:
    gate = Gate(completion())
    with api_server() as api:
        config = Config(api=Api(base_url=api.url, requests_at_once=1))
        async with running(scan, config=config) as on:
            await on.press("V", "j", "j", "E")
            await on.until(lambda: "explain 3 neurons" in on.screen)
            assert "At most $" in on.screen
            api.script += [completion(), gate]
            await on.press("y")
            await on.until(lambda: "explaining 1 of 3" in on.keys)
            assert "left" in on.keys
            await on.press("C")
            await on.until(lambda: "explaining 3 neurons is not finished" in on.notes)
            await on.press("ctrl+c")
            await on.until(lambda: "Stopped: explaining 3 neurons, 1 done. What is done is kept." in on.notes)
            gate.opened.set()
            await on.until(lambda: not on.scene.working and not on.scene.batch)
            assert [on.list.line_text(at)[9] for at in range(3)] == ["e", " ", " "]
            await on.press("E")
            await on.until(lambda: "Explained already: 1 of these 3." in on.screen)


async def test_picked_neurons_are_judged_in_one_go_after_a_yes_to_the_cost_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan = scan_folder("demo")
    store, neurons = ScanStore(scan), (Neuron(3, 96), Neuron(3, 97))
    knows = Knows(store)
    for neuron in neurons:
        knows.learn(neuron, label=store.stored_labels().of(neuron))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(chat_module, "_dialects", {})
    with api_server() as api:
        async with running(scan, config=Config(api=Api(base_url=api.url)), start=neurons[0]) as on:

            async def choose(letter: str) -> None:
                await on.press("S")
                await on.until(lambda: isinstance(on.app.screen, ChoiceScreen))
                assert "score 2 neurons by" in on.screen
                for said in ("lens: ", "detection: a judge", "fuzzing: a judge", "intruder: a judge"):
                    assert said in on.screen
                await on.press(letter)
                await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))

            await on.press("space", "space")
            await choose("d")
            shown = on.screen
            labels, api_settings = store.stored_labels(), Api(base_url=api.url)
            with Notebook.open(notebook_path(store.manifest.scan_id, scan, "data"), store.manifest.scan_id) as notebook:
                of_all = estimate_judging(neurons, store, labels, notebook, api_settings, wanted=None, again=True)
                of_one = estimate_judging(neurons[:1], store, labels, notebook, api_settings, wanted=None, again=True)
            assert of_all.requests > of_one.requests + 10
            assert f"Send {of_all.requests} requests with {of_all.images} pictures," in shown
            assert f"At most {dollars(of_all.usd)}: {of_all.tokens}" in shown
            await on.press("n")
            await on.pilot.pause()
            assert api.bodies == [], "nothing is sent without a yes"
            api.otherwise = Knows(store, blind=True)
            await choose("d")
            await on.press("y")
            await on.until(lambda: "does not see pictures" in on.notes)
            await on.until(lambda: not on.scene.working and not on.scene.batch)
            asked = len(api.bodies)
            assert asked <= 2, "a judge that sees nothing is not asked about the next neuron"
            api.otherwise = knows
            await choose("d")
            await on.press("y")
            await on.until(lambda: "judging by detection: 2 of 2 neurons done" in on.notes)
            assert len(api.bodies) - asked == of_all.requests
            await on.until(lambda: not on.scene.working and not on.scene.batch)
            await on.press("k", "k")
            await on.until(lambda: "by detection/gpt-4o: balanced accuracy" in on.page)
            assert "$" in on.title
        with Notebook.open(notebook_path(store.manifest.scan_id, scan, "data"), store.manifest.scan_id) as notebook:
            assert [[one.backend for one in notebook.entry(neuron).scores] for neuron in neurons] == [
                ["detection/gpt-4o"]
            ] * 2


def test_how_far_a_run_is() -> None:
    assert progress_text("explaining", 0, 12, 0, 0.0) == "explaining 0 of 12"
    assert progress_text("explaining", 3, 12, 1, 20.0) == "explaining 3 of 12 · 1 failed · 60 s left"
    assert progress_text("explaining", 3, 1200, 0, 20.0) == "explaining 3 of 1,200 · 133 min left"
    assert progress_text("checking", 12, 12, 0, 99.0) == "checking 12 of 12"
