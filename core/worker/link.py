"""One worker process, from its start to its end, in the screen's event loop."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from vlmscope.core.worker import wire
from vlmscope.core.worker.log import open_worker_log
from vlmscope.core.worker.messages import Message, ModelSpec

COMMAND = (sys.executable, "-P", "-m", "vlmscope.core.model.server")


class WorkerLink:
    """A child process at the other end of ``core.worker.wire``. ``run`` lasts as long as it lives."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._doomed = False
        self.loaded = False  #: set by its owner

    @property
    def pid(self) -> int | None:
        """The process, once it is started."""
        return None if self._process is None else self._process.pid

    async def run(self, spec: ModelSpec, receive: Callable[[wire.Frame], None]) -> str:
        """Start it, send ``spec``, and pass its frames to ``receive`` until it has ended and is reaped.

        It is killed at a frame that is malformed, or that ``receive`` refuses with a ``FrameError``.

        Returns:
            Why it ended, to follow "the model process".
        """
        if self._doomed:
            return "was stopped"
        try:
            self._process = await self._spawn()
        except OSError as error:
            return f"cannot be started: {error.strerror or error}"
        stdout = self._process.stdout
        assert stdout is not None  # stdout=PIPE
        nonsense = ""
        try:
            if self._doomed:
                self._signal()
            self.send(spec, 0)
            while (frame := await wire.read_async(stdout)) is not None:
                receive(frame)
        except wire.FrameError as error:
            self._signal()
            nonsense = f"answered nonsense: {error.message}"
        except BaseException:
            self._signal()
            raise
        finally:
            # On Python 3.11 wait() ends only when the pipe has been read to its end.
            while await stdout.read(1 << 16):
                pass
            code = await self._reaped()
        return nonsense or _reason(code)

    def send(self, message: Message, number: int) -> None:
        """Send ``message``; a process that is ending may not read it. Raises FrameError if it is too large."""
        data = wire.pack(message, number)
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(data)

    def kill(self) -> None:
        """End it at once, with its children; ``run`` returns soon after."""
        self._doomed = True
        self._signal()

    def _signal(self) -> None:
        if self._process is not None and self._process.returncode is None:
            # Not the process object's kill(): it would reap the child before asyncio does. PermissionError: macOS, when
            # a member of the group is a zombie.
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(self._process.pid, signal.SIGKILL)

    async def _reaped(self) -> int:
        """Wait for the end; a process that has closed its output gets a second to follow."""
        assert self._process is not None
        try:
            return await asyncio.wait_for(self._process.wait(), 1.0)
        except TimeoutError:
            self._signal()
            return await self._process.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        log = open_worker_log()
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,  # explicit: Textual's own stderr has no usable descriptor
                start_new_session=True,
                limit=1 << 20,
                env=_environment(),
            )
        finally:
            os.close(log)


def _environment() -> dict[str, str]:
    """The screen's environment, changed so that the worker draws nothing."""
    changed = {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": os.environ.get("TOKENIZERS_PARALLELISM", "false"),
        "PYTHONFAULTHANDLER": "1",  # a crash in C leaves its Python stack in the log
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **changed}


def _reason(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (perhaps the machine ran out of memory)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
