"""How fast the screen is, measured from outside: the program in a terminal, keys as a user sends them.

It starts at 140 x 40; steps are made on the page at 80 x 24, where a picture has 24 x 12 cells.

Nothing is mocked and nothing is measured by the app about itself: time from exec, private memory, CPU time and bytes
are the kernel's. Linux only in its details; elsewhere the figures that need ``/proc`` are nan.
"""

import os
import pty
import re
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlmscope.core.base.demo import DEMO, scan_folder
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.views.drawing import Blocks

START_SIZE = (140, 40)
STEP_SIZE = (80, 24)
STEPS, SHEETS, CHOICES = 100, 30, 10
QUIET_S = 0.25  #: the screen has settled when nothing was written for so long
ANSWER_S = 5.0  #: how long a key may take to show anything
GIVE_UP_S = 60.0
ENVIRONMENT = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}

_ESCAPES = re.compile(
    rb"\x1b(?:\[[0-9;?<>=$ ]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|[()][A-Z0-9]|[=>78])"
)
_FIRST_ROW = re.compile(r"▸ +\d+ +[VTM·] ")


class BenchError(VlmscopeError):
    title = "The screen could not be measured"


@dataclass(frozen=True)
class ScreenFigures:
    """One scan's figures.

    Attributes:
        first_paint_s: from exec to the first neuron's row.
        rss_mb: private memory in MiB after 100 steps.
        pictures: the characters that they are drawn with.
        step_p95_ms, step_bytes_p95: CPU time and bytes written of one step to the next neuron, with pictures of 24 x 12
            cells; the 95th percentile of 100 steps, each left to settle.
        sheet_p95_ms, sheet_bytes_p95: the same of the contact sheet of another neuron: 12 pictures of 12 x 6 cells.
        choice_bytes_p95: bytes written when another picture of the sheet is chosen.
        relabel_ms: time to relabel all neurons.
    """

    scan: str
    neurons: int
    pictures: str
    first_paint_s: float
    rss_mb: float
    step_p95_ms: float
    step_bytes_p95: float
    sheet_p95_ms: float
    sheet_bytes_p95: float
    choice_bytes_p95: float
    relabel_ms: float


class _Terminal:
    """The program in a pseudo-terminal that answers no questions."""

    def __init__(self, scan: Path, pictures: Blocks) -> None:
        self.began = time.perf_counter()
        self._master, slave = pty.openpty()
        _set_size(slave, START_SIZE)
        environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TMUX")}
        environment |= ENVIRONMENT
        # A session of the user's would be gone on with: the benchmark starts afresh, with a notebook of its own.
        self._home = tempfile.TemporaryDirectory()
        settings = Path(self._home.name) / "config.toml"
        settings.write_text(f"notebooks = '{self._home.name}'\npictures = '{pictures}'\n", encoding="utf-8")
        environment["VLMSCOPE_CONFIG"] = str(settings)
        command = [sys.executable, "-P", "-m", "vlmscope.tui", "open", str(scan)]
        self.process = subprocess.Popen(  # noqa: S603 (our own program)
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True, close_fds=True
        )
        os.close(slave)

    def read(self, timeout: float) -> bytes:
        """What comes within ``timeout``; nothing if nothing does."""
        with selectors.DefaultSelector() as selector:  # select.select takes no descriptor above 1,023
            selector.register(self._master, selectors.EVENT_READ)
            if not selector.select(timeout):
                return b""
        try:
            return os.read(self._master, 1 << 16)
        except OSError:  # Linux says so when the other side is closed
            return b""

    def settle(self) -> int:
        """Wait until something was written and the screen is quiet again; how many bytes came."""
        written = len(self.read(ANSWER_S))  # on a busy machine the answer to a key may be long in coming
        while data := self.read(QUIET_S):
            written += len(data)
        return written

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, size: tuple[int, int]) -> None:
        """Make the terminal another size, and tell the program so."""
        _set_size(self._master, size)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def cpu_ns(self) -> float:
        """CPU time of all threads so far, in nanoseconds; nan where the kernel does not tell."""
        try:
            tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
            return float(sum(int((task / "schedstat").read_text().split()[0]) for task in tasks))
        except (OSError, ValueError, IndexError):
            return float("nan")

    def private_mb(self) -> float:
        """Memory that is the process's own, without mapped files; nan where the kernel does not tell."""
        try:
            text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        except OSError:
            return float("nan")
        kib = sum(
            int(line.split()[1]) for line in text.splitlines() if line.startswith(("Private_Clean", "Private_Dirty"))
        )
        return kib / 1024

    def close(self) -> None:
        """End the program, kindly at first."""
        if self.process.poll() is None:
            self.send("q")
            deadline = time.monotonic() + 3
            while self.process.poll() is None and time.monotonic() < deadline:
                self.read(0.05)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._master)
        self._home.cleanup()


