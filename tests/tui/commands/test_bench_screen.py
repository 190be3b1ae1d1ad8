"""The screen's benchmark measures the program itself."""

import sys
from pathlib import Path

import pytest

from vlmscope.tui.commands.bench_screen import BenchError, bench_one

pytestmark = [
    pytest.mark.terminal,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def test_the_figures_are_those_of_a_running_screen(scan: Path) -> None:
    figures = bench_one(scan, steps=3)
    assert figures.neurons == 128
    assert 0.05 < figures.first_paint_s < 60
    assert 20 < figures.rss_mb < 1000
    assert figures.step_p95_ms > 1
    assert 300 < figures.step_bytes_p95 < 200_000
    assert figures.sheet_p95_ms > 1
    assert figures.choice_bytes_p95 < figures.sheet_bytes_p95 < 200_000
    assert figures.relabel_ms > 0


def test_a_screen_that_does_not_come_up_is_a_failure_with_its_words(
    scan_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("vlmscope.tui.commands.bench_screen.ENVIRONMENT", {"TERM": "dumb"})
    with pytest.raises(BenchError, match="TERM is dumb"):
        bench_one(scan_copy, steps=1)
