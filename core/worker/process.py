"""The screen's side of the model process: starts it, asks it, stops it, and reports its status. No torch here.

Notable:
- A request loads the model when it is off. After a failure (a crash, a load that failed, a stop that had to kill) only
  ``restart`` does, so that stepping on does not silently load 14 GB again.
- One request runs; the others wait in two lanes (``core.worker.client.Lane``). When both wait, the screen's goes
  first, as the user waits for it. Background work continues as soon as no request of the screen waits.
- All state changes happen between two awaits, in the event loop's thread; there is nothing to lock. A process that has
  been given up is forgotten at once (``self._link`` is another or None) and what it still sends is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from vlmscope.core.base.errors import Cancelled, WorkerError
from vlmscope.core.base.text import plain
from vlmscope.core.worker import wire
from vlmscope.core.worker.client import Lane, Superseded
from vlmscope.core.worker.link import COMMAND, WorkerLink
from vlmscope.core.worker.log import worker_log
from vlmscope.core.worker.messages import (
    Cancel,
    Failed,
    Loaded,
    Loading,
    Message,
    ModelSpec,
    ModelStatus,
    Phase,
    Request,
)

STOP_GRACE_S = 2.0  #: how long a request may take to notice that it was stopped
END_GRACE_S = 10.0  #: how long a killed process may take to be gone before another is started beside it
CLOSE_GRACE_S = 1.0
DETAIL_LENGTH = 200
RESTART = ":restart loads the model again"

A = TypeVar("A", bound=Message)


class _Job(Generic[A]):
    """A request on its way."""

    def __init__(self, request: Request[A]) -> None:
        self.request = request
        self.answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        self.number = 0
        self.stopped = False

    def finish(self, answer: A | WorkerError) -> None:
        """Hand the answer to the asker, if there still is one."""
        self.over.set()
        if self.answer.done():
            return
        if isinstance(answer, WorkerError):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class ModelProcess:
    """The one model process of a screen. Its methods are called in the event loop's thread."""

    def __init__(
        self,
        spec: ModelSpec,
        on_status: Callable[[ModelStatus], None],
        idle_unload_s: float = 900.0,
        *,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Nothing is started before the first request.

        Args:
            on_status: called in the event loop at each change, until ``close``.
            idle_unload_s: seconds without a request after which the model is unloaded; 0 keeps it.
            command: what to start; tests have workers of their own.
        """
        self.spec = spec
        self._on_status = on_status
        self._idle_unload_s = idle_unload_s
        self._command = command
        self._status = ModelStatus(Phase.OFF)
        self._link: WorkerLink | None = None
        self._lives: set[asyncio.Task[None]] = set()
        self._running: _Job[Any] | None = None
        self._lanes: dict[Lane, deque[_Job[Any]]] = {lane: deque() for lane in Lane}
        self._number = 0
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def status(self) -> ModelStatus:
        return self._status

    @property
    def pid(self) -> int | None:
        """The process, if one is started."""
        return None if self._link is None else self._link.pid

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        """See ``core.worker.client.Asks``. A cancelled caller withdraws its request."""
        if self._closed:
            raise WorkerError("The model process is closed.")
        if self._status.phase is Phase.FAILED:
            raise WorkerError(f"The model is not loaded: {self._status.detail}.", f"{RESTART}.")
        job, waiting = _Job(request), self._lanes[lane]
        if lane is Lane.SCREEN and waiting:
            waiting.pop().finish(Superseded("A later request took its place."))
        waiting.append(job)
        if self._link is None:
            self._start()
        else:
            self._next()
        try:
            return await job.answer
        except asyncio.CancelledError:
            self._withdraw(job)
            raise

    async def stop(self) -> None:
        """Stop what runs, and what waits in either lane.

        A request that does not notice within two seconds is killed, and the model with it. Loading cannot be stopped
        softly: it is killed at once.
        """
        for waiting in self._take_waiting():
            waiting.finish(Cancelled("stopped"))
        link, job = self._link, self._running
        if link is None:
            return
        if not link.loaded:
            self._give_up(ModelStatus(Phase.FAILED, f"loading was stopped; {RESTART}"), _stopped())
            await self._gone(END_GRACE_S)
        elif job is not None:
            job.stopped = True
            link.send(Cancel(), job.number)
            try:
                await asyncio.wait_for(job.over.wait(), STOP_GRACE_S)
            except TimeoutError:
                if self._running is job:
                    detail = "stopped; the model must be loaded again (:restart)"
                    self._give_up(ModelStatus(Phase.FAILED, detail), _stopped(f"{RESTART}."))
                    await self._gone(END_GRACE_S)

    async def restart(self) -> None:
        """End the process if there is one, and load the model again. Returns before it is loaded: watch ``status``."""
        if self._closed:
            return
        self._give_up(None, _stopped())
        self._start()

    async def unload(self) -> None:
        """End the process, so that its memory is free on return. The next request loads the model again."""
        self._give_up(ModelStatus(Phase.OFF, "unloaded"), _stopped())
        await self._gone(END_GRACE_S)

    async def close(self) -> None:
        """End the process for good, on quitting. Takes a second at most; ``on_status`` is not called any more."""
        self._closed = True
        self._give_up(ModelStatus(Phase.OFF), _stopped())
        await self._gone(CLOSE_GRACE_S)

    def _withdraw(self, job: _Job[Any]) -> None:
        """Drop ``job``, whose asker has gone; stop it if it runs."""
        for lane in self._lanes.values():
            if job in lane:
                lane.remove(job)
        if self._running is job and self._link is not None:
            self._link.send(Cancel(), job.number)
        if job.answer.done() and not job.answer.cancelled():
            job.answer.exception()  # else asyncio warns that it was never retrieved

    def _take_waiting(self) -> list[_Job[Any]]:
        """Empty both lanes; returns what waited, the screen's first."""
        jobs = [job for lane in Lane for job in self._lanes[lane]]
        for lane in self._lanes.values():
            lane.clear()
        return jobs

    def _start(self) -> None:
        self._set_status(ModelStatus(Phase.STARTING, "starting the model process"))
        link = self._link = WorkerLink(self._command)
        life = asyncio.get_running_loop().create_task(self._live(link, frozenset(self._lives)))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    async def _live(self, link: WorkerLink, earlier: frozenset[asyncio.Task[None]]) -> None:
        """One process, from its start to its end; ``earlier`` ones free their memory first."""
        reason = "failed on the screen's side"
        try:
            if earlier:
                await asyncio.wait(earlier, timeout=END_GRACE_S)
            reason = await link.run(self.spec, lambda frame: self._receive(link, frame))
        finally:
            if self._link is link:
                reason = plain(reason, DETAIL_LENGTH)
                hint = f"{RESTART}; what it printed is in {worker_log()}."
                failed = Failed(WorkerError.title, f"The model process {reason}.", hint)
                self._give_up(ModelStatus(Phase.FAILED, f"the model process {reason}; {RESTART}"), failed)

    def _receive(self, link: WorkerLink, frame: wire.Frame) -> None:
        if self._link is not link:
            return
        if frame.number == 0:
            self._receive_report(link, wire.unpack(frame, Loading, Loaded, Failed))
            return
        job = self._running
        if job is None or frame.number != job.number:
            raise wire.FrameError("an answer to no request")
        answer = wire.unpack(frame, Failed, job.request.answer_type())
        self._running = None
        if job.stopped:
            job.finish(Cancelled("stopped"))
        else:
            job.finish(_error(answer) if isinstance(answer, Failed) else answer)
        self._next()

    def _receive_report(self, link: WorkerLink, report: Message) -> None:
        match report:
            case Loading(detail, progress):
                self._set_status(ModelStatus(Phase.LOADING, plain(detail, DETAIL_LENGTH), progress))
            case Loaded():
                link.loaded = True
                self._next()
            case Failed(message=message):
                detail = f"{plain(message, DETAIL_LENGTH).rstrip('.')}; {RESTART}"
                self._give_up(ModelStatus(Phase.FAILED, detail), report)

    def _next(self) -> None:
        """Let a waiting request run, if nothing else does; else rest."""
        if self._link is None or not self._link.loaded or self._running is not None:
            return
        self._rest(False)
        while (lane := next((self._lanes[lane] for lane in Lane if self._lanes[lane]), None)) is not None:
            job = lane.popleft()
            self._number += 1
            job.number = self._number
            try:
                self._link.send(job.request, job.number)
            except wire.FrameError as error:
                job.finish(error)
                continue
            self._running = job
            self._set_status(ModelStatus(Phase.BUSY, job.request.title))
            return
        self._rest(True)
        self._set_status(ModelStatus(Phase.READY))

    def _rest(self, idle: bool) -> None:
        """Start or stop waiting for the time at which an idle model is unloaded."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if idle and self._idle_unload_s > 0:
            detail = f"unloaded after {_duration(self._idle_unload_s)} idle"
            unload = ModelStatus(Phase.OFF, detail)
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._idle_unload_s, self._give_up, unload, _stopped())

    def _give_up(self, status: ModelStatus | None, why: Failed) -> None:
        """Kill and forget the process, if there is one; requests fail for the reason ``why``."""
        self._rest(False)
        link, self._link = self._link, None
        running, self._running = self._running, None
        jobs = ([] if running is None else [running]) + self._take_waiting()
        if link is not None:
            link.kill()
        if status is not None:
            self._set_status(status)
        for job in jobs:
            job.finish(_error(why))

    async def _gone(self, timeout: float) -> None:
        """Wait until every process that was given up has ended."""
        if self._lives:
            await asyncio.wait(set(self._lives), timeout=timeout)

    def _set_status(self, status: ModelStatus) -> None:
        if status != self._status:
            self._status = status
            if not self._closed:
                self._on_status(status)


def _stopped(hint: str = "") -> Failed:
    return Failed(Cancelled.title, "stopped", hint, stopped=True)


def _error(failed: Failed) -> WorkerError:
    error = (Cancelled if failed.stopped else WorkerError)(failed.message, failed.hint)
    error.title = failed.title
    return error


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
