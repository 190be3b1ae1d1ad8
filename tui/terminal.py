"""The terminal that the screen is drawn on, which may go away: its window is closed, or the connection is lost.

Textual's driver would then write into a queue that nothing empties, and read without end.
"""

import contextlib
import os
import re
import selectors
import signal
import termios
from codecs import getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import groupby
from typing import TYPE_CHECKING, Any, TextIO, cast

from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.app import App, ScreenStackError
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key, Paste
from textual.message import Message

if TYPE_CHECKING:
    from textual.widgets import Input, TextArea

PASTE_MOST = 1_000_000  #: characters of a paste that are read; what an input takes of them is less
MANY_KEYS = 64  #: letters that come at once from which they are a paste: nobody types so fast
KEYS_AHEAD = 1_000  #: keys that may wait to be obeyed: more come from a paste where nothing is being typed
LINE_MOST = (
    4_096  #: characters of a line after a paste, as many as a path may have: a key takes 20 microseconds for each
)
NOTE_MOST = 65_536  #: characters of a note after a paste, and of one that is edited here

#: The terminal's name, asked for by ``ask_terminal``, where it comes too late to be waited for: it is not typed.
_LATE_NAME = re.compile(r"\x1bP>\|[^\x1b]*\x1b\\")

#: Takes back what ``LinuxDriver.start_application_mode`` sets: pasting, wrapping, sizes, mouse; keys, screen, cursor,
#: focus.
_MODES = b"\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"
_RESTORE = _MODES + b"\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"


@dataclass
class SignalCame(Message):
    """The program has to end: ``number`` is the signal, SIGHUP if the terminal is gone."""

    number: int


@dataclass
class Dropped(Message):
    """The user is to read that ``count`` of something were dropped, and why."""

    count: int
    why: str


def input_of(app: App[Any]) -> "Input | TextArea | None":
    """The focused input; None where no text is being typed."""
    try:
        box = app.focused
    except ScreenStackError:  # at the beginning and the end
        return None
    if box is None:
        return None
    from textual.widgets import Input, TextArea  # late: the first paint does not wait for them

    return box if isinstance(box, Input | TextArea) else None


def fitting(box: "Input | TextArea", text: str) -> str:
    """As much of a pasted text as an input takes."""
    from textual.widgets import Input

    if isinstance(box, Input):
        return text[: max(LINE_MOST - len(box.value), 0)]
    lines = text.splitlines(keepends=True)
    before = len(box.document.get_line(box.cursor_location[0]))
    whole = "".join(_cut(line, LINE_MOST - (0 if at else before)) for at, line in enumerate(lines))
    return whole[: max(NOTE_MOST - len(box.text), 0)]


def _cut(line: str, most: int) -> str:
    words = line.rstrip("\r\n")
    return words[: max(most, 0)] + line[len(words) :]


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
    """Sends ``SignalCame`` to the app when the terminal is gone."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        assert self._file is not None
        self._output = _Output(self._file)
        self._file = cast("TextIOWrapper[Any]", self._output)  # it is only written to and flushed
        self._has_terminal = False  # whether the terminal is as the app needs it
        self._typed: bytes = getattr(app, "typed_ahead", b"")
        self._pasting: int | None = None  # characters of the paste that is being read
        self._tail = ""
        self._ahead = 0  # keys that the app has not taken yet
        self._dropped = 0

    def _lost(self) -> None:
        self._output.is_lost = True
        self._send(SignalCame(signal.SIGHUP))

    # -- input, in a thread of its own ---------------------------------------------------------------------------

    def run_input_thread(self) -> None:
        """As Textual's, but the end of the terminal ends it, and no paste fills the memory."""
        parser, decode = XTermParser(self._debug), getincrementaldecoder("utf-8")("replace").decode
        between = True  # whether no sequence has begun: letters need no parser, which takes 30 microseconds for each
        self._take(list(parser.feed(decode(self._typed))) if self._typed else [])
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(0.1):
                    try:
                        data = os.read(self.fileno, 4096)
                    except OSError:
                        data = b""
                    if not data:
                        self._lost()
                        return
                    text = _LATE_NAME.sub("", decode(data))
                    if between and self._is_paste(text):
                        self.process_message(Paste(text))
                    elif bounded := self._bounded(text):  # the parser takes an empty text for the end of all input
                        self._take(list(parser.feed(bounded)))
                    between = self._pasting is None and "\x1b" not in text
                self._take(list(parser.tick()))

    def _is_paste(self, text: str) -> bool:
        """Whether what was read at once is a paste, of a terminal that does not mark pastes."""
        return len(text) >= MANY_KEYS and text.isprintable() and input_of(self._app) is not None

    def _bounded(self, text: str) -> str:
        """What was read, without what is too much for one paste."""
        if self._pasting is None:
            _, begin, rest = text.rpartition(BRACKETED_PASTE_START)
            if begin and BRACKETED_PASTE_END not in rest:
                self._pasting = len(rest)
            return text
        self._pasting += len(text)
        text, self._tail = self._tail + text, ""
        if BRACKETED_PASTE_END in text:
            kept = text if self._pasting <= PASTE_MOST else text[text.index(BRACKETED_PASTE_END) :]
            self._pasting = None
            return kept
        if self._pasting <= PASTE_MOST:
            return text
        self._tail = text[-len(BRACKETED_PASTE_END) :]  # its end may have come in part
        return ""

    def _take(self, messages: list[Message]) -> None:
        """Send what was read at once. Many letters are a paste here, too: before a line's end, after a key."""
        for is_letter, run in groupby(messages, lambda one: isinstance(one, Key) and one.is_printable):
            read = list(run)
            if is_letter and len(read) >= MANY_KEYS and input_of(self._app) is not None:
                self.process_message(Paste("".join(key.character or "" for key in read if isinstance(key, Key))))
                continue
            for message in read:
                if not isinstance(message, Key):
                    self.process_message(message)
                elif self._ahead < KEYS_AHEAD:
                    self._ahead += 1
                    self.process_message(message)
                else:
                    self._dropped += 1
        if self._dropped and self._ahead < KEYS_AHEAD:
            self._send(Dropped(self._dropped, "keys came faster than they could be obeyed, and were dropped"))
            self._dropped = 0

    def key_taken(self) -> None:
        """Called by the app for each key: it is waited for no longer."""
        self._ahead -= 1

    def _send(self, message: Message) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.send_message(message)

    # -- output --------------------------------------------------------------------------------------------------

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
