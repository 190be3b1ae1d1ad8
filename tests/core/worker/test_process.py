"""The screen's side against real worker processes, with an engine that misbehaves on request."""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.watched import FAKE, Watched, alive, map_request, until, watched
from vlmscope.core.base.errors import Cancelled, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.worker import wire
from vlmscope.core.worker.client import Lane, Superseded
from vlmscope.core.worker.log import worker_log
from vlmscope.core.worker.messages import DescribeRequest, MapAnswer, ModelStatus, Phase


async def test_first_request_starts_loads_and_is_answered() -> None:
    async with watched() as model:
        assert model.status == ModelStatus(Phase.OFF)
        answer = await model.ask(map_request())
        np.testing.assert_array_equal(answer.visual, np.full(6, 3, np.float32))
        assert answer.layout == VisualLayout.plain(2, 3)
        np.testing.assert_array_equal(answer.text, [0, 1])
        assert (answer.neuron, answer.image, answer.sample) == (Neuron(3, 217), "cat.png", 312)
        assert model.phases == [Phase.STARTING, Phase.LOADING, Phase.BUSY, Phase.READY]
        assert model.seen[1] == ModelStatus(Phase.LOADING, "reading weights", 0.5)
        assert model.seen[2].detail == "L3/N217 on #312"
        first = model.process
        assert os.getsid(first) == first  # ctrl+c in the terminal is not for it
        await model.ask(map_request(sample=None))
        assert model.process == first
        assert model.seen[-2].detail == "L3/N217 on cat.png"
        description = await model.ask(DescribeRequest("a/cat\x1b.png", "What?"))
        assert (description.prompt, description.tokens, description.crop) == (
            "<image> What?",
            ("A ", "cat."),
            b"\xff\0",
        )
        assert model.seen[-2].detail == "describing cat .png"


async def test_the_latest_waiting_request_wins() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("soft", sample=1)))
        await model.begin("soft")
        second = asyncio.create_task(model.ask(map_request(sample=2)))
        third = asyncio.create_task(model.ask(DescribeRequest("cat.png", "What?")))
        fourth = asyncio.create_task(model.ask(map_request(sample=4)))
        for replaced in (second, third):
            with pytest.raises(Superseded):
                await replaced
        assert not running.done()
        assert not fourth.done()
        running.cancel()
        assert (await fourth).sample == 4
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_requests_while_loading_supersede_each_other() -> None:
    async with watched() as model:
        first = asyncio.create_task(model.ask(map_request(sample=1)))
        await model.reach(Phase.STARTING)
        second = asyncio.create_task(model.ask(map_request(sample=2)))
        with pytest.raises(Superseded):
            await first
        assert (await second).sample == 2
        assert model.phases.count(Phase.BUSY) == 1


def ran(model: Watched) -> list[str]:
    """The pictures that the model was busy with, in order."""
    return [status.detail.partition("#")[2] for status in model.seen if status.phase is Phase.BUSY]


async def test_background_requests_run_in_order_and_the_screens_goes_first() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("soft", sample=0), Lane.BACKGROUND))
        await model.begin("soft")
        work = [asyncio.create_task(model.ask(map_request(sample=at), Lane.BACKGROUND)) for at in (1, 2, 3)]
        replaced = asyncio.create_task(model.ask(map_request(sample=11)))
        screen = asyncio.create_task(model.ask(map_request(sample=12)))
        with pytest.raises(Superseded):
            await replaced
        running.cancel()
        assert [answer.sample for answer in await asyncio.gather(*work, screen)] == [1, 2, 3, 12]
        assert ran(model) == ["0", "12", "1", "2", "3"]