def _set_size(terminal: int, size: tuple[int, int]) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))


def _first_paint(terminal: _Terminal) -> float:
    """Seconds from exec to the first neuron's row."""
    seen = b""
    while time.perf_counter() - terminal.began < GIVE_UP_S:
        seen += terminal.read(0.5)
        if _FIRST_ROW.search(_ESCAPES.sub(b"", seen).decode("utf-8", "replace")):
            return time.perf_counter() - terminal.began
        if terminal.process.poll() is not None:
            said = _ESCAPES.sub(b"", seen).decode("utf-8", "replace").strip()
            raise BenchError(f"The screen ended before it showed anything: {said[-300:]}")
    raise BenchError(f"No neuron was on the screen after {GIVE_UP_S:g} s.")


def _relabel_ms(store: ScanStore) -> float:
    """Median time of relabelling all neurons, the arrays in the page cache."""
    thresholds = store.manifest.thresholds.value()
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        store.labels(thresholds)
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times[1:]))


def _pressed(terminal: _Terminal, key: str, times: int) -> tuple[float, float]:
    """The 95th percentile of the CPU time of a key, in ms, and of the bytes that it writes."""
    cpu, sizes = [], []
    for _ in range(times):
        before = terminal.cpu_ns()
        terminal.send(key)
        sizes.append(terminal.settle())
        cpu.append(terminal.cpu_ns() - before)
    return float(np.percentile(cpu, 95)) / 1e6, float(np.percentile(sizes, 95))


def bench_one(folder: Path, pictures: Blocks = Blocks.QUADRANT, steps: int = STEPS) -> ScreenFigures:
    """The figures of one scan.

    Raises:
        StoreError: if it cannot be read.
        BenchError: if the screen does not come up.
    """
    store = ScanStore(folder)
    terminal = _Terminal(folder, pictures)
    try:
        first_paint = _first_paint(terminal)
        terminal.settle()
        terminal.resize(STEP_SIZE)
        terminal.settle()
        terminal.send("\r")  # from the list to the page
        terminal.settle()
        step_ms, step_bytes = _pressed(terminal, "j", steps)
        terminal.send("z")
        terminal.settle()
        sheet_ms, sheet_bytes = _pressed(terminal, "J", min(steps, SHEETS))
        _, choice_bytes = _pressed(terminal, "l", min(steps, CHOICES))
        memory = terminal.private_mb()
    finally:
        terminal.close()
    return ScreenFigures(
        scan=DEMO if folder == scan_folder(DEMO) else folder.name,
        neurons=store.layers * store.neurons,
        pictures=pictures.value,
        first_paint_s=first_paint,
        rss_mb=memory,
        step_p95_ms=step_ms,
        step_bytes_p95=step_bytes,
        sheet_p95_ms=sheet_ms,
        sheet_bytes_p95=sheet_bytes,
        choice_bytes_p95=choice_bytes,
        relabel_ms=_relabel_ms(store),
    )
