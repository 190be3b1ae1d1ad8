"""The trace counts what it claims to; ``browse/test_economy.py`` asks of actions what it counts."""

import asyncio
from pathlib import Path

from tests.support.screen_app import running
from tests.support.trace import Trace, tracing
from vlmscope.core.base.text import plain
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.widgets.bars import KeyBar


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