async def test_background_work_goes_on_when_the_screen_pauses() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("soft", sample=0)))
        await model.begin("soft")
        work = asyncio.create_task(model.ask(map_request(sample=1), Lane.BACKGROUND))

        async def step_and_step() -> None:
            for at in (11, 12, 13):  # each is asked as soon as the one before is answered
                await model.ask(map_request(sample=at))

        screen = asyncio.create_task(step_and_step())
        await asyncio.sleep(0)
        running.cancel()
        assert (await work).sample == 1
        await screen
        # The background's has its turn at the first moment at which the screen waits for nothing.
        assert ran(model) == ["0", "11", "1", "12", "13"]


async def test_lanes_while_loading() -> None:
    async with watched() as model:
        work = [asyncio.create_task(model.ask(map_request(sample=at), Lane.BACKGROUND)) for at in (1, 2)]
        await model.reach(Phase.STARTING)
        screen = asyncio.create_task(model.ask(map_request(sample=11)))
        await asyncio.gather(*work, screen)
        assert ran(model) == ["11", "1", "2"]


async def test_stop_and_unload_reach_both_lanes() -> None:
    async with watched() as model:
        for end in (model.stop, model.unload):
            running = asyncio.create_task(model.ask(map_request("soft"), Lane.BACKGROUND))
            await until(lambda: model.status.phase is Phase.BUSY)
            waiting = [asyncio.create_task(model.ask(map_request("abort"), lane)) for lane in Lane]
            waiting.append(asyncio.create_task(model.ask(map_request("abort"), Lane.BACKGROUND)))
            await asyncio.sleep(0)
            await end()
            for task in (running, *waiting):
                with pytest.raises(Cancelled, match="stopped"):
                    await task
        assert model.status == ModelStatus(Phase.OFF, "unloaded")
        assert (await model.ask(map_request(), Lane.BACKGROUND)).sample == 312


async def test_a_cancelled_asker_leaves_its_lane() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("soft", sample=0)))
        await model.begin("soft")
        first, withdrawn, last = (
            asyncio.create_task(model.ask(map_request(order, sample=at), Lane.BACKGROUND))
            for order, at in (("answer", 1), ("abort", 2), ("answer", 3))
        )
        await asyncio.sleep(0)
        withdrawn.cancel()
        running.cancel()
        assert [answer.sample for answer in await asyncio.gather(first, last)] == [1, 3]
        assert ran(model) == ["0", "1", "3"]


async def test_a_request_that_is_too_large_fails_alone() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("soft", sample=0)))
        await model.begin("soft")
        large = asyncio.create_task(model.ask(map_request("x" * wire.MAX_HEAD), Lane.BACKGROUND))
        work = asyncio.create_task(model.ask(map_request(sample=1), Lane.BACKGROUND))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(wire.FrameError, match="too large"):
            await large
        assert (await work).sample == 1


async def test_soft_stop_keeps_the_process() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("soft")))
        await model.begin("soft")
        waiting = asyncio.create_task(model.ask(map_request()))
        await asyncio.sleep(0)
        pid = model.process
        started = time.monotonic()
        await model.stop()
        assert time.monotonic() - started < 2
        for task in (running, waiting):
            with pytest.raises(Cancelled, match="stopped"):
                await task
        assert model.status.phase is Phase.READY
        await model.ask(map_request())
        assert model.process == pid


async def test_an_answer_that_comes_after_the_stop_is_not_given() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("late")))
        await model.begin("late")
        await model.stop()
        with pytest.raises(Cancelled):
            await running
        assert model.status.phase is Phase.READY


async def test_stop_when_nothing_runs_changes_nothing() -> None:
    async with watched() as model:
        await model.stop()
        assert model.seen == []
        await model.ask(map_request())
        seen = list(model.seen)
        await model.stop()
        assert model.seen == seen


async def test_noise_goes_to_the_log() -> None:
    async with watched() as model:
        answer = await model.ask(map_request("noise"))
        assert answer.sample == 312
        log = worker_log().read_text()
        for noise in ("noise from Python", "noise on 1", "noise on 2", "noise from C"):
            assert noise in log


