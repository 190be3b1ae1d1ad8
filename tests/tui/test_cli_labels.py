"""``vlmscope labels``: the counts, as a table and as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.labels import Label, Thresholds
from core.scan_store import ScanStore
from tui.__main__ import main
from tui.commands.labels import BAR, Counts, bar


def run_json(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert main(["labels", *args, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found: dict[str, Any] = json.loads(captured.out)
    return found


def counted(scan: Path, thresholds: Thresholds) -> list[list[int]]:
    """Slowly, from each neuron's own label."""
    labels = ScanStore(scan).labels(thresholds)
    return [[row.count(which) for which in Label] for row in labels.label.tolist()]


def test_json_begins_with_the_total_and_the_layers(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, str(scan))
    assert list(found)[:2] == ["total", "layers"]
    assert list(found["total"]) == ["visual", "text", "multimodal", "unknown"]
    assert list(found["layers"][0]) == ["layer", "visual", "text", "multimodal", "unknown"]
    expected = counted(scan, Thresholds())
    assert [[layer[which.word] for which in Label] for layer in found["layers"]] == expected
    assert [found["total"][which.word] for which in Label] == [sum(column) for column in zip(*expected, strict=True)]
    assert [layer["layer"] for layer in found["layers"]] == [0, 1, 2, 3]


def test_thresholds_are_taken_and_told(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(
        capsys, str(scan), "--Tv", "6.5", "--nv", "2", "--Tt", "5", "--nt", "1", "--high-confidence", "0.6"
    )
    thresholds = Thresholds(6.5, 2, 5.0, 1, 0.6)
    assert found["thresholds"] == vars(thresholds)
    expected = counted(scan, thresholds)
    assert [[layer[which.word] for which in Label] for layer in found["layers"]] == expected
    assert expected != counted(scan, Thresholds())


def test_high_confidence_is_counted_apart(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, str(scan), "--high-confidence", "0.5")
    labels = ScanStore(scan).labels(Thresholds(high_confidence=0.5))
    assert sum(found["high_confidence"]["total"].values()) == labels.high_confidence.sum() > 0
    assert run_json(capsys, str(scan), "--high-confidence", "1")["high_confidence"]["total"]["visual"] == 0


def test_the_table_holds_the_same_numbers(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, str(scan))
    assert main(["labels", str(scan)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].split() == ["layer", "V", "T", "M", "·", "high-confidence"]
    for layer, line in zip(found["layers"], lines[1:], strict=False):
        assert [int(cell) for cell in line.split()[:5]] == list(layer.values())
    assert lines[5].split()[:5] == ["all", *(str(count) for count in found["total"].values())]
    assert len({line.index(line.split()[-1]) for line in lines[1:6]}) == 1, "the bars are aligned"
    assert "Tv 2  nv 4  Tt 3  nt 2" in lines[-1]


@pytest.mark.parametrize(
    ("counts", "cells"),
    [
        (Counts(1, 1, 1, 0), [8, 8, 8, 0]),
        (Counts(5, 0, 0, 0), [24, 0, 0, 0]),
        (Counts(0, 0, 0, 0), [0, 0, 0, 0]),
        (Counts(1, 1, 1, 1), [6, 6, 6, 6]),
        (Counts(997, 1, 1, 1), [24, 0, 0, 0]),
    ],
)
def test_a_bar_is_always_full(counts: Counts, cells: list[int]) -> None:
    assert [count for _, count in bar(counts, BAR)] == cells
