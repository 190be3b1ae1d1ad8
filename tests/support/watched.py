"""Model processes for tests: watched, waited for with a bound, and closed without leaving anything."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.worker.log import worker_log
from vlmscope.core.worker.messages import MapRequest, ModelSpec, ModelStatus, Phase
from vlmscope.core.worker.process import ModelProcess

FAKE = Path(__file__).with_name("fake_worker.py")
COMMAND = (sys.executable, "-P", str(FAKE))


class Watched(ModelProcess):
    """Remembers its statuses."""

    def __init__(self, name: str = "fake", idle_unload_s: float = 0.0, command: tuple[str, ...] = COMMAND) -> None:
        self.seen: list[ModelStatus] = []
        super().__init__(ModelSpec(name, device="cpu"), self.seen.append, idle_unload_s, command=command)

    @property
    def phases(self) -> list[Phase]:
        return [status.phase for status in self.seen]

    async def reach(self, phase: Phase) -> ModelStatus:
        await until(lambda: self.status.phase is phase, lambda: f"{phase} not reached: {self.seen}")
        return self.status

    async def begin(self, order: str) -> None:
        """Wait until the fake engine is at it: before, a request that is stopped is not even begun."""
        await self.reach(Phase.BUSY)
        await until(lambda: begun(order), lambda: f"{order} not begun: {self.seen}")

    @property
    def process(self) -> int:
        assert self.pid is not None
        return self.pid


def begun(order: str) -> bool:
    """Whether a fake engine with this log has begun what it was told."""
    return worker_log().exists() and f"obeys {order}\n" in worker_log().read_text()


async def until(condition: Callable[[], bool], say: Callable[[], str] = lambda: "", timeout: float = 60.0) -> None:
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
        async with asyncio.timeout(300):  # a test that would wait for ever fails
            yield model
    finally:
        await model.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def map_request(prompt: str = "answer", sample: int | None = 312, layer: int = 3) -> MapRequest:
    return MapRequest(Neuron(layer, 217), "cat.png", prompt, "two dogs", sample)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        # A zombie is gone, too: in a container there may be nobody who reaps orphans.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before or while it is read
        return not Path("/proc").exists()
