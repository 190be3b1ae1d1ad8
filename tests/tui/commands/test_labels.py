"""``vlmscope labels``: the counts, as a table and as JSON."""

import contextlib
import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.text import Text

from tests.support.made_control import make_control
from vlmscope.core.analysis.firmness import firmness, fragile
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands.labels import BAR
from vlmscope.tui.commands.shared.output import append_bar, write_json, write_json_list


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
    assert lines[0].split() == ["layer", "V", "T", "M", "·", "high-confidence", "fragile"]
    for layer, line in zip(found["layers"], lines[1:], strict=False):
        assert [int(cell) for cell in line.split()[:5]] == list(layer.values())
    assert lines[5].split()[:5] == ["all", *(str(count) for count in found["total"].values())]
    assert len({line.index(line.split()[-1]) for line in lines[1:6]}) == 1, "the bars are aligned"
    assert "Tv 2  nv 4  Tt 3  nt 2" in lines[-1]


def test_fragile_labels_are_counted(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, str(scan), "--Tv", "4.5", "--Tt", "3.5")["fragile"]
    store = ScanStore(scan)
    labels = store.labels(Thresholds(T_v=4.5, T_t=3.5))
    marks = fragile(store, labels)
    expected = [[int((labels.label[layer] == which)[marks[layer]].sum()) for which in Label] for layer in range(4)]
    assert [[layer[which.word] for which in Label] for layer in found["layers"]] == expected
    assert sum(found["total"].values()) == marks.sum() > 0
    assert main(["labels", str(scan), "--Tv", "4.5", "--Tt", "3.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[6]) for line in lines[1:5]] == [sum(row) for row in expected]


def test_without_a_control_there_is_none(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_json(capsys, str(scan))["control"] is None


def test_the_control_s_shares_stand_beside(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = make_control(scan_copy)
    found = run_json(capsys, str(scan_copy), "--Tv", "6")["control"]
    assert (found["seed"], found["samples"]) == (3, 12)
    expected = counted(control, Thresholds(T_v=6))
    assert [[layer[which.word] for which in Label] for layer in found["layers"]] == expected
    assert found["total"] != run_json(capsys, str(scan_copy), "--Tv", "6")["total"]
    assert main(["labels", str(scan_copy), "--Tv", "6"]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("control "))
    assert line.split()[1:5] == [f"{count / 128:.1%}" for count in found["total"].values()]
    assert "control: the same architecture with random weights (seed 3)" in out


def run_list(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[list[dict[str, Any]], str]:
    assert main(["labels", *args, "--neurons", "--json"]) == 0
    said = capsys.readouterr()
    found: list[dict[str, Any]] = json.loads(said.out)
    return found, said.err


def test_the_list_says_how_firm_each_label_is(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, err = run_list(capsys, str(scan), "--Tv", "4.5", "--Tt", "3.5")
    store = ScanStore(scan)
    labels = store.labels(Thresholds(T_v=4.5, T_t=3.5))
    firm = firmness(store, labels)
    assert err == ""
    assert [entry["neuron"] for entry in found] == [f"L{layer}/N{index}" for layer in range(4) for index in range(32)]
    for entry in found:
        neuron = Neuron.parse(entry["neuron"])
        at, one = (neuron.layer, neuron.index), firm.of(neuron)
        assert entry["label"] == Label(int(labels.label[at])).word
        assert entry["high_confidence"] == bool(labels.high_confidence[at])
        assert list(entry["p"].values()) == labels.fractions[at].tolist()
        assert (entry["margin"], entry["sign_p"], entry["fragile"]) == (one.margin, one.sign_p, one.fragile)
        assert entry["interval"] == [one.low, one.high]


def test_the_list_is_narrowed(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = [str(scan), "--Tv", "4.5", "--Tt", "3.5"]
    everything, _ = run_list(capsys, *at)
    marked, _ = run_list(capsys, *at, "--fragile")
    assert marked == [entry for entry in everything if entry["fragile"]] and marked
    texts, _ = run_list(capsys, *at, "--label", "text")
    assert texts == [entry for entry in everything if entry["label"] == "text"] and texts
    few, err = run_list(capsys, *at, "--label", "text", "--limit", "2")
    assert few == texts[:2] and f"and {len(texts) - 2} more: --limit {len(texts)}" in err
    nothing, err = run_list(capsys, str(scan), "--Tv", "10", "--Tt", "10", "--label", "visual")
    assert nothing == [] and "No neuron" in err


def test_the_list_as_text(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = run_list(capsys, str(scan), "--Tv", "4.5", "--Tt", "3.5")
    assert main(["labels", str(scan), "--Tv", "4.5", "--Tt", "3.5", "--neurons"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(found) + 1
    for entry, line in zip(found, lines[1:], strict=True):
        words = line.split()
        assert words[0] == entry["neuron"] and words[2] == entry["label"]
        assert (words[3] == "high") == entry["high_confidence"]
        assert line.endswith("fragile") == entry["fragile"]
        assert f"{entry['interval'][0]:.2f} to {entry['interval'][1]:.2f}" in line


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--neurons", "--label", "audio"], "--label is 'audio'"),
        (["--label", "text"], "--neurons"),
        (["--fragile"], "--neurons"),
        (["--limit", "3"], "--neurons"),
    ],
)
def test_what_asks_for_no_list_is_wrong_use(
    scan: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(["labels", str(scan), *more]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("counts", "bar"),
    [
        ([1, 1, 1, 0], "VVVVVVVVTTTTTTTTMMMMMMMM"),
        ([5, 0, 0, 0], "V" * 24),
        ([0, 0, 0, 0], ""),
        ([1, 1, 1, 1], "VVVVVVTTTTTTMMMMMM······"),
        ([997, 1, 1, 1], "V" * 21 + "TM·"),
    ],
)
def test_a_bar_is_always_full(counts: list[int], bar: str) -> None:
    line = Text()
    append_bar(line, np.array(counts), BAR)
    assert line.plain == bar


@pytest.mark.parametrize(
    "more", [[], ["--limit", "5"], ["--fragile"], ["--Tv", "10", "--Tt", "10", "--label", "visual"]]
)
def test_the_list_is_written_in_parts_as_json_writes_it_whole(
    scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.setattr("vlmscope.tui.commands.labels.PART", 7)
    assert main(["labels", str(scan), "--neurons", "--json", *more]) == 0
    out = capsys.readouterr().out
    assert out == json.dumps(json.loads(out), indent=2) + "\n"


def test_a_list_that_json_has_no_number_for(capsys: pytest.CaptureFixture[str]) -> None:
    form = {"a": 0, "100%": {"b 1": 1}, "c": [2, 3], "d": 4}
    rows = [('x\n\x1b " %s', math.nan, None, True, -1.5e-20), ("", math.inf, 7, False, 0.1)]
    write_json_list(form, iter(rows))
    found = capsys.readouterr().out
    write_json([{"a": a, "100%": {"b 1": b}, "c": [c, d], "d": e} for a, b, c, d, e in rows])
    assert found == capsys.readouterr().out
    write_json_list(form, [])
    assert capsys.readouterr().out == "[]\n"


def test_a_long_list_takes_little_memory() -> None:
    """20,000 rows of 400 bytes: 8 MB as text."""
    rows = (("x" * 400,) for _ in range(20_000))
    with Path("/dev/null").open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        tracemalloc.start()
        write_json_list({"a": 0}, rows)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000
