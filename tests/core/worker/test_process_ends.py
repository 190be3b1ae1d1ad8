"""Every way in which a model process can end before its time, and what the screen is told then."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.watched import FAKE, alive, map_request, until, watched
from vlmscope.core.base.errors import Cancelled, WorkerError
from vlmscope.core.worker.log import worker_log
from vlmscope.core.worker.messages import Phase


@pytest.mark.parametrize("prompt", ["deaf", "hang"])
async def test_hard_stop_kills_and_says_so(prompt: str) -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request(prompt)))
        await model.begin(prompt)
        pid = model.process
        started = time.monotonic()
        await model.stop()
        assert 2 <= time.monotonic() - started < 8
        assert not alive(pid)
        with pytest.raises(WorkerError, match="stopped") as caught:
            await running
        assert ":restart" in caught.value.hint
        assert model.status.phase is Phase.FAILED
        assert "the model must be loaded again (:restart)" in model.status.detail
        with pytest.raises(WorkerError, match="not loaded") as caught:
            await model.ask(map_request())
        assert ":restart" in caught.value.hint
        await model.restart()
        assert (await model.ask(map_request())).sample == 312


async def test_stop_while_loading_kills_at_once() -> None:
    async with watched("slow") as model:
        waiting = asyncio.create_task(model.ask(map_request()))
        await model.reach(Phase.LOADING)
        pid = model.process
        started = time.monotonic()
        await model.stop()
        assert time.monotonic() - started < 2
        assert not alive(pid)
        with pytest.raises(Cancelled):
            await waiting
        assert "loading was stopped" in model.status.detail
        assert model.status.phase is Phase.FAILED


async def test_a_crash_fails_the_request_and_restart_works() -> None:
    async with watched() as model:
        await model.ask(map_request())
        running = asyncio.create_task(model.ask(map_request("abort")))
        waiting = asyncio.create_task(model.ask(map_request()))
        for task in (running, waiting):
            with pytest.raises(WorkerError, match="killed by SIGABRT") as caught:
                await task
            assert str(worker_log()) in caught.value.hint
        assert model.status.phase is Phase.FAILED
        assert "SIGABRT" in model.status.detail
        assert ":restart" in model.status.detail
        assert "Fatal Python error: Aborted" in worker_log().read_text()
        await model.restart()
        assert (await model.ask(map_request())).sample == 312


@pytest.mark.parametrize("busy", [True, False])
async def test_kill_from_outside_is_noticed(busy: bool) -> None:
    async with watched() as model:
        await model.ask(map_request())
        running = asyncio.create_task(model.ask(map_request("hang"))) if busy else None
        if busy:
            await model.begin("hang")
        os.kill(model.process, signal.SIGKILL)
        status = await model.reach(Phase.FAILED)
        assert "SIGKILL" in status.detail
        if running is not None:
            with pytest.raises(WorkerError, match="SIGKILL"):
                await running
        await model.restart()
        await model.reach(Phase.READY)


async def test_failures_come_with_their_reason_and_keep_the_process() -> None:
    async with watched() as model:
        with pytest.raises(WorkerError, match="no picture") as caught:
            await model.ask(map_request("refuse"))
        assert caught.value.title == "The samples cannot be used"
        assert caught.value.hint == "Use another."
        with pytest.raises(WorkerError, match="RuntimeError: a tensor is on the wrong device") as caught:
            await model.ask(map_request("error"))
        assert str(worker_log()) in caught.value.hint
        assert 'raise RuntimeError("a tensor is on the wrong device")' in worker_log().read_text()
        with pytest.raises(WorkerError) as caught:
            await model.ask(map_request("memory"))
        assert caught.value.title == "Out of memory"
        assert ":unload" in caught.value.hint
        assert model.status.phase is Phase.READY
        await model.ask(map_request())
        assert "freed" in worker_log().read_text()


@pytest.mark.parametrize(("name", "reason"), [("broken", "broken has no weights"), ("crash", "exit code 7")])
async def test_a_load_that_fails(name: str, reason: str) -> None:
    async with watched(name) as model:
        with pytest.raises(WorkerError, match=reason):
            await model.ask(map_request())
        assert model.status.phase is Phase.FAILED
        assert reason in model.status.detail
        with pytest.raises(WorkerError, match="not loaded"):
            await model.ask(map_request())


async def test_a_worker_that_cannot_start() -> None:
    async with watched(command=("/nowhere/python",)) as model:
        with pytest.raises(WorkerError, match="cannot be started: No such file"):
            await model.ask(map_request())
        assert model.status.phase is Phase.FAILED


async def test_what_a_worker_says_before_it_can_speak_is_in_the_log() -> None:
    async with watched(command=(sys.executable, "-c", "raise SystemExit('no module named numpy')")) as model:
        with pytest.raises(WorkerError, match="exit code 1"):
            await model.ask(map_request())
        assert "no module named numpy" in worker_log().read_text()


@pytest.mark.parametrize("order", ["nonsense", "wrong"])
async def test_nonsense_from_the_worker_ends_it(order: str) -> None:
    async with watched() as model:
        with pytest.raises(WorkerError, match="nonsense"):
            await model.ask(map_request(order))
        assert model.status.phase is Phase.FAILED
        assert model.pid is None


async def test_a_worker_that_never_stops_talking_is_ended() -> None:
    # More than the stream buffers: asyncio stops reading, and the end must be seen nonetheless.
    command = (sys.executable, "-c", "import sys\nwhile True: sys.stdout.write('x' * 65536)")
    async with watched(command=command) as model:
        with pytest.raises(WorkerError, match="nonsense"):
            await asyncio.wait_for(model.ask(map_request()), 20)


async def test_what_a_process_said_before_it_was_given_up_is_dropped() -> None:
    async with watched("slow") as model:
        waiting = asyncio.create_task(model.ask(map_request()))
        await until(lambda: model.pid is not None)
        # The loop stands still: what the worker reports stays in the pipe until it has been given up.
        end = time.monotonic() + 60
        while not worker_log().exists() or "loading for ever" not in worker_log().read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        await model.unload()
        with pytest.raises(WorkerError, match="stopped"):
            await waiting
        assert model.phases == [Phase.STARTING, Phase.OFF]


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.LOADING])
async def test_close_while_loading_is_quick(phase: Phase) -> None:
    async with watched("slow") as model:
        waiting = asyncio.create_task(model.ask(map_request()))
        await model.reach(phase)
        started = time.monotonic()
        await model.close()
        assert time.monotonic() - started < 2
        with pytest.raises(WorkerError):
            await waiting
        with pytest.raises(WorkerError, match="closed"):
            await model.ask(map_request())


async def test_close_with_a_hung_worker_is_quick() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.ask(map_request("hang")))
        await model.begin("hang")
        pid, seen = model.process, len(model.seen)
        started = time.monotonic()
        await model.close()
        assert time.monotonic() - started < 2
        assert not alive(pid)
        assert len(model.seen) == seen
        with pytest.raises(WorkerError):
            await running


PARENT = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.support.watched import Watched, map_request

async def main():
    model = Watched()
    task = asyncio.create_task(model.ask(map_request({prompt!r})))
    await model.begin({prompt!r})
    print(model.process, flush=True)
    await task

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "prompt",
    [
        "deaf",
        pytest.param(
            "hang", marks=pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's parent-death signal")
        ),
    ],
)
async def test_a_killed_screen_leaves_no_worker(prompt: str) -> None:
    script = PARENT.format(root=str(FAKE.parents[2]), prompt=prompt)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
        parent.wait()
    await until(lambda: not alive(worker), lambda: "the worker lives on", timeout=30)
