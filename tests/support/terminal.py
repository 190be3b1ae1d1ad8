"""The program in a real terminal, read off the screen as pyte draws it."""

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

#: Private sequences, such as those of Kitty's keyboard protocol: pyte knows none and prints their ends.
PRIVATE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p")


class Terminal:
    """A pseudo-terminal with the program in it; ``screen`` is what a user would see."""

    def __init__(self, scan: Path, columns: int, rows: int, *, controlling: bool = True, **environment: str) -> None:
        """``controlling``: the program gets SIGHUP when this end is closed."""
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
            | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(Path(__file__).parents[2])}
            | environment,
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if controlling else None,  # noqa: PLW1509  # takes no lock
        )
        os.close(slave)

    @property
    def screen(self) -> str:
        # Not its ``display``: that fails at half of a wide character.
        rows, columns = range(self._screen.lines), range(self._screen.columns)
        return "\n".join("".join(self._screen.buffer[y][x].data for x in columns) for y in rows)

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def send_all(self, data: bytes) -> None:
        """Send more than a terminal holds: for a thread, while another one reads."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._master, rest[:4096]) :]

    def memory_mb(self) -> float:
        """The most memory that the program has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024

    def read(self, seconds: float) -> bool:
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
            self.read(0.1)

    def quit(self) -> int:
        """Press q and wait for the end: the exit code."""
        self.send("q")
        return self.end()

    def modes(self) -> list[object]:
        """The terminal's modes, such as echo."""
        return termios.tcgetattr(self._master)

    def hang_up(self) -> None:
        """Go away, as a window that is closed."""
        os.close(self._master)
        self._master = -1

    def end(self, seconds: float = 20) -> int:
        """Wait for the end, reading what is written until then: the exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if self._master < 0:
                time.sleep(0.05)
            else:
                self.read(0.05)
        while self._master >= 0 and self.read(0):
            pass  # what it wrote last
        return self.process.wait(timeout=1)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            os.close(self._master)
