"""The signals that end a program, in one place for all commands.

Ctrl-C is SIGINT; ``kill`` and batch systems send SIGTERM; SIGHUP means that the terminal is gone (a closed window, a
lost connection, ``tmux kill-session``); SIGQUIT is ``Ctrl-\\``.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import ClassVar, Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_STREAMS = (1, 2)  # stdout, stderr


def exit_code(number: int) -> int:
    """The exit code of a program that a signal has ended, as shells have it."""
    return 128 + number


class Ending:
    """While the block runs, signals that end a program are passed to ``react``.

    A signal that is ignored stays ignored, as SIGHUP does under ``nohup``. Outside the main thread nothing is done:
    only that thread may take signals.

    Attributes:
        number: the first signal; 0 if there was none.
        running: those whose block is running.
    """

    running: ClassVar[list["Ending"]] = []

    def __init__(self, react: Callable[["Ending"], None], numbers: tuple[signal.Signals, ...] = ENDING) -> None:
        self.number = 0
        self._react = react
        self._numbers = numbers
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            taken = [one for one in self._numbers if one == signal.SIGINT or signal.getsignal(one) != signal.SIG_IGN]
            self._before = {one: signal.signal(one, self._take) for one in taken}
        Ending.running.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        Ending.running.remove(self)
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def release(self) -> None:
        """Let the next signal act as before the block, as a rule at once. No further SIGHUP counts: the kernel and the
        shell both send one when a terminal is closed.
        """
        for one, handler in self._before.items():
            signal.signal(one, signal.SIG_IGN if one == signal.SIGHUP else handler)

    def is_asked(self) -> bool:
        """Whether there was a signal."""
        return self.number != 0

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number
        if number == signal.SIGHUP:
            drop_lost_terminal()
        self._react(self)


def asked() -> int:
    """The signal that has asked the program to end, 0 if none has.

    A signal's exception is lost where Python ignores exceptions, as in a callback of the garbage collector: who begins
    something long asks here first.
    """
    return next((ending.number for ending in Ending.running if ending.number), 0)


class Stopped(KeyboardInterrupt):
    """A signal other than SIGINT ends the program.

    Of a type of its own: Python ends by SIGINT if KeyboardInterrupt itself was raised inside of ``exec``, by which
    dataclasses are made, even where it was caught.
    """


@contextlib.contextmanager
def as_ctrl_c() -> Generator[Ending]:
    """While the block runs, the other signals do what Ctrl-C does: they end it, by ``Stopped``."""

    def interrupt(ending: Ending) -> None:
        ending.release()
        ctrl_c = signal.getsignal(signal.SIGINT)
        if not callable(ctrl_c) or ctrl_c is signal.default_int_handler:
            raise Stopped
        ctrl_c(signal.SIGINT, None)  # asyncio's, while it runs: it cancels the main task

    with Ending(interrupt, tuple(one for one in ENDING if one != signal.SIGINT)) as ending:
        yield ending


@contextlib.contextmanager
def at_once() -> Generator[None]:
    """While the block runs, each of the signals ends the process: Python's handlers would wait for a call in C."""
    before = {one: signal.signal(one, signal.SIG_DFL) for one in ENDING if signal.getsignal(one) != signal.SIG_IGN}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def drop_lost_terminal() -> None:
    """Discard what is written to stdout and stderr from now on where their terminal is gone; else it is an error."""
    for stream in _STREAMS:
        try:
            os.write(stream, b"")
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream)
            os.close(null)
