"""The screen's side against real worker processes, with an engine that misbehaves on request."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from core.errors import Cancelled, WorkerError
from core.model_messages import DescribeRequest, MapAnswer, MapRequest, ModelSpec, ModelStatus, Phase
from core.model_process import ModelProcess, Superseded
from core.neuron import Neuron
from core.worker_log import worker_log

FAKE = Path(__file__).with_name("fake_worker.py")
COMMAND = (sys.executable, "-P", str(FAKE))


class Watched(ModelProcess):
    """Remembers its statuses."""

    def __init__(self, name: str = "fake", idle_unload_s: float = 0.0, command: tuple[str, ...] = COMMAND) -> None:
        self.seen: list[ModelStatus] = []
        super().__init__(ModelSpec(name), self.seen.append, idle_unload_s, command=command)

    @property
    def phases(self) -> list[Phase]:
        return [status.phase for status in self.seen]

    async def reach(self, phase: Phase) -> ModelStatus:
        await until(lambda: self.status.phase is phase, lambda: f"{phase} not reached: {self.seen}")
        return self.status

    @property
    def process(self) -> int:
        assert self.pid is not None
        return self.pid


async def until(condition: Callable[[], bool], say: Callable[[], str] = lambda: "", timeout: float = 30.0) -> None:
    """Poll: what is waited for happens in other processes."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, say()
        await asyncio.sleep(0.005)


@asynccontextmanager
async def watched(
    name: str = "fake", idle_unload_s: float = 0.0, command: tuple[str, ...] = COMMAND
) -> AsyncIterator[Watched]:
    """A process that is closed in the end, leaving no task and no child."""
    model = Watched(name, idle_unload_s, command)
    try:
        yield model
    finally:
        await model.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def ask(prompt: str = "answer", sample: int | None = 312, layer: int = 3) -> MapRequest:
    return MapRequest(Neuron(layer, 217), "cat.png", prompt, "two dogs", sample)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        # A zombie is gone, too: in a container there may be nobody who reaps orphans.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc").exists()


async def test_first_request_starts_loads_and_is_answered() -> None:
    async with watched() as model:
        assert model.status == ModelStatus(Phase.OFF)
        answer = await model.map(ask())
        np.testing.assert_array_equal(answer.visual, np.full((2, 3), 3, np.float32))
        np.testing.assert_array_equal(answer.text, [0, 1])
        assert (answer.neuron, answer.image, answer.sample) == (Neuron(3, 217), "cat.png", 312)
        assert model.phases == [Phase.STARTING, Phase.LOADING, Phase.BUSY, Phase.READY]
        assert model.seen[1] == ModelStatus(Phase.LOADING, "reading weights", 0.5)
        assert model.seen[2].detail == "L3/N217 on #312"
        first = model.process
        await model.map(ask(sample=None))
        assert model.process == first
        assert model.seen[-2].detail == "L3/N217 on cat.png"
        description = await model.describe(DescribeRequest("a/cat\x1b.png", "What?"))
        assert (description.prompt, description.tokens, description.crop) == (
            "<image> What?",
            ("A ", "cat", "."),
            b"\xff\0",
        )
        assert model.seen[-2].detail == "describing cat .png"


async def test_the_latest_waiting_request_wins() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.map(ask("soft", sample=1)))
        await model.reach(Phase.BUSY)
        second = asyncio.create_task(model.map(ask(sample=2)))
        third = asyncio.create_task(model.describe(DescribeRequest("cat.png", "What?")))
        fourth = asyncio.create_task(model.map(ask(sample=4)))
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
        first = asyncio.create_task(model.map(ask(sample=1)))
        await model.reach(Phase.STARTING)
        second = asyncio.create_task(model.map(ask(sample=2)))
        with pytest.raises(Superseded):
            await first
        assert (await second).sample == 2
        assert model.phases.count(Phase.BUSY) == 1


async def test_soft_stop_keeps_the_process() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.map(ask("soft")))
        await model.reach(Phase.BUSY)
        waiting = asyncio.create_task(model.map(ask()))
        await asyncio.sleep(0)
        pid = model.process
        started = time.monotonic()
        await model.stop()
        assert time.monotonic() - started < 2
        for task in (running, waiting):
            with pytest.raises(Cancelled, match="stopped"):
                await task
        assert model.status.phase is Phase.READY
        await model.map(ask())
        assert model.process == pid


