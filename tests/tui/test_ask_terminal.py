"""The terminal is asked before the screen takes it: by a stand-in at the other end of a pseudo-terminal."""

import os
import pty
import select
import subprocess
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator

import pytest

from vlmscope.tui import ask_terminal
from vlmscope.tui.ask_terminal import Answers, Question
from vlmscope.tui.views.drawing import PROBES, Blocks, blocks_for, draws_sextants

ASKED = tuple(PROBES.values())
NAMES = ("TMUX", "STY", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "VTE_VERSION", "SSH_CONNECTION")


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The terminal's end and the program's."""
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def asked(ends: tuple[int, int], answer: Callable[[bytes], bytes]) -> tuple[Answers, bytes]:
    """What the program learns, and what the terminal was sent, if it answers all at once."""
    master, slave = ends
    before = termios.tcgetattr(slave)
    sent = b""

    def terminal() -> None:
        nonlocal sent
        while select.select([master], [], [], 0.3)[0]:
            sent += os.read(master, 4096)
            if sent.endswith(b"\x1b8"):
                os.write(master, answer(sent))
                return

    thread = threading.Thread(target=terminal)
    with Question(ASKED, slave, slave) as question:
        thread.start()
        found = question.answers()
    thread.join()
    assert termios.tcgetattr(slave) == before, "the terminal is as it was"
    return found, sent


def test_name_and_widths_are_read_and_what_is_typed_is_kept(ends: tuple[int, int]) -> None:
    tty.setraw(ends[1])  # else what is typed would be turned into lines

    def answer(_: bytes) -> bytes:
        return b"j\x1bP>|kitty(0.40.1)\x1b\\\x1b[7;1R\x1b[7;2Rk\x1b[7;4R\x1b[7;4R"

    found, sent = asked(ends, answer)
    assert found == Answers("kitty(0.40.1)", dict(zip(ASKED, (1, 2, 0), strict=True)), b"jk")
    assert sent.count(b"\x1b[6n") == 4
    assert blocks_for("auto", found.name, found.widths) is Blocks.QUADRANT, "two cells wide: not drawn"
    assert blocks_for("octant", found.name, found.widths) is Blocks.QUADRANT


def test_a_terminal_that_does_not_answer_costs_a_moment(ends: tuple[int, int]) -> None:
    begin = time.monotonic()
    found, _ = asked(ends, lambda _: b"")
    assert found == Answers()
    assert time.monotonic() - begin < ask_terminal.FAR_S
    assert blocks_for("auto", found.name, found.widths) is Blocks.QUADRANT


def test_a_full_line_and_a_name_in_the_environment(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTE_VERSION", "7802")
    found, _ = asked(ends, lambda _: b"\x1b[7;80R\x1b[8;2R\x1b[8;3R\x1b[8;4R")
    assert found.name == "VTE(7802)"
    assert found.widths == dict(zip(ASKED[1:], (1, 1), strict=True)), "a line was full: that width is not known"


def test_inside_tmux_its_terminal_is_named(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux,1,0")
    monkeypatch.setenv("VTE_VERSION", "7802")  # of the terminal that tmux was started in
    commands: list[list[str]] = []
    popen = subprocess.Popen

    def stand_in(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        commands.append(command)
        return popen(["echo", "foot(1.20.2)"], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "Popen", stand_in)
    found, sent = asked(ends, lambda _: b"\x1b[7;1R\x1b[7;2R\x1b[7;3R\x1b[7;4R")
    assert commands == [["tmux", "display-message", "-p", "#{client_termtype}"]]
    assert found.name == "foot(1.20.2)"
    assert b"\x1b[>q" not in sent
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: popen(["sleep", "9"], stdout=subprocess.PIPE))
    assert asked(ends, lambda _: b"\x1b[7;1R\x1b[7;2R\x1b[7;3R\x1b[7;4R")[0].name == ""


def test_what_is_not_a_terminal_is_not_asked() -> None:
    read, write = os.pipe()
    with Question(ASKED, read, write) as question:
        assert question.answers() == Answers()
    os.close(write)
    assert os.read(read, 100) == b""
    os.close(read)


@pytest.mark.parametrize(
    ("name", "draws"),
    [
        ("kitty(0.40.0)", True),
        ("kitty(0.39.1)", False),
        ("kitty(1.0)", True),
        ("foot(1.20.0)", True),
        ("foot(1.19.0-modified)", False),
        ("ghostty 1.2.0", True),
        ("ghostty 1.1.3", False),
        ("VTE(7802)", True),
        ("VTE(7600)", False),
        ("WezTerm 20240203-110809-5046fc22", True),
        ("vscode 1.95.0", True),
        ("xterm.js(5.6.0-beta.1)", True),
        ("XTerm(370)", False),
        ("tmux 3.3a", False),
        ("iTerm2 3.5.0", False),
        ("", False),
    ],
)
def test_which_terminals_draw_sextants(name: str, draws: bool) -> None:
    assert draws_sextants(name) is draws
    assert blocks_for("auto", name, {}) is (Blocks.SEXTANT if draws else Blocks.QUADRANT)
    assert blocks_for("graphics", name, {}) is (Blocks.SEXTANT if draws else Blocks.QUADRANT)
    assert blocks_for("half", name, {}) is Blocks.HALF
    assert blocks_for("octant", name, {}) is Blocks.OCTANT


def test_nothing_finer_than_half_blocks_is_drawn_where_it_has_no_cell() -> None:
    assert blocks_for("auto", "kitty(0.41.0)", dict.fromkeys(ASKED, 0)) is Blocks.HALF


def test_a_signal_while_it_is_asked_leaves_the_terminal_as_it_was(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = termios.tcgetattr(ends[1])

    def interrupted() -> float:
        assert termios.tcgetattr(ends[1]) != before
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "monotonic", interrupted)
    with pytest.raises(KeyboardInterrupt), Question(ASKED, ends[1], ends[1]):
        pytest.fail("the questions were not sent")
    assert termios.tcgetattr(ends[1]) == before
