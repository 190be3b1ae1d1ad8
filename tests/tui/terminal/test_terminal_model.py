"""The running app in a pseudo-terminal with a model process of its own: what it survives, what never shows."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from PIL import Image

from tests.support.watched import FAKE, alive, begun
from vlmscope.core.worker.log import worker_log

pytestmark = [
    pytest.mark.terminal,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the model process in /proc"),
]

ROWS, COLUMNS = 40, 140
#: Private sequences, such as those of Kitty's keyboard protocol: pyte knows none and prints their ends.
PRIVATE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p")
PEAK = re.compile(r"peak \d")
APP = """
import sys
from pathlib import Path
from vlmscope.core.base.config import load_config
from vlmscope.core.worker.process import ModelProcess
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.app import VlmscopeApp

def start(spec, on_status, idle_unload_s):
    return ModelProcess(spec, on_status, idle_unload_s, command=(sys.executable, "-P", sys.argv[1]))

VlmscopeApp(ScanStore(Path(sys.argv[2])), load_config(), model_factory=start).run()
"""


class Terminal:
    """A program on a terminal: what it wrote, how the screen looks, and its children."""

    def __init__(self, *command: str) -> None:
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.written = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
            cwd=FAKE.parents[2],
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # EIO: nobody has the other end any more
                return
            if not data:
                return
            with self._lock:
                self.written += data
                self._stream.feed(PRIVATE.sub(b"", data))

    @property
    def text(self) -> str:
        """The screen's lines."""
        with self._lock:
            return "\n".join(self._screen.display)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def command(self, line: str) -> None:
        """Type ``:``, a command, and enter."""
        self.type(":")
        self.shows("image PATH")  # the prompt's placeholder
        self.type(line + "\r")

    def begins(self, order: str) -> None:
        """Wait until the fake engine is at it."""
        self.shows("model: busy")
        self.until(lambda: begun(order))

    def shows(self, text: str, timeout: float = 60.0) -> None:
        """Wait until ``text`` is on the screen."""
        self.until(lambda: text in self.text, timeout)

    def until(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, self.text
            time.sleep(0.01)

    def children(self) -> list[int]:
        """The living processes that it has started."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [pid for pid in map(int, listed.split()) if alive(pid)]

    def worker(self) -> int:
        """The model process, once there is one."""
        self.until(lambda: len(self.children()) == 1)
        return self.children()[0]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        os.close(self._master)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture; the fake engine does not look into it."""
    path = tmp_path / "cat.png"
    Image.new("RGB", (8, 8), "red").save(path)
    return path


@pytest.fixture
def terminal(scan: Path) -> Iterator[Terminal]:
    """The app on a small scan, with the fake engine of ``tests/core``."""
    running = Terminal(sys.executable, "-c", APP, str(FAKE), str(scan))
    try:
        running.shows("model: not loaded")
        yield running
    finally:
        running.close()


def still_works(terminal: Terminal) -> None:
    """The cursor moves."""
    for key, neuron in (("G", "L0/N31"), ("g", "L0/N0 ")):
        terminal.type(key)
        terminal.shows(neuron)


@pytest.mark.parametrize("busy", [True, False])
def test_a_killed_model_process_leaves_the_screen_alive_and_restart_works(
    terminal: Terminal, picture: Path, busy: bool
) -> None:
    terminal.command(f"image '{picture}' {'deaf' if busy else 'What?'}")
    if busy:
        terminal.begins("deaf")
    else:
        terminal.shows("model: ready")
    worker = terminal.worker()
    os.kill(worker, signal.SIGKILL)
    terminal.shows("model: failed")
    terminal.shows("SIGKILL")
    still_works(terminal)
    terminal.command("restart")
    terminal.shows("model: ready")
    assert terminal.worker() != worker
    terminal.command(f"image '{picture}' What?")
    terminal.shows("A cat.")


def test_esc_stops_softly_and_kills_what_does_not_listen(terminal: Terminal, picture: Path) -> None:
    terminal.command(f"image '{picture}' soft")
    terminal.begins("soft")
    worker = terminal.worker()
    terminal.type("\x1b")
    terminal.shows("model: ready")
    assert terminal.worker() == worker
    terminal.command(f"image '{picture}' hang")
    terminal.begins("hang")
    terminal.type("\x1b")
    terminal.shows("model: failed")
    terminal.until(lambda: not alive(worker))
    still_works(terminal)


def test_unload_ends_the_process_and_quitting_is_quick(terminal: Terminal, picture: Path) -> None:
    terminal.command(f"image '{picture}' What?")
    terminal.shows("model: ready")
    worker = terminal.worker()
    terminal.command("unload")
    terminal.until(lambda: not alive(worker))
    terminal.command(f"image '{picture}' hang")
    terminal.begins("hang")
    worker = terminal.worker()
    terminal.type("q")
    assert terminal.process.wait(10) == 0
    assert not alive(worker)


@pytest.mark.parametrize("order", ["deaf", "hang", "What?"])
def test_a_killed_screen_leaves_no_model_process(terminal: Terminal, picture: Path, order: str) -> None:
    terminal.command(f"image '{picture}' {order}")
    if order == "What?":
        terminal.shows("model: ready")
    else:
        terminal.begins(order)
    worker = terminal.worker()
    terminal.process.kill()
    terminal.until(lambda: not alive(worker), timeout=30)


def test_noise_never_reaches_the_screen(terminal: Terminal, picture: Path) -> None:
    terminal.command(f"image '{picture}' noise")
    terminal.shows("A cat.")
    log = worker_log().read_text()
    for noise in ("noise from Python", "noise on 1", "noise on 2", "noise from C"):
        assert noise in log
        assert noise.encode() not in terminal.written


@pytest.mark.slow
def test_the_real_model_fills_in_a_map_that_the_scan_lacks(tmp_path: Path) -> None:
    from tests.support.tiny import make_images, make_model
    from vlmscope.core.data.samples import read_data
    from vlmscope.core.model.load import load
    from vlmscope.core.scan.scan import scan
    from vlmscope.core.store.settings import ScanOptions
    from vlmscope.core.worker.messages import ModelSpec

    model = make_model(tmp_path / "model")
    data = read_data(str(make_images(tmp_path / "images", 6)))
    scan(
        load(ModelSpec(str(model), device="cpu")),
        data,
        tmp_path / "scan",
        ScanOptions(top_n=5, maps=1),
        lambda *_: None,
    )
    terminal = Terminal(sys.executable, "-P", "-m", "vlmscope.tui", "open", str(tmp_path / "scan"))
    try:
        terminal.shows("model: not loaded")
        terminal.type("l")
        terminal.shows("sample 2 of 5")
        terminal.shows("small map")
        assert not PEAK.search(terminal.text)
        terminal.type("X")
        terminal.shows("model: ready", timeout=180)
        terminal.until(lambda: PEAK.search(terminal.text) is not None)  # exact: without the sign of the stored maps
        worker = terminal.worker()
        terminal.process.kill()
        terminal.until(lambda: not alive(worker), timeout=30)
    finally:
        terminal.close()
