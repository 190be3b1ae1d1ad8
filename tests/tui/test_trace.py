"""The trace counts what it claims to, and no action passes through more than it did when its limit was written here."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.api_server import ApiServer, Gate, api_server, completion
from tests.support.screen_app import running
from tests.support.trace import Trace, tracing
from vlmscope.core.base.config import Api, Config
from vlmscope.core.base.text import plain
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import Phase
from vlmscope.tui.dialogs.confirm import ConfirmScreen
from vlmscope.tui.widgets.bars import KeyBar


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


async def test_what_is_counted(scan: Path) -> None:
    async def nothing() -> None:
        await asyncio.sleep(0)

    with tracing() as tracer:
        async with running(scan) as on:
            assert await tracer.of(nothing) == Trace(0, 0, (), (), {})

            async def something() -> None:
                plain("here")
                await asyncio.get_running_loop().run_in_executor(None, plain, "in a thread")
                ScanStore(scan).crop(0)
                bar = on.browse.query_one(KeyBar)
                for _ in range(3):
                    bar.present((), on.browse.palette)

            trace = await tracer.of(something)
            assert trace.files[:2] == ("core/base/text.py", "core/store/reader.py")
            assert trace.before_store == 1
            assert trace.paints == {"KeyBar": 3}
            opened = [Path(path).name for path in trace.opens]
            assert opened[0] == "manifest.json" and opened[-1] == "crops.bin"
            assert trace.calls > trace.functions > len(trace.files) > 3
            assert "painted: KeyBar 3" in str(trace)
            plain("not counted")
            again = await tracer.of(something)
            assert again.opens == trace.opens
            assert again.calls <= trace.calls  # some colours are kept
            assert await tracer.of(something) == again


async def test_a_step(scan: Path) -> None:
    with tracing() as tracer:
        async with running(scan) as on:
            await on.press("j", "j", "k")  # imports and fills what the first step needs
            await on.settled()

            async def step() -> None:
                await on.press("j")
                await on.settled()

            trace = await tracer.of(step)
            assert on.neuron.index == 2
            assert trace.paints["Page"] == 1
            assert max(trace.paints.values()) == 1
            assert len(trace.files) <= 43
            assert trace.before_store <= 14
            assert len(trace.opens) <= 2


async def test_a_verdict(scan: Path) -> None:
    with tracing() as tracer:
        async with running(scan) as on:

            async def verdict() -> None:
                await on.press("1")
                await on.until(lambda: "✓ keep" in on.page)

            trace = await tracer.of(verdict)
            assert "core/notebook/notebook.py" in trace.files  # in a thread of its own
            assert [Path(path).suffix for path in trace.opens][-1:] == [".sqlite"]
            assert trace.paints["Page"] <= 2
            assert len(trace.files) <= 44


async def test_an_explanation_with_a_model_that_loads(scan_copy: Path, tmp_path: Path, api: ApiServer) -> None:
    """The model process reports a hundred steps of loading; the API's answer waits for them."""
    for index in range(12):
        Image.new("RGB", (40, 40), (index, 120, 200)).save(tmp_path / f"image_{index:04}.jpg")
    manifest = read_manifest(scan_copy).model_copy(update={"image_root": str(tmp_path)})
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
            assert trace.paints["Page"] <= 130
            assert len(trace.files) <= 75