@pytest.mark.parametrize("prompt", ["deaf", "hang"])
async def test_hard_stop_kills_and_says_so(prompt: str) -> None:
    async with watched() as model:
        running = asyncio.create_task(model.map(ask(prompt)))
        await model.reach(Phase.BUSY)
        pid = model.process
        started = time.monotonic()
        await model.stop()
        assert 2 <= time.monotonic() - started < 4
        assert not alive(pid)
        with pytest.raises(WorkerError, match="stopped") as caught:
            await running
        assert ":restart" in caught.value.mend
        assert model.status.phase is Phase.FAILED
        assert "the model must be loaded again (:restart)" in model.status.detail
        with pytest.raises(WorkerError, match="not loaded") as caught:
            await model.map(ask())
        assert ":restart" in caught.value.mend
        await model.restart()
        assert (await model.map(ask())).sample == 312


async def test_stop_while_loading_kills_at_once() -> None:
    async with watched("slow") as model:
        waiting = asyncio.create_task(model.map(ask()))
        await model.reach(Phase.LOADING)
        pid = model.process
        started = time.monotonic()
        await model.stop()
        assert time.monotonic() - started < 1
        assert not alive(pid)
        with pytest.raises(Cancelled):
            await waiting
        assert "loading was stopped" in model.status.detail
        assert model.status.phase is Phase.FAILED


async def test_stop_when_nothing_runs_changes_nothing() -> None:
    async with watched() as model:
        await model.stop()
        assert model.seen == []
        await model.map(ask())
        seen = list(model.seen)
        await model.stop()
        assert model.seen == seen


async def test_a_crash_fails_the_request_and_restart_works() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.map(ask("abort")))
        await model.reach(Phase.BUSY)
        waiting = asyncio.create_task(model.map(ask()))
        for task in (running, waiting):
            with pytest.raises(WorkerError, match="killed by SIGABRT") as caught:
                await task
            assert str(worker_log()) in caught.value.mend
        assert model.status.phase is Phase.FAILED
        assert "SIGABRT" in model.status.detail
        assert ":restart" in model.status.detail
        assert "Fatal Python error: Aborted" in worker_log().read_text()
        await model.restart()
        assert (await model.map(ask())).sample == 312


@pytest.mark.parametrize("busy", [True, False])
async def test_kill_from_outside_is_noticed(busy: bool) -> None:
    async with watched() as model:
        await model.map(ask())
        running = asyncio.create_task(model.map(ask("hang"))) if busy else None
        if busy:
            await model.reach(Phase.BUSY)
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
            await model.map(ask("refuse"))
        assert caught.value.title == "The samples cannot be used"
        assert caught.value.mend == "Use another."
        with pytest.raises(WorkerError, match="RuntimeError: a tensor is on the wrong device") as caught:
            await model.map(ask("error"))
        assert str(worker_log()) in caught.value.mend
        assert 'raise RuntimeError("a tensor is on the wrong device")' in worker_log().read_text()
        with pytest.raises(WorkerError) as caught:
            await model.map(ask("memory"))
        assert caught.value.title == "Out of memory"
        assert ":unload" in caught.value.mend
        assert model.status.phase is Phase.READY
        await model.map(ask())
        assert "freed" in worker_log().read_text()


@pytest.mark.parametrize(("name", "reason"), [("broken", "broken has no weights"), ("crash", "exit code 7")])
async def test_a_load_that_fails(name: str, reason: str) -> None:
    async with watched(name) as model:
        with pytest.raises(WorkerError, match=reason):
            await model.map(ask())
        assert model.status.phase is Phase.FAILED
        assert reason in model.status.detail
        with pytest.raises(WorkerError, match="not loaded"):
            await model.map(ask())


async def test_a_worker_that_cannot_start() -> None:
    async with watched(command=("/nowhere/python",)) as model:
        with pytest.raises(WorkerError, match="cannot be started: No such file"):
            await model.map(ask())
        assert model.status.phase is Phase.FAILED


async def test_nonsense_from_the_worker_ends_it() -> None:
    async with watched() as model:
        with pytest.raises(WorkerError, match="nonsense"):
            await model.map(ask("nonsense"))
        assert model.status.phase is Phase.FAILED
        assert model.pid is None


