"""Picked neurons: ranges and single ones; what is done to all of them at once, and where a verdict leads."""

from pathlib import Path

from textual.widgets import Input

from tests.support.api_server import Gate, api_server, completion
from tests.support.screen_app import running
from vlmscope.core.base.config import Api, Config
from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.browse.batch import progress_text


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


def test_how_far_a_run_is() -> None:
    assert progress_text("explaining", 0, 12, 0, 0.0) == "explaining 0 of 12"
    assert progress_text("explaining", 3, 12, 1, 20.0) == "explaining 3 of 12 · 1 failed · 60 s left"
    assert progress_text("explaining", 3, 1200, 0, 20.0) == "explaining 3 of 1,200 · 133 min left"
    assert progress_text("checking", 12, 12, 0, 99.0) == "checking 12 of 12"
