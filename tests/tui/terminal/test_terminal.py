"""The program in a real terminal: started, stepped, read off the screen as pyte draws it, and quit."""

import fcntl
import os
import pty
import re
import selectors
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte
import pytest

from vlmscope.core.store.reader import ScanStore

pytestmark = pytest.mark.terminal

#: Private sequences, such as those of Kitty's keyboard protocol: pyte knows none and prints their ends.
PRIVATE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p")


class Terminal:
    """A pseudo-terminal with the program in it; ``screen`` is what a user would see."""

    def __init__(self, scan: Path, columns: int, rows: int, **environment: str) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "vlmscope.tui", "open", str(scan)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ
            | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(Path(__file__).parents[3])}
            | environment,
            start_new_session=True,
        )
        os.close(slave)

    @property
    def screen(self) -> str:
        return "\n".join(self._screen.display)

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def _read(self, seconds: float) -> bool:
        """Read what is there, or comes in time; whether there was something."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._master, selectors.EVENT_READ)
            if not selector.select(seconds):
                return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # the program has gone
            return False
        self.written += data
        self._stream.feed(PRIVATE.sub(b"", data))
        return bool(data)

    def until(self, holds: Callable[[str], object], seconds: float = 40) -> None:
        """Read until the screen is as it should be; fails with the screen as it is."""
        deadline = time.monotonic() + seconds
        while not holds(self.screen):
            assert time.monotonic() < deadline, f"never came true; the screen:\n{self.screen}"
            self._read(0.1)

    def quit(self) -> int:
        """Press q and wait for the end: the exit code."""
        self.send("q")
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        while self._read(0):
            pass  # what it wrote last
        return self.process.wait(timeout=1)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (140, 40)])
def test_start_step_and_quit(scan: Path, columns: int, rows: int) -> None:
    store = ScanStore(scan)
    terminal = Terminal(scan, columns, rows)
    try:
        terminal.until(lambda screen: "▸    0" in screen)
        terminal.until(lambda screen: "model: not loaded" in screen.split("\n")[0])
        terminal.until(lambda screen: "q quit" in screen.split("\n")[-1])
        if columns == 80:
            terminal.send("\r")
        terminal.until(lambda screen: "sample 1 of 8" in screen and "▄▄▄" in screen)
        terminal.send("jj")
        sample = int(store.arrays["top_sample"][0, 2, 0])
        terminal.until(lambda screen: re.search(r"\bL0/N2 ", screen) and f"sample 1 of 8 · #{sample} " in screen)
        terminal.send("]l")
        terminal.until(lambda screen: re.search(r"\bL1/N2 ", screen) and "sample 2 of 8" in screen)
        terminal.send(":3.30\r")
        terminal.until(lambda screen: re.search(r"\bL3/N30 ", screen) and "sample 1 of 8" in screen)
        terminal.send("?")
        terminal.until(lambda screen: "keys and commands" in screen)
        terminal.send("\x1b")
        terminal.until(lambda screen: "keys and commands" not in screen)
        assert terminal.quit() == 0
    finally:
        terminal.close()
    assert b"\x1b[?1049l" in terminal.written, "the user's own screen is back"


def test_no_color_sends_no_colour(scan: Path) -> None:
    terminal = Terminal(scan, 80, 24, NO_COLOR="1")
    try:
        terminal.until(lambda screen: "▸    0" in screen)
        terminal.send("\r")
        terminal.until(lambda screen: "sample 1 of 8" in screen)
        assert terminal.quit() == 0
    finally:
        terminal.close()
    assert not re.search(rb"\x1b\[(?:[0-9;]*;)?[34]8;", terminal.written)


def test_256_colours_get_no_true_colour(scan: Path) -> None:
    terminal = Terminal(scan, 140, 40, TERM="screen-256color", COLORTERM="")
    try:
        terminal.until(lambda screen: "sample 1 of 8" in screen)
        assert terminal.quit() == 0
    finally:
        terminal.close()
    assert re.search(rb"\x1b\[(?:[0-9;]*;)?48;5;\d", terminal.written)
    assert not re.search(rb"[34]8;2;", terminal.written)