async def test_a_worker_that_never_stops_talking_is_ended() -> None:
    # More than the stream buffers: asyncio stops reading, and the end must be seen nonetheless.
    command = (sys.executable, "-c", "import sys\nwhile True: sys.stdout.write('x' * 65536)")
    async with watched(command=command) as model:
        with pytest.raises(WorkerError, match="nonsense"):
            await asyncio.wait_for(model.map(ask()), 20)


async def test_noise_goes_to_the_log() -> None:
    async with watched() as model:
        answer = await model.map(ask("noise"))
        assert answer.sample == 312
        log = worker_log().read_text()
        for noise in ("noise from Python", "noise on 1", "noise on 2", "noise from C"):
            assert noise in log


async def test_cancelling_the_caller_stops_the_work_softly() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.map(ask("soft")))
        await model.reach(Phase.BUSY)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await model.reach(Phase.READY)
        waiting = asyncio.create_task(model.map(ask("soft")))
        await model.reach(Phase.BUSY)
        withdrawn = asyncio.create_task(model.map(ask("abort")))
        await asyncio.sleep(0)
        withdrawn.cancel()
        waiting.cancel()
        await model.reach(Phase.READY)
        await model.map(ask())  # "abort" never ran


async def test_an_idle_model_is_unloaded_and_loads_again() -> None:
    async with watched(idle_unload_s=0.05) as model:
        await model.map(ask())
        pid = model.process
        status = await model.reach(Phase.OFF)
        assert status.detail == "unloaded after 0.05 s idle"
        await until(lambda: not alive(pid))
        assert (await model.map(ask())).sample == 312


async def test_a_busy_model_is_not_idle() -> None:
    async with watched(idle_unload_s=0.05) as model:
        running = asyncio.create_task(model.map(ask("soft")))
        await model.reach(Phase.BUSY)
        done, _ = await asyncio.wait({running}, timeout=0.3)
        assert not done
        assert model.status.phase is Phase.BUSY
        running.cancel()


async def test_unload_frees_and_the_next_request_loads() -> None:
    async with watched() as model:
        await model.map(ask())
        pid = model.process
        await model.unload()
        assert not alive(pid)
        assert model.status == ModelStatus(Phase.OFF, "unloaded")
        assert (await model.map(ask())).sample == 312
        running = asyncio.create_task(model.map(ask("hang")))
        await model.reach(Phase.BUSY)
        await model.unload()
        with pytest.raises(WorkerError, match="stopped"):
            await running


async def test_restart_replaces_a_hung_process_once() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.map(ask("hang")))
        await model.reach(Phase.BUSY)
        old = model.process
        await asyncio.gather(model.restart(), model.restart())
        with pytest.raises(WorkerError, match="stopped"):
            await running
        await model.reach(Phase.READY)
        assert not alive(old)
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
        if children.exists():
            assert [pid for pid in map(int, children.read_text().split()) if alive(pid)] == [model.process]


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.LOADING])
async def test_close_while_loading_is_quick(phase: Phase) -> None:
    async with watched("slow") as model:
        waiting = asyncio.create_task(model.map(ask()))
        await model.reach(phase)
        started = time.monotonic()
        await model.close()
        assert time.monotonic() - started < 1
        with pytest.raises(WorkerError):
            await waiting
        with pytest.raises(WorkerError, match="closed"):
            await model.map(ask())


async def test_close_with_a_hung_worker_is_quick() -> None:
    async with watched() as model:
        running = asyncio.create_task(model.map(ask("hang")))
        await model.reach(Phase.BUSY)
        pid, seen = model.process, len(model.seen)
        started = time.monotonic()
        await model.close()
        assert time.monotonic() - started < 1
        assert not alive(pid)
        assert len(model.seen) == seen
        with pytest.raises(WorkerError):
            await running


PARENT = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.core.test_model_process import Watched, ask
from core.model_messages import Phase

async def main():
    model = Watched()
    task = asyncio.create_task(model.map(ask({prompt!r})))
    await model.reach(Phase.BUSY)
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
    await until(lambda: not alive(worker), lambda: "the worker lives on", timeout=5)


def test_the_screens_side_loads_neither_torch_nor_transformers_nor_textual() -> None:
    script = """
import sys
import core.model_process
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
            answer: MapAnswer = await model.map(ask(sample=layer, layer=layer))
            assert answer.sample == layer
            assert answer.visual[0, 0] == layer
