"""Nothing is painted, read or passed through for nothing: three actions on the demo, in counts, without seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.api_server import ApiServer, Gate, api_server, completion
from tests.support.screen_app import Driver, running
from tests.support.trace import Trace, Tracer, tracing
from vlmscope.core.base.config import Api, Config
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.worker.messages import Phase
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.dialogs.confirm import ConfirmScreen


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


async def step(on: Driver, tracer: Tracer) -> Trace:
    async def press() -> None:
        await on.press("j")
        await on.settled()

    return await tracer.of(press)


async def test_a_step_on_the_demo() -> None:
    """Calls and functions bound the work; files bound how many rooms a reader passes, and rise when one is divided."""
    with tracing() as tracer:
        async with running(scan_folder("demo"), name="demo", pace=Pace(rest_s=0)) as on:
            await on.press("j", "j", "k")  # imports and fills what the first step needs
            await on.settled()
            for _ in range(3):
                trace = await step(on, tracer)
                assert trace.calls <= 2800
                assert trace.functions <= 240
                assert len(trace.files) <= 32, " ".join(trace.files)
                assert trace.before_store <= 8, " ".join(trace.files)
                assert len(trace.opens) <= 2
                assert trace.paints == {"NeuronList": 1, "Page": 1}


async def test_a_held_key_paints_rows_and_reads_nothing(scan: Path) -> None:
    with tracing() as tracer:
        async with running(scan, pace=Pace(rest_s=0.5)) as on:
            await on.press("j")
            await on.settled()
            on.browse.action_step(1)  # the key is held from here on

            async def hold() -> None:
                for _ in range(5):
                    on.browse.action_step(1)

            trace = await tracer.of(hold)
            assert trace.paints == {"NeuronList": 5, "Page": 5}
            assert trace.opens == ()
            assert on.scene.stale
            await on.settled()
            assert on.neuron.index == 7


async def test_a_move_of_the_mark_paints_the_page_and_reads_nothing(scan: Path) -> None:
    with tracing() as tracer:
        async with running(scan) as on:
            await on.press("P", "j")

            async def move() -> None:
                await on.press("k", "l")

            trace = await tracer.of(move)
            assert trace.paints == {"Page": 2}
            assert trace.opens == ()


async def test_a_step_makes_two_rows(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def one_a_row(share: float) -> str:
        made.append(share)
        return "1.0"

    async with running(scan) as on:
        monkeypatch.setattr("vlmscope.tui.widgets.neuron_list.fraction", one_a_row)
        await on.press("j")
        await on.settled()
        assert len(made) == 2
        await on.press("1")
        await on.until(lambda: "✓ keep" in on.page)
        await on.until(lambda: "triaged 1" in on.screen)
        assert len(made) == 3, "the title around the list changes; its rows do not"


async def test_a_verdict_paints_the_page_once(scan: Path) -> None:
    with tracing() as tracer:
        async with running(scan) as on:

            async def verdict() -> None:
                await on.press("1")
                await on.until(lambda: "✓ keep" in on.page)

            trace = await tracer.of(verdict)
            assert "core/notebook/notebook.py" in trace.files  # in a thread of its own
            assert [Path(path).suffix for path in trace.opens][-1:] == [".sqlite"]
            assert trace.paints["Page"] == 1
            assert trace.paints["NeuronList"] == 1
            assert "TitleBar" not in trace.paints


async def test_an_explanation_with_a_model_that_loads(scan_copy: Path, api: ApiServer) -> None:
    """The model process reports a hundred steps of loading; the API's answer waits for them."""
    pictures = scan_copy / "pictures"
    pictures.mkdir()
    for index in range(12):
        Image.new("RGB", (40, 40), (index, 120, 200)).save(pictures / f"image_{index:04}.jpg")
    manifest = read_manifest(scan_copy).model_copy(update={"image_root": str(pictures)})
    (scan_copy / "manifest.json").write_text(manifest.model_dump_json())
    gate = Gate(completion())
    api.script.append(gate)
    with tracing() as tracer:
        async with running(scan_copy, config=Config(api=Api(base_url=api.url))) as on:

            async def explain() -> None:
                await on.press("E")
                await on.until(lambda: isinstance(on.app.screen, ConfirmScreen))
                await on.press("y")
                await on.until(gate.entered.is_set)
                (model,) = on.models
                for percent in range(100):
                    model.tell(Phase.LOADING, "shards", percent / 100)
                    await on.pilot.pause()
                model.tell(Phase.READY)
                gate.opened.set()
                await on.until(lambda: "trains and railway tracks" in on.page and not on.scene.working)

            trace = await tracer.of(explain)
            assert len(on.models[0].maps) == 4
            assert trace.paints["TitleBar"] >= 100  # it names the phase and the share
            assert trace.paints["Page"] < 10
            assert trace.paints["NeuronList"] == 1
            assert trace.paints.get("LayerStrip", 0) == 0
            assert trace.paints["KeyBar"] <= 2
