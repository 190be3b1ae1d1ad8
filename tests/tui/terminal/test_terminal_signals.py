"""A signal, or a terminal that goes away: the terminal is as it was, and what was being typed is kept."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.terminal import Terminal
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.manifest import read_manifest
from vlmscope.tui.app import LEAVE_S
from vlmscope.tui.dialogs.drafts import Drafts, kept

pytestmark = pytest.mark.terminal

AT = Neuron(0, 0)
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
#: Screen, cursor, mouse, pasting and focus, as Textual sets them at the start.
MODES = re.compile(rb"\x1b\[\?(1049|25|1000|1003|1006|1015|2004|1004)([hl])")
AS_BEFORE = {b"1049": b"l", b"25": b"h"} | dict.fromkeys([b"1000", b"1003", b"1006", b"1015", b"2004", b"1004"], b"l")


@pytest.fixture
def terminal(scan: Path) -> Iterator[Terminal]:
    running = Terminal(scan, 140, 40)
    try:
        running.until(lambda screen: "▸    0" in screen and "sample 1 of 8" in screen)
        yield running
    finally:
        running.close()


@pytest.fixture
def drafts(scan: Path) -> Drafts:
    return Drafts(read_manifest(scan).scan_id)


def is_as_before(terminal: Terminal) -> bool:
    """Whether the last that was set of each mode is what it was at the beginning."""
    return dict(MODES.findall(terminal.written)) == AS_BEFORE


@pytest.mark.slow
@pytest.mark.parametrize("sent", ENDING)
def test_a_signal_leaves_the_terminal_as_it_was_and_the_note_as_a_draft(
    terminal: Terminal, drafts: Drafts, sent: signal.Signals
) -> None:
    terminal.send("i")
    terminal.until(lambda screen: "esc saves" in screen)
    assert not is_as_before(terminal)
    terminal.send("half a thought")  # at once before the signal: no pause has written a draft
    terminal.process.send_signal(sent)
    assert terminal.end() == 128 + sent
    assert is_as_before(terminal), terminal.written[-300:]
    assert b"Traceback" not in terminal.written
    assert kept(drafts.note(AT)) == "half a thought"


@pytest.mark.slow
@pytest.mark.parametrize("keys", ["", "?", "f", "L", "\x10", "jjj"])
def test_it_ends_wherever_the_user_is(terminal: Terminal, keys: str) -> None:
    before = terminal.screen
    if keys:
        terminal.send(keys)
        terminal.until(lambda screen: screen != before)
    terminal.process.terminate()
    assert terminal.end() == 143
    assert is_as_before(terminal), terminal.written[-300:]
    assert b"Traceback" not in terminal.written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "prompt", "typed"),
    [("t", "tags", "trains, night"), (":", "command", "words red trains"), ("x\x15", "export", "/tmp/a report")],
)
@pytest.mark.parametrize("end", [lambda one: one.process.terminate(), Terminal.hang_up], ids=["SIGTERM", "hang-up"])
def test_a_line_that_is_typed_is_kept(
    terminal: Terminal, drafts: Drafts, keys: str, prompt: str, typed: str, end: Callable[[Terminal], None]
) -> None:
    terminal.send(keys + typed)
    terminal.until(lambda screen: typed in screen)
    end(terminal)
    assert terminal.end() in (143, 129)
    assert kept(drafts.line(prompt, AT)) == typed


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_the_program_and_keeps_the_note(terminal: Terminal, drafts: Drafts) -> None:
    terminal.send("ihalf a thought")
    terminal.until(lambda screen: "half a thought" in screen)
    terminal.send(" more")
    terminal.until(lambda screen: "thought more" in screen)
    terminal.hang_up()
    assert terminal.end() == 129
    assert kept(drafts.note(AT)) == "half a thought more"


@pytest.mark.slow
def test_without_a_signal_the_lost_terminal_itself_ends_the_program(scan: Path, drafts: Drafts) -> None:
    terminal = Terminal(scan, 140, 40, controlling=False)  # the kernel sends it no SIGHUP
    try:
        terminal.until(lambda screen: "▸    0" in screen)
        terminal.send("ihalf a thought")
        terminal.until(lambda screen: "half a thought" in screen)
        terminal.hang_up()
        assert terminal.end() == 129
    finally:
        terminal.close()
    assert kept(drafts.note(AT)) == "half a thought"


@pytest.mark.slow
def test_a_terminal_that_takes_nothing_does_not_hold_up_the_end(scan: Path, drafts: Drafts) -> None:
    terminal = Terminal(scan, 140, 40)
    modes = terminal.modes()
    terminal.until(lambda screen: "▸    0" in screen)
    assert terminal.modes() != modes
    terminal.send("ihalf a thought")
    terminal.until(lambda screen: "half a thought" in screen)
    for _ in range(40):  # nothing is read from now on: the app's writing stands still
        terminal.send("x" * 20)
        time.sleep(0.05)
    terminal.process.terminate()
    assert terminal.process.wait(LEAVE_S + 10) == 143
    assert (kept(drafts.note(AT)) or "").startswith("half a thoughtxxxx")
    assert terminal.modes() == modes


@pytest.mark.slow
def test_a_signal_during_the_start_is_no_traceback(scan: Path) -> None:
    for wait in (0.2, 0.4, 0.6, 0.8, 1.0):
        terminal = Terminal(scan, 80, 24)
        try:
            time.sleep(wait)
            terminal.process.terminate()
            code = terminal.end()
            assert code in (143, -signal.SIGTERM), terminal.written  # -15: before Python has taken it
            assert b"Traceback" not in terminal.written
            assert dict(MODES.findall(terminal.written)) in ({}, AS_BEFORE)
        finally:
            terminal.close()
