"""The program in a real terminal: started, stepped and quit."""

import re
from pathlib import Path

import pytest

from tests.support.terminal import Terminal
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.views.drawing import Blocks

SEXTANTS = set(Blocks.SEXTANT.glyphs) - set(Blocks.QUADRANT.glyphs)
QUADRANTS = set(Blocks.QUADRANT.glyphs) - set(Blocks.HALF.glyphs)

pytestmark = pytest.mark.terminal


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (140, 40)])
def test_start_step_and_quit(scan: Path, columns: int, rows: int) -> None:
    store = ScanStore(scan)
    terminal = Terminal(scan, columns, rows)
    try:
        terminal.until(lambda screen: "▸    0" in screen)
        terminal.until(lambda screen: "model: not loaded" in screen.split("\n")[0])
        terminal.until(lambda screen: "Try o l: clearest first" in screen.split("\n")[-1])
        terminal.send("\r")
        terminal.until(lambda screen: "q quit" in screen.split("\n")[-1])
        terminal.until(lambda screen: "sample 1 of 8" in screen and QUADRANTS & set(screen))
        terminal.send("jj")
        sample = int(store.arrays["top_sample"][0, 2, 0])
        terminal.until(lambda screen: re.search(r"\bL0/N2 ", screen) and f"sample 1 of 8 · #{sample} " in screen)
        terminal.send("]l")
        terminal.until(lambda screen: re.search(r"\bL1/N2 ", screen) and "sample 2 of 8" in screen)
        terminal.send(":3.30\r")
        terminal.until(lambda screen: re.search(r"\bL3/N30 ", screen) and "sample 1 of 8" in screen)
        understand(terminal)
        assert terminal.quit() == 0
    finally:
        terminal.close()
    assert b"\x1b[?1049l" in terminal.written, "the user's own screen is back"


def understand(terminal: Terminal) -> None:
    """From the page: the sheet, the help and its filter, a message; esc leaves each, and then the page is there."""
    terminal.send("z")
    terminal.until(lambda screen: "strongest first" in screen)
    terminal.send("?")
    terminal.until(lambda screen: all(word in screen for word in ("Six words", "vote", "label", "norm", "purity")))
    terminal.send("/small maps")
    terminal.until(lambda screen: "1 entry has it" in screen and "Six words" not in screen)
    terminal.send("\x1b")
    terminal.until(lambda screen: "Six words" in screen)
    terminal.send("\x1b")
    terminal.until(lambda screen: "Six words" not in screen and "strongest first" in screen)
    terminal.send("y")
    terminal.until(lambda screen: "L3/N30 is sent to the clipboard." in screen.split("\n")[-1])
    terminal.send("\x1b")
    terminal.until(lambda screen: "strongest first" not in screen and "sample 1 of 8" in screen)
    terminal.until(lambda screen: "q quit" in screen.split("\n")[-1])


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


def test_the_terminal_is_asked_and_what_is_typed_meanwhile_is_kept(scan: Path) -> None:
    terminal = Terminal(scan, 140, 40, TMUX="", STY="")
    try:
        while b"\x1b8" not in terminal.written:
            assert terminal.read(20)
        terminal.send("j\x1bP>|kitty(0.41.0)\x1b\\\x1b[1;1R\x1b[1;2R\x1b[1;3R\x1b[1;3Rj")
        terminal.until(lambda screen: re.search(r"\bL0/N2 ", screen) and SEXTANTS & set(screen))
        assert terminal.quit() == 0
    finally:
        terminal.close()
