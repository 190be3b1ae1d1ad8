"""Work in the background."""

import asyncio
import contextlib
import gc
import warnings

from vlmscope.tui.browse.tasks import Tasks


async def test_work_that_is_stopped_before_it_begins_leaves_nothing() -> None:
    async def work() -> None:
        raise AssertionError("it begins")

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        tasks = Tasks(contextlib.nullcontext)
        tasks.run_task(work()).cancel()
        await tasks.finish()
        await asyncio.sleep(0)
        gc.collect()
    assert found == [] and tasks.idle
