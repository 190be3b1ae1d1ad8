"""A scan and a notebook of a stranger: no escape sequence of theirs reaches the terminal, wherever they are drawn."""

import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

import vlmscope.core.store.synthetic
from tests.support.checks import check, picture
from tests.support.report_parts import explanation
from tests.support.terminal import Terminal
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.explanation import FailedExplanation, Source
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.synthetic import write_synthetic_scan

pytestmark = pytest.mark.terminal

#: Takes the clipboard, moves the cursor by C0 and C1, and turns the rest of a line around.
ATTACK = "\x1b]52;c;UFdO\x07\x1b[9;9H\x9b8;8H\u202e"
#: What a terminal must not get: the app's own moves and colours are others.
FORBIDDEN = ["\x1b]52;c;UFdO", "\x07", "\x1b[9;9H", "\x9b", "\u202e"]


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scan, and beside it a notebook, with ``ATTACK`` in all that can hold a text."""
    monkeypatch.setattr(vlmscope.core.store.synthetic, "WORDS", (f"{ATTACK}word", "other"))
    scan = tmp_path / f"scan{ATTACK}"
    write_synthetic_scan(scan, layers=2, neurons=8, samples=6, top_n=4, maps=2, grid=(4, 4), image=32)
    scan_id = read_manifest(scan).scan_id
    path = notebook_path(scan_id, scan, "beside")
    with Notebook.open(path, scan_id) as notebook:
        for index in range(2):
            neuron = Neuron(0, index)
            notebook.set_tags(neuron, ["swapped"])
            notebook.add_explanation(neuron, replace(explanation(f"api{ATTACK}"), model=f"model{ATTACK}"))
            notebook.add_explanation(neuron, explanation(f"own{ATTACK}", Source.USER))
            notebook.add_failure(neuron, FailedExplanation(f"reason{ATTACK}", True, f"m{ATTACK}", "2026-01-01"))
            names = {"word": f"checked{ATTACK}", "note": f"note{ATTACK}", "created": f"now{ATTACK}"}
            notebook.add_check(check(neuron, pictures=(picture(image=f"seen{ATTACK}"),) * 3, **names))
            notebook.set_note(neuron, f"noted{ATTACK}\nsecond{ATTACK}")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE tags SET tag = ?", (f"tagged{ATTACK}",))
    db.close()
    return scan


@pytest.mark.slow
def test_no_escape_sequence_reaches_the_terminal(stranger: Path) -> None:
    terminal = Terminal(stranger, 150, 50)
    #: Keys, and what is on the screen then; after a "-": what has gone from it.
    steps = [
        ("", "▸    0"),
        ("", "The notebook beside the scan"),
        ("e", "reason ]52;c;UFdO"),
        ("\x1b", "checked   checked ]52;c;UFdO"),
        ("e", "reason ]52;c;UFdO"),
        ("e", "sample 1 of 4"),
        ("i", "esc saves"),
        ("\x1b", "-esc saves"),
        ("t", "tags of L0/N0 tagged ]52;c;UFdO"),
        ("\x1b", "-tags of"),
        ("c", "which explanation leads"),
        ("\x1b", "-which explanation leads"),
        ("u", "undone: "),
        ("L", "shares of all neurons"),
        ("\x1b", "-shares of all neurons"),
        (f":theme {ATTACK[1:6]}\r", "is not a theme"),
        ("p/nowhere\r", "There is no picture"),
        ("/UFdO\r", "strongest first"),
        ("x", "export the kept neurons"),
        ("\x1b", "-export the kept neurons"),
        ("\x10", "Search for commands"),
        ("\x1b", "-Search for commands"),
    ]
    try:
        for keys, shown in steps:
            if keys:
                terminal.send(keys)
            terminal.until(lambda screen, shown=shown: (shown.strip("-") in screen) != shown.startswith("-"))  # type: ignore[misc]
        assert terminal.quit() == 0
    finally:
        terminal.close()
    written = re.sub(rb"\x1b\]22;[a-z]+\x07", b"", terminal.written)  # Textual's own: the mouse pointer's shape
    assert [bad for bad in FORBIDDEN if bad.encode() in written] == []
