"""``vlmscope related``: text, JSON, and what is said where there are none."""

import json
import re
from pathlib import Path

import pytest

from vlmscope.core.bench.related import bench_related
from vlmscope.core.store.reader import open_scan
from vlmscope.tui.__main__ import main

Captured = pytest.CaptureFixture[str]


def test_the_table_has_what_json_has(capsys: Captured) -> None:
    assert main(["related", "demo", "L4/N724", "--limit", "3", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [one["neuron"] for one in found] == ["L5/N618", "L5/N568", "L5/N499"]
    assert [one["shared"] for one in found] == [len(one["samples"]) for one in found] == [34, 32, 31]
    assert {(one["top"], round(one["by_chance"], 2)) for one in found} == {(50, 1.67)}
    assert {one["concepts"][0]["word"] for one in found} == {"shirt"}
    assert "share 5 or more of its 50 top samples; by chance 1.7" in captured.err
    assert "more: --limit" in captured.err
    assert main(["related", "demo", "L4/N724", "--limit", "3"]) == 0
    captured = capsys.readouterr()
    head, *lines = captured.out.splitlines()
    assert re.search(r"r is Pearson's correlation over the [1-9]\d* panel samples, less those in", captured.err)
    assert head.split() == ["neuron", "label", "shared", "r", "samples", "concepts"]
    for one, line in zip(found, lines, strict=True):
        assert line.startswith(f"{one['neuron']}  {one['label'][0].upper()} {one['label']}")
        beside = f"{one['shared']}  {one['correlation']:+.2f}"
        assert f" {beside}  #{one['samples'][0]} #{one['samples'][1]} " in line
        assert f"shirt {one['concepts'][0]['strength']:.1f}, " in line


def test_a_scan_without_concepts_and_with_few_samples_has_an_answer(scan: Path, capsys: Captured) -> None:
    assert main(["related", str(scan), "L0/N1", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert "No neuron is like it: of so few samples any two neurons share 5.3 of 8." in captured.err
    assert main(["related", str(scan), "L0/N1"]) == 0
    assert capsys.readouterr().out == ""


def test_neurons_by_the_panel(scan: Path, capsys: Captured) -> None:
    assert main(["related", "demo", "L3/N96", "--by", "panel", "--limit", "4", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    correlations = [one["correlation"] for one in found]
    assert len(found) == 4 and correlations == sorted(correlations, reverse=True) and correlations[0] > 0.4
    assert "correlations of 4,607 neurons over 97 panel samples or fewer" in captured.err
    assert main(["related", "demo", "L3/N96", "--by", "panel", "--limit", "4"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [one["neuron"] for one in found]
    assert main(["related", str(scan), "L0/N1", "--by", "panel"]) == 1
    assert "--by panel needs a panel of random samples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("L9/N1",), "Layers go from 0 to 5, neurons from 0 to 767"),
        (("nothing",), "not a neuron address"),
        (("L0/N1", "--limit", "0"), "--limit"),
    ],
)
def test_wrong_use_is_refused(more: tuple[str, ...], words: str, capsys: Captured) -> None:
    assert main(["related", "demo", *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err


def test_the_benchmark_measures_both_on_any_scan() -> None:
    figures = bench_related(open_scan("demo").folder, queries=3)
    assert (figures.neurons, figures.samples, figures.queries) == (4608, 1500, 3)
    assert 0 < figures.related_ms <= figures.related_ms_p95 <= figures.related_ms_max
    assert 0 < figures.point_ms <= figures.point_ms_p95 and figures.related_cpu_ms > 0
