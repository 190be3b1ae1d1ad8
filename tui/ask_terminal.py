"""Asks the terminal, before the screen takes it, for its name and for the width of a few characters.

The questions are sent when the program starts and the answers read when its libraries are there, so that nothing waits
for them. A terminal that does not answer costs ``ANSWER_S`` at most. Inside tmux, tmux names the terminal outside.
"""

import contextlib
import os
import re
import selectors
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

ANSWER_S = 0.25  #: after the questions
FAR_S = 1.0  #: the same where the terminal is at the other end of a network

#: The terminal's name and version (XTVERSION), and the cursor's place. The first is not sent where it would be printed.
_WHO, _WHERE = "\x1b[>q", "\x1b[6n"
_SAVE, _RESTORE = "\x1b7", "\x1b8"
_NAME = re.compile(rb"\x1bP>\|([^\x1b]*)\x1b\\")
_PLACE = re.compile(rb"\x1b\[(\d+);(\d+)R")


@dataclass(frozen=True)
class Answers:
    """What the terminal answered.

    Attributes:
        name: with its version, such as ``kitty(0.40.1)``; empty if it gave none.
        widths: how many cells it draws a character on; what was not measured is missing.
        typed: what the user typed meanwhile.
    """

    name: str = ""
    widths: Mapping[str, int] = field(default_factory=dict)
    typed: bytes = b""


class Question:
    """The questions, and the terminal while it is asked: it echoes nothing until the ``with`` ends."""

    def __init__(self, characters: Sequence[str], source: int = 0, target: int = 2) -> None:
        """Ask for the widths of ``characters``; ``source`` and ``target`` are the terminal's descriptors."""
        self._characters = characters
        self._source, self._target = source, target
        self._modes: list[object] | None = None
        self._sent = 0.0
        self._tmux: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            with contextlib.suppress(OSError, termios.error):
                if os.tcgetpgrp(self._source) == os.getpgrp():  # in the background it would be stopped
                    self._ask()
        except BaseException:  # a signal, for which the ``with`` would not end
            self._restore()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._restore()

    def _restore(self) -> None:
        if self._tmux is not None:
            self._tmux.kill()
            self._tmux.communicate()
        if self._modes is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._source, termios.TCSANOW, self._modes)  # type: ignore[arg-type]  # as it gave them

    def _ask(self) -> None:
        modes = termios.tcgetattr(self._source)
        quiet = list(modes)
        quiet[3] = modes[3] & ~(termios.ICANON | termios.ECHO)
        self._modes = modes
        termios.tcsetattr(self._source, termios.TCSANOW, quiet)
        in_tmux = bool(os.environ.get("TMUX"))
        plain = os.environ.get("STY") or os.environ.get("TERM") in ("linux", "dumb")
        blanks = "  " * len(self._characters)
        drawn = "".join(character + _WHERE for character in self._characters)
        who = "" if in_tmux or plain else _WHO
        os.write(self._target, f"{who}{_SAVE}{_WHERE}{drawn}{_RESTORE}{blanks}{_RESTORE}".encode())
        self._sent = time.monotonic()
        if in_tmux:
            command = ["tmux", "display-message", "-p", "#{client_termtype}"]
            with contextlib.suppress(OSError):
                self._tmux = subprocess.Popen(  # noqa: S603
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )

    def answers(self) -> Answers:
        """What has come, or comes in time."""
        if self._modes is None:
            return Answers(_named_by_environment())
        data = self._read(self._sent + (FAR_S if "SSH_CONNECTION" in os.environ else ANSWER_S))
        name = _NAME.search(data)
        places = [(int(row), int(column)) for row, column in _PLACE.findall(data)]
        widths = {
            character: after[1] - before[1]
            for character, before, after in zip(self._characters, places, places[1:], strict=False)
            if before[0] == after[0]  # else the line was full
        }
        known = self._from_tmux() if self._tmux is not None else name[1].decode("utf-8", "replace") if name else ""
        return Answers(known or _named_by_environment(), widths, _PLACE.sub(b"", _NAME.sub(b"", data)))

    def _read(self, deadline: float) -> bytes:
        data = b""
        with selectors.SelectSelector() as selector:
            selector.register(self._source, selectors.EVENT_READ)
            while len(_PLACE.findall(data)) <= len(self._characters):
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    break
                part = os.read(self._source, 4096)
                if not part:
                    break
                data += part
        return data

    def _from_tmux(self) -> str:
        assert self._tmux is not None
        try:
            said, _ = self._tmux.communicate(timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            return ""
        return said.decode("utf-8", "replace").strip()


def _named_by_environment() -> str:
    """The name that the terminal left in its environment; inside tmux and screen it may be another terminal's."""
    if os.environ.get("TMUX") or os.environ.get("STY"):
        return ""
    if program := os.environ.get("TERM_PROGRAM"):
        return f"{program} {os.environ.get('TERM_PROGRAM_VERSION', '')}".strip()
    return f"VTE({vte})" if (vte := os.environ.get("VTE_VERSION")) else ""
