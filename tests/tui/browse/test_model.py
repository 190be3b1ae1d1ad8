"""The model process on the screen: what it is asked, what it answers, what it says of itself, and what is dropped."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.screen_app import Driver, running
from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import WorkerError
from vlmscope.core.base.neuron import HookPoint, Neuron
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.worker.messages import MapAnswer, Phase
from vlmscope.tui.browse import incoming
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.commands.shared.options import ScannedModelOptions
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.widgets.page.head import waiting


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "my own picture.png"
    Image.new("RGB", (40, 40), (10, 120, 200)).save(path)
    return path


async def beyond_the_maps(on: Driver) -> None:
    """Go to the fourth sample, of which the scan keeps no map, and ask the model for it."""
    await on.press("l", "l", "l")
    await on.settled()
    await on.press("X")


def pictures(on: Driver) -> str:
    """The page down to its words: what the neuron writes comes by itself once the model is there."""
    return on.page.split("concepts")[0]


async def test_nothing_is_started_before_it_is_needed(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("j", "l", "]", "v", "v", "m", *["l"] * 5)
        await on.settled()
        await on.pilot.pause(2 * Pace().ask_after_s)
        assert on.models == []
        assert "model: not loaded" in on.title
        assert waiting(on.scene) == "the scan keeps no map here; X asks the model for it"
        assert "the scan keeps" in on.page  # wrapped


async def test_the_model_must_be_the_scanned_one(scan_copy: Path) -> None:
    """The model process gets the scan's digests of weights and processor, and refuses others (core/model/load.py)."""
    path = scan_copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["model"] |= {"weights": "0f" * 32, "processor": "1e" * 32}
    path.write_text(json.dumps(manifest))
    async with running(scan_copy) as on:
        await beyond_the_maps(on)
        await on.until(lambda: bool(on.models))
        assert (on.models[0].spec.weights, on.models[0].spec.processor) == ("0f" * 32, "1e" * 32)
    spec = ScannedModelOptions().spec(read_manifest(scan_copy), Config())
    assert (spec.weights, spec.processor) == ("0f" * 32, "1e" * 32)


async def test_a_map_that_the_scan_lacks_comes_from_the_model(scan: Path) -> None:
    async with running(scan, config=Config(device="cpu", dtype="float32", idle_unload_minutes=2)) as on:
        await beyond_the_maps(on)
        assert "vote " in on.page  # exact without any map
        await on.until(lambda: bool(on.models) and bool(on.models[0].maps))
        await on.until(lambda: "no map" not in on.page)
        assert "≈" not in on.page
        model = on.models[0]
        assert (model.spec.name, model.spec.device, model.spec.dtype) == ("synthetic", "cpu", "float32")
        assert model.spec.hook is HookPoint.GATE
        assert model.idle_unload_s == 120
        request = model.maps[0]
        sample = on.store.arrays["top_sample"][0, 0, 3]
        assert (request.neuron, request.sample) == (Neuron(0, 0), sample)
        assert request.prompt == on.store.manifest.prompt
        assert request.description == on.store.sample(int(sample)).description
        assert "model: ready" in on.title


async def test_a_map_is_asked_for_once(scan: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: "no map" not in on.page)
        await on.press("h")
        await on.settled()
        await on.press("l")
        await on.settled()
        assert "no map" not in on.page
        assert len(on.models[0].maps) == 1


async def test_the_screen_moves_while_the_model_is_busy_and_says_so(scan: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: bool(on.models))
        model = on.models[0]
        model.hold.clear()
        await on.press("l")
        await on.until(lambda: len(model.maps) == 2)
        await on.until(lambda: "model: busy" in on.title)
        assert "asking the model" in on.page
        assert "esc stop" in on.keys
        await on.press("j")
        await on.settled()
        assert on.neuron == Neuron(0, 1)
        assert "sample 1 of 8" in on.page


async def test_an_answer_for_a_neuron_that_was_left_is_not_shown(scan: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: bool(on.models))
        model = on.models[0]
        model.hold.clear()
        await on.press("l")
        await on.until(lambda: len(model.maps) == 2)
        left = model.maps[1]
        await on.press("j")
        await on.settled()
        before = pictures(on)
        model.hold.set()
        await on.until(lambda: not on.scene.asking)
        await on.pilot.pause()
        assert pictures(on) == before
        assert (left.neuron, left.sample) != (on.neuron, None)
        # It is kept: going back does not ask again.
        await on.press("k", "l", "l", "l", "l")
        await on.settled()
        assert "no map" not in on.page
        assert len(model.maps) == 2


async def test_loading_shows_its_progress(scan: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: "against dog cake" in on.page)
        on.models[0].tell(Phase.LOADING, "weights", 0.37)
        await on.until(lambda: "model: loading 37%" in on.title)


async def test_a_failure_shows_its_reason_and_restart_mends_it(scan: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: "no map" not in on.page and "against dog cake" in on.page)
        model = on.models[0]
        model.fail = WorkerError("The GPU is out of memory.", "Free it, then :restart.")
        model.tell(Phase.FAILED, "out of memory; :restart loads the model again")
        await on.until(lambda: "model: failed" in on.title)
        assert ":restart" in on.notes
        await on.press("l")
        await on.settled()
        await on.until(lambda: "The GPU is out of" in on.page)
        asked = len(model.maps)
        await on.type(":restart")
        await on.until(lambda: "restart" in model.calls)
        await on.until(lambda: "no map" not in on.page)
        assert len(model.maps) > asked
        assert "model: ready" in on.title


