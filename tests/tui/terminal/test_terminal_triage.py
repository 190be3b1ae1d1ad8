"""Ten neurons decided in a real terminal by keys alone, and the report that comes of it."""

import re
from pathlib import Path

import pytest

from tests.support.terminal import Terminal
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.manifest import read_manifest

pytestmark = pytest.mark.terminal

#: What is pressed on each of the first ten neurons, and its row's marks then.
KEYS = [
    ("1", "✓"),
    ("2", "✗"),
    ("1b", "✓b"),
    ("3", "?"),
    ("1iclear, check on photos\x1b", "✓ n"),
    ("2", "✗"),
    ("1ttrains, night\r", "✓ t"),
    ("1u", ""),
    ("3", "?"),
    ("14", ""),
]


@pytest.mark.slow
def test_ten_neurons_by_keys_alone(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    terminal = Terminal(scan, 140, 40)
    try:
        terminal.until(lambda screen: "▸    0" in screen and "sample 1 of 8" in screen)
        for index, (keys, marks) in enumerate(KEYS):
            terminal.until(lambda screen, index=index: re.search(rf"\bL0/N{index} ", screen))  # type: ignore[misc]
            for part in re.split("(\x1b)", keys):  # escape alone: with a letter after it, a terminal means alt
                terminal.send(part)
                if part == "\x1b":
                    terminal.until(lambda screen: "esc saves" not in screen)
                elif "i" in part[:2] and len(part) > 3 and part[1] == "i":
                    terminal.until(lambda screen: "check on photos" in screen)
            if "u" in keys:
                terminal.until(lambda screen, index=index: f"undone: L0/N{index} has no verdict" in screen)  # type: ignore[misc]
            row = re.compile(rf"▸ +{index}{re.escape(marks):<1} ")
            terminal.until(lambda screen, row=row: row.search(screen))  # type: ignore[misc]
            terminal.send("j")
        terminal.until(lambda screen: "triaged 8 of 128" in screen)
        terminal.send("x")
        terminal.until(lambda screen: "report" in screen.splitlines()[-1])
        terminal.send("\x15")
        terminal.until(lambda screen: "vlmscope-report" not in screen.splitlines()[-1])
        terminal.send(f"{out}")
        terminal.until(lambda screen: screen.splitlines()[-1].rstrip().endswith("report"))
        terminal.send("\r")
        terminal.until(lambda screen: "4 neurons are in" in screen)
        assert terminal.quit() == 0
    finally:
        terminal.close()
    scan_id = read_manifest(scan).scan_id
    with Notebook.open(notebook_path(scan_id, scan, "data"), scan_id) as kept:
        entries = [kept.entry(Neuron(0, index)) for index in range(10)]
    keep, reject, unsure = Verdict.KEEP, Verdict.REJECT, Verdict.UNSURE
    verdicts = [keep, reject, keep, unsure, keep, reject, keep, None, unsure, None]
    assert [entry.verdict for entry in entries] == verdicts
    assert entries[4].note == "clear, check on photos"
    assert entries[6].tags == ("night", "trains")
    report = (out / "report.md").read_text()
    assert re.findall(r"^## (L0/N\d+)$", report, re.MULTILINE) == ["L0/N0", "L0/N2", "L0/N4", "L0/N6"]
    assert "clear, check on photos" in report
    assert len(list((out / "images").glob("L0-N2-*.png"))) == 3
