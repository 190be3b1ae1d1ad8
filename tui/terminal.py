"""The terminal that the screen is drawn on, which may go away: its window is closed, or the connection is lost.

Textual's driver would then write into a queue that nothing empties, and read without end.
"""

import contextlib
import os
import select
import signal
import termios
import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, TextIO, cast

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

#: Takes back what ``LinuxDriver.start_application_mode`` sets: pasting, wrapping, sizes, mouse; keys, screen, cursor,
#: focus.
_MODES = b"\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"
_RESTORE = _MODES + b"\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"


@dataclass
class Leave(Message):
    """The program has to end: ``number`` is the signal, SIGHUP if the terminal is gone."""

    number: int


class _Output:
    """Passes on what is drawn for as long as there is a terminal."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.is_lost = False

    def write(self, text: str) -> None:
        self._unless_lost(lambda: self._file.write(text))

    def flush(self) -> None:
        self._unless_lost(self._file.flush)

    def fileno(self) -> int:
        return self._file.fileno()

    def _unless_lost(self, call: Callable[[], object]) -> None:
        if self.is_lost:
            return
        try:
            call()
        except OSError:
            self.is_lost = True


class TerminalDriver(LinuxDriver):
    """Sends ``Leave`` to the app when the terminal is gone."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        assert self._file is not None
        self._output = _Output(self._file)
        self._file = cast("TextIOWrapper[Any]", self._output)  # it is only written to and flushed
        self._has_terminal = False  # whether the terminal is as the app needs it
        threading.Thread(target=self._watch, name="terminal-watch", daemon=True).start()

    def _watch(self) -> None:
        watched = select.poll()
        watched.register(self.fileno, 0)  # for its end and errors alone
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in watched.poll()):
            self._lost()

    def _lost(self) -> None:
        self._output.is_lost = True
        self.exit_event.set()  # reading returns nothing, at once, from now on
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.send_message(Leave(signal.SIGHUP))

    def run_input_thread(self) -> None:
        try:
            super().run_input_thread()
        except OSError:
            self._lost()

    def write(self, data: str) -> None:
        if not self._output.is_lost:
            super().write(data)

    def start_application_mode(self) -> None:
        self._has_terminal = True
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual's

    def stop_application_mode(self) -> None:
        super().stop_application_mode()
        self._has_terminal = False

    def restore_at_once(self) -> None:
        """Leave the terminal as it was, as far as it takes anything: for a program that ends by ``os._exit``."""
        if not self._has_terminal:
            return
        self._output.is_lost = True  # what waits to be drawn is dropped
        with contextlib.suppress(OSError, termios.error):
            # Opened again, so that only this does not wait for a terminal that takes nothing.
            own = os.open(os.ttyname(self._output.fileno()), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            if self.attrs_before is not None:
                termios.tcsetattr(own, termios.TCSANOW, self.attrs_before)
            os.write(own, _RESTORE)