async def test_cancelling_the_caller_stops_the_work_softly() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("soft")))
        await model.begin("soft")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await model.reach(Phase.READY)
        waiting = asyncio.create_task(model.ask(map_request("soft")))
        await model.begin("soft")
        withdrawn = asyncio.create_task(model.ask(map_request("abort")))
        await asyncio.sleep(0)
        withdrawn.cancel()
        waiting.cancel()
        await model.reach(Phase.READY)
        await model.ask(map_request())  # "abort" never ran


async def test_a_request_cancelled_as_it_fails_leaves_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    async with watched("slow") as model:
        waiting = asyncio.create_task(model.ask(map_request()))
        await model.reach(Phase.LOADING)
        unloading = asyncio.create_task(model.unload())
        await asyncio.sleep(0)  # the request has failed, and who waits for it does not know yet
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert waiting.cancelled()
        del waiting
        await unloading
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_an_idle_model_is_unloaded_and_loads_again() -> None:
    async with watched(idle_unload_s=0.05) as model:
        await model.ask(map_request())
        pid = model.process
        status = await model.reach(Phase.OFF)
        assert status.detail == "unloaded after 0.05 s idle"
        await until(lambda: not alive(pid))
        assert (await model.ask(map_request())).sample == 312


async def test_a_busy_model_is_not_idle() -> None:
    async with watched(idle_unload_s=0.3) as model:
        await model.ask(map_request())  # from now on it is idle
        running = asyncio.create_task(model.ask(map_request("soft")))
        done, _ = await asyncio.wait({running}, timeout=0.6)
        assert not done
        assert model.status.phase is Phase.BUSY
        running.cancel()


async def test_unload_frees_and_the_next_request_loads() -> None:
    async with watched() as model:
        await model.ask(map_request())
        pid = model.process
        await model.unload()
        assert not alive(pid)
        assert model.status == ModelStatus(Phase.OFF, "unloaded")
        assert (await model.ask(map_request())).sample == 312
        running = asyncio.create_task(model.ask(map_request("hang")))
        await model.begin("hang")
        await model.unload()
        with pytest.raises(WorkerError, match="stopped"):
            await running


async def test_a_new_process_waits_until_the_old_one_has_given_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("hang")))
        await model.begin("hang")
        old, there = model.process, []
        spawn = asyncio.create_subprocess_exec

        async def watch(*args: str, **options: Any) -> asyncio.subprocess.Process:
            there.append(Path(f"/proc/{old}").exists())
            return await spawn(*args, **options)

        monkeypatch.setattr(asyncio, "create_subprocess_exec", watch)
        await model.restart()
        with pytest.raises(WorkerError, match="stopped"):
            await running
        await model.reach(Phase.READY)
        assert there == [False]


async def test_restart_replaces_a_hung_process_once() -> None:
    before = children()  # another test of this process may have left a server that forks
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("hang")))
        await model.begin("hang")
        old = model.process
        await asyncio.gather(model.restart(), model.restart())
        with pytest.raises(WorkerError, match="stopped"):
            await running
        await model.reach(Phase.READY)
        assert not alive(old)
        assert children() - before <= {model.process}


def children() -> set[int]:
    """The living processes that this one has started; none where the kernel does not list them."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return {pid for pid in map(int, listed.read_text().split()) if alive(pid)} if listed.exists() else set()


def test_the_screens_side_loads_neither_torch_nor_transformers_nor_textual() -> None:
    script = """
import sys
import vlmscope.core.worker.process
print([name for name in ("torch", "transformers", "textual", "PIL") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=FAKE.parents[2]
    )
    assert done.stdout.strip() == "[]"


async def test_answers_are_of_the_request(tmp_path: Path) -> None:
    """Many requests in a row, each answer its own."""
    async with watched() as model:
        for layer in range(50):
            answer: MapAnswer = await model.ask(map_request(sample=layer, layer=layer))
            assert answer.sample == layer
            assert answer.visual[0] == layer
