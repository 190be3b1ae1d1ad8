"""The model process: ``python -P -m vlmscope.core.model.server``, started by ``core/worker/process.py``.

Notable:
- The protocol has descriptors of its own. Descriptors 1 and 2 are the log from the start, so that what a library
  prints, from Python or from C, reaches neither the screen nor the protocol.
- A thread reads what the screen sends. When the stream ends (the screen has gone, for whatever reason), the process
  ends at once, even in the middle of a forward pass.
- Requests are answered one after the other; a cancellation is a flag that the work reads between layers and tokens.
"""

import contextlib
import ctypes
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from vlmscope.core.base.callbacks import OnLoading, check
from vlmscope.core.base.errors import Cancelled, VlmscopeError, WorkerError
from vlmscope.core.model.engine import Engine, load_vlm
from vlmscope.core.worker import wire
from vlmscope.core.worker.log import open_worker_log, worker_log
from vlmscope.core.worker.messages import Cancel, Failed, Loaded, Loading, Message, ModelSpec

Load = Callable[[ModelSpec, OnLoading], Engine]
log = logging.getLogger("vlmscope.worker")

PR_SET_PDEATHSIG = 1


class _Screen:
    """The other side: frames from it, in a queue; frames to it, from any thread."""

    def __init__(self, stdin_fd: int, stdout_fd: int) -> None:
        self._in: IO[bytes] = os.fdopen(stdin_fd, "rb")
        self._out: IO[bytes] = os.fdopen(stdout_fd, "wb")
        self._writing = threading.Lock()
        self._stopped = 0
        self.frames: queue.SimpleQueue[wire.Frame] = queue.SimpleQueue()

    def listen(self) -> None:
        """Read until the end, which ends the process."""
        code = 0
        try:
            while (frame := wire.read(self._in)) is not None:
                if frame.kind == Cancel.__name__:
                    self._stopped = max(self._stopped, frame.number)
                else:
                    self.frames.put(frame)
        except WorkerError:
            log.exception("the screen sent nonsense")
            code = 3
        finally:
            os._exit(code)

    def stopped(self, number: int) -> bool:
        """Whether request ``number`` has been cancelled."""
        return self._stopped >= number

    def send(self, message: Message, number: int = 0) -> None:
        """Answer. Ends the process if the screen has gone."""
        data = wire.pack(message, number)
        try:
            with self._writing:
                self._out.write(data)
                self._out.flush()
        except BrokenPipeError:
            os._exit(0)


def serve(stdin_fd: int, stdout_fd: int, load: Load = load_vlm) -> int:
    """Load the model that the first frame names, then answer requests until the screen goes.

    Returns:
        The exit code, only if loading fails; otherwise the process ends inside.
    """
    screen = _Screen(stdin_fd, stdout_fd)
    threading.Thread(target=screen.listen, name="screen", daemon=True).start()
    try:
        spec = wire.unpack(screen.frames.get(), ModelSpec)
        engine = load(spec, lambda detail, progress=None: screen.send(Loading(detail, progress)))
    except Exception as error:
        log.exception("loading failed")
        screen.send(failure(error))
        return 1
    screen.send(Loaded())
    while True:
        _answer(screen, engine, screen.frames.get())


def _answer(screen: _Screen, engine: Engine, frame: wire.Frame) -> None:
    number = frame.number
    full = False
    try:
        check(lambda: screen.stopped(number), "Stopped.")
        request = wire.unpack(frame, *engine.handlers)
        answer = engine.handlers[type(request)](request, lambda: screen.stopped(number))
        screen.send(answer, number)
    except Exception as error:
        if not isinstance(error, Cancelled):
            log.exception("request %d failed", number)
        screen.send(failure(error), number)
        full = out_of_memory(error)
    if full:
        engine.free()  # only here: the exception's frames held the tensors


def failure(error: Exception) -> Failed:
    """The report of a failure: the fields of a ``VlmscopeError``, else type, message and where the traceback is."""
    if out_of_memory(error):
        return Failed(
            "Out of memory",
            "The model's device has no memory left for this.",
            "Free it (:unload ends this model; other programs may hold the device), or use a smaller --dtype or "
            "another --device, then :restart.",
        )
    if isinstance(error, VlmscopeError):
        return Failed(error.title, error.message, error.hint, isinstance(error, Cancelled))
    reason = f"{type(error).__name__}: {error}"
    return Failed(WorkerError.title, reason[:2000], f"The traceback is in {worker_log()}.")


def out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the host or of the device ran out."""
    torch: Any = sys.modules.get("torch")  # if it is not imported, it raised nothing
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def die_with_parent() -> None:
    """Let the kernel end this process when the screen dies.

    The end of stdin does the same, but its thread needs the interpreter's lock, which a library may hold for long.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(load: Load = load_vlm) -> int:
    """Keep the protocol's descriptors to this module alone, then serve."""
    die_with_parent()
    stdin_fd, stdout_fd = os.dup(0), os.dup(1)
    log_fd, null_fd = open_worker_log(), os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null_fd, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(source, target)
    os.close(log_fd)
    os.close(null_fd)
    logging.basicConfig(format=f"%(asctime)s [{os.getpid()}] %(name)s: %(message)s", level=logging.WARNING)
    return serve(stdin_fd, stdout_fd, load)


if __name__ == "__main__":
    # Not sys.exit: the interpreter would wait for libraries' threads.
    os._exit(main())
