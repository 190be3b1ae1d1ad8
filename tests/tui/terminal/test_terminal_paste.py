"""A megabyte is pasted: bounded in memory, reported, and keys are obeyed at once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.events import Paste
from textual.widgets import Input, TextArea

from tests.support.screen_app import running
from tests.support.terminal import Terminal
from vlmscope.tui.terminal import LINE_MOST, NOTE_MOST

pytestmark = pytest.mark.terminal

WIDE = ("汉" * 333_000).encode()


@pytest.fixture
def terminal(scan: Path) -> Iterator[Terminal]:
    running = Terminal(scan, 140, 40)
    try:
        running.until(lambda screen: "▸    0" in screen and "sample 1 of 8" in screen)
        yield running
    finally:
        running.close()


@pytest.mark.slow
@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(("key", "shown"), [("t", "tags of"), ("i", "esc saves")])
def test_a_megabyte_is_cut_and_the_next_key_is_obeyed(terminal: Terminal, marked: bool, key: str, shown: str) -> None:
    terminal.send(key)
    terminal.until(lambda screen: shown in screen)
    before = terminal.memory_mb()
    paste = b"\x1b[200~" + WIDE + b"\x1b[201~" if marked else WIDE
    sender = threading.Thread(target=terminal.send_all, args=(paste,))
    sender.start()
    while sender.is_alive():
        terminal.read(0.05)
    terminal.until(lambda screen: "characters of the paste" in screen)
    # Nothing of it is kept. No escape is left over: with the q that follows it would be another key.
    terminal.send("\x15\x1b" if key == "t" else "\x07")  # ctrl+u and escape; ctrl+g
    terminal.until(lambda screen: shown not in screen)
    assert terminal.memory_mb() - before < 100
    assert terminal.quit() == 0


@pytest.mark.slow
def test_letters_that_arrive_in_parts_are_whole(terminal: Terminal) -> None:
    terminal.send("t")
    terminal.until(lambda screen: "tags of" in screen)
    for letter in "汉字":
        for part in letter.encode():
            terminal.send_all(bytes([part]))
            terminal.read(0.3)
    terminal.until(lambda screen: "汉" in screen and "字" in screen)
    terminal.send("\x15\x1b")
    terminal.until(lambda screen: "tags of" not in screen)
    assert terminal.quit() == 0


@pytest.mark.slow
def test_a_paste_where_nothing_is_typed_does_not_hold_up_the_screen(terminal: Terminal) -> None:
    before = terminal.memory_mb()
    sender = threading.Thread(target=terminal.send_all, args=(b"z" * 300_000,))
    sender.start()
    while sender.is_alive():
        terminal.read(0.05)
    terminal.until(lambda screen: "keys came faster" in screen, 60)
    assert terminal.memory_mb() - before < 100
    assert terminal.quit() == 0


async def paste(box: Input | TextArea, text: str) -> None:
    box.app.post_message(Paste(text))


async def test_an_input_takes_what_fits(scan: Path) -> None:
    async with running(scan) as on:
        await on.press("colon", "a")
        box = on.app.focused
        assert isinstance(box, Input)
        await paste(box, "b" * LINE_MOST)
        await on.until(lambda: len(box.value) == LINE_MOST)
        assert box.value == "a" + "b" * (LINE_MOST - 1)
        await paste(box, "cd")
        await on.until(lambda: "3 characters of the paste do not fit here, and are left out." in on.notes)
        await on.press("ctrl+u")
        await paste(box, "fits")
        await on.until(lambda: box.value == "fits")
        await on.press("escape")
        await on.press("i")
        note = on.app.screen.query_one(TextArea)
        await paste(note, "x" * (LINE_MOST + 5) + "\ny\n" + "z" * (LINE_MOST + 1))
        whole = "x" * LINE_MOST + "\ny\n" + "z" * LINE_MOST
        await on.until(lambda: note.text == whole)
        await paste(note, "no\nmore" + "\n" + "row\n" * NOTE_MOST)
        await on.until(lambda: len(note.text) == NOTE_MOST)
        assert note.text.startswith(whole + "\nmore\nrow\n")
        await on.press("ctrl+g")