async def test_escape_stops_the_model(scan: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: bool(on.models))
        model = on.models[0]
        model.hold.clear()
        await on.press("l")
        await on.until(lambda: on.scene.asking)
        await on.press("escape")
        await on.until(lambda: "stop" in model.calls)
        await on.until(lambda: "Stopped" in on.page)
        assert on.state.rank == 4


async def test_unload_frees_the_model(scan: Path) -> None:
    async with running(scan) as on:
        await on.type(":unload")
        assert on.models == []  # nothing was loaded, nothing is started
        await beyond_the_maps(on)
        await on.until(lambda: "model: ready" in on.title)
        await on.type(":unload")
        await on.until(lambda: "model: not loaded" in on.title)
        assert on.models[0].calls == ["unload"]


async def test_quitting_ends_the_process(scan: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: bool(on.models))
        await on.pilot.press("q")
        await on.until(lambda: on.models[0].calls == ["close"])


async def test_the_own_picture_is_described_mapped_and_left(scan: Path, picture: Path) -> None:
    async with running(scan) as on:
        await on.press("p")
        await on.until(lambda: on.app.focused is not None)
        await on.press("escape")
        await on.type(f":image '{picture}' What is this?")
        await on.until(lambda: bool(on.models) and bool(on.models[0].maps))
        model = on.models[0]
        assert model.described[0].question == "What is this?"
        assert model.described[0].image == str(picture)
        await on.until(lambda: "your picture" in on.page and "no map" not in on.page)
        assert "zebra stands" in on.page
        assert "my own picture.png" in on.page
        assert "vote M multimodal" in on.page  # the fake's norms are the layer plus one, far above gmax
        assert model.maps[0].sample is None
        assert model.maps[0].prompt == "USER: <image> ASSISTANT:"
        assert "esc leave" in on.keys
        await on.press("escape")
        await on.settled()
        assert "sample 1 of 8" in on.page
        assert "your picture" not in on.page


async def test_stepping_stays_on_the_own_picture(scan: Path, picture: Path) -> None:
    async with running(scan) as on:
        await on.type(f":image '{picture}'")
        await on.until(lambda: bool(on.models) and len(on.models[0].maps) == 1)
        assert on.models[0].described[0].question == on.store.manifest.question
        await on.until(lambda: "no map" not in on.page)
        await on.press("j")
        await on.until(lambda: len(on.models[0].maps) == 2)
        await on.until(lambda: "no map" not in on.page)
        assert on.models[0].maps[1].neuron == Neuron(0, 1)
        assert "your picture" in on.page
        assert len(on.models[0].described) == 1
        await on.press("l")
        assert "esc leaves it" in on.notes


async def test_a_late_answer_for_a_picture_that_was_left_is_dropped(scan: Path, picture: Path) -> None:
    async with running(scan) as on:
        await on.type(f":image '{picture}'")
        await on.until(lambda: bool(on.models) and len(on.models[0].maps) == 1)
        await on.until(lambda: not on.scene.asking)
        await on.press("escape")
        await on.settled()
        request, layout = on.models[0].maps[0], on.models[0].layout
        late = MapAnswer.of(request, np.ones(len(layout), np.float32), layout, np.ones(5, np.float32))
        assert incoming.take_map(on.session, late, late.image) is Changed.NOTHING
        assert on.session.answers.maps == {}
        assert "sample 1 of 8" in on.page


async def test_a_description_that_fails_brings_the_samples_back(scan: Path, picture: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: "model: ready" in on.title)
        on.models[0].fail = WorkerError("This is no picture.", "Name another.")
        await on.type(f":image '{picture}'")
        await on.until(lambda: "This is no picture." in on.notes)
        await on.until(lambda: "your picture" not in on.page)
        assert on.state.own is None


async def test_the_path_prompt_takes_a_path_with_quotes(scan: Path, picture: Path) -> None:
    async with running(scan) as on:
        await on.press("p")
        await on.until(lambda: on.app.focused is not None)
        from textual.widgets import Input

        box = on.app.focused
        assert isinstance(box, Input)
        box.value = f'"{picture}"'
        await on.press("enter")
        await on.until(lambda: bool(on.models) and bool(on.models[0].described))


async def test_thresholds_relabel_the_own_picture_too(scan: Path, picture: Path) -> None:
    async with running(scan) as on:
        await on.type(f":image '{picture}'")
        await on.until(lambda: "vote M" in on.page)
        await on.type(":Tt 10")
        await on.until(lambda: "vote V visual" in on.page)


async def test_going_away_and_back_asks_once(scan: Path) -> None:
    async with running(scan) as on:
        await beyond_the_maps(on)
        await on.until(lambda: bool(on.models))
        model = on.models[0]
        await on.until(lambda: not on.scene.asking)
        model.hold.clear()
        await on.press("l")
        await on.until(lambda: len(model.maps) == 2)
        await on.press("h")
        await on.settled()
        await on.press("l")
        await on.settled()
        await on.pilot.pause(Pace().ask_after_s * 2)
        assert len(model.maps) == 2
        model.hold.set()
        await on.until(lambda: "no map" not in on.page and "asking" not in on.page)


@pytest.mark.parametrize(("path", "told"), [("~nobody-there/a.png", "is not a path"), ("a" * 300, "no picture at")])
async def test_a_picture_at_no_path_is_told(scan: Path, path: str, told: str) -> None:
    async with running(scan) as on:
        await on.type(f":image {path}")
        await on.until(lambda: told in on.notes)
        assert on.models == []
