"""What commands say of a scan that is not whole."""

import csv
import json
from pathlib import Path

import pytest

from tests.support.growing import Growing
from vlmscope.core.store.manifest import ShardInfo
from vlmscope.tui.__main__ import main

NEURON = "L1/N7"
READING = (["labels"], ["labels", "--neurons"], ["stats"], ["show", NEURON])
ALL = (
    *READING,
    ["search", "train"],
    ["verdict", NEURON, "keep"],
    ["explain", NEURON],
    ["simulate", NEURON],
    ["concepts"],
)


@pytest.fixture
def growing(scan: Path, tmp_path: Path) -> Growing:
    growing = Growing(scan, tmp_path / "scan")
    growing.save(5)
    return growing


def run(capsys: pytest.CaptureFixture[str], command: list[str], scan: Path, *more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command on ``scan``."""
    code = main([command[0], str(scan), *command[1:], *more])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("command", READING)
def test_labels_so_far_are_shown_and_said_to_be_so_far(
    growing: Growing, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    code, out, err = run(capsys, command, growing.out)
    assert code == 0
    assert out
    assert err.splitlines()[0] == "so far: 5 of 12 samples"
    assert "so far" not in out


def test_neurons_at_a_place_and_related_ones_are_of_the_samples_so_far(
    growing: Growing, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, ["at", "--patch", "1,1"], growing.out, "--sample", "2")
    assert code == 0 and err.startswith("so far: 5 of 12 samples") and "neurons have it as top sample" in err
    assert out.splitlines()[0].split() == ["neuron", "label", "bar", "activation", "top", "sample"]
    code, out, err = run(capsys, ["at", "--patch", "1,1"], growing.out, "--sample", "9")
    assert code == 2 and "Samples go from 0 to 11; not all are processed." in err
    code, out, err = run(capsys, ["related", NEURON], growing.out)
    assert code == 0 and "No neuron is like it: of so few samples any two neurons share 5.0 of 5." in err


def test_nothing_is_said_of_a_whole_scan(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in READING:
        code, _, err = run(capsys, command, scan)
        assert (code, err) == (0, "")


def test_json_has_it(growing: Growing, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, expected in ((growing.out, {"done": 5, "of": 12}), (scan, None)):
        labels = json.loads(run(capsys, ["labels", "--json"], folder)[1])
        assert labels["progress"] == expected
        assert json.loads(run(capsys, ["stats", "--json"], folder)[1])[0]["progress"] == expected
        assert json.loads(run(capsys, ["show", NEURON, "--json"], folder)[1])["scan"]["progress"] == expected


def test_a_shard_is_named(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = Growing(scan, tmp_path / "shard", ShardInfo(number=2, of=3))
    shard.save(4)
    _, out, err = run(capsys, ["labels", "--json"], shard.out)
    assert err.startswith("so far: shard 2/3, 4 of 4 samples")
    assert json.loads(out)["progress"] == {"done": 4, "of": 4, "shard": "2/3"}


def test_of_several_scans_it_is_said_which(growing: Growing, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, ["stats"], growing.out, str(scan), "--csv")
    assert code == 0
    assert err == f"{growing.out}: so far: 5 of 12 samples\n"
    assert {row["samples"] for row in csv.DictReader(out.splitlines())} == {"5", "12"}


@pytest.mark.parametrize("command", ALL)
def test_no_command_opens_a_scan_that_has_met_nothing(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    begun = Growing(scan, tmp_path / "begun")
    code, out, err = run(capsys, command, begun.out)
    assert (code, out) == (1, "")
    assert "has just begun" in err
    assert "in a minute" in err


def test_nor_does_the_screen(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = Growing(scan, tmp_path / "begun")
    code, _, err = run(capsys, ["open"], begun.out)
    assert code == 1
    assert "has just begun" in err
    code, _, err = run(capsys, ["export"], begun.out, "--out", str(tmp_path / "report"))
    assert code == 1
    assert "has just begun" in err


@pytest.mark.parametrize("command", [["concepts"], ["concepts", "--again"], ["search", "train"]])
def test_what_takes_a_whole_scan_says_how_to_finish_it(
    growing: Growing, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    code, out, err = run(capsys, command, growing.out)
    assert (code, out) == (1, "")
    assert "has scanned 5 of 12 samples" in err
    assert "--resume" in err
    assert not (growing.out / "concepts").exists()


def test_a_control_takes_a_whole_scan(growing: Growing, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["scan", "--control", str(growing.out)])
    err = capsys.readouterr().err
    assert code == 1
    assert "A control takes a whole scan" in err
    assert "--resume" in err


def test_a_verdict_can_be_given_already(growing: Growing, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, ["verdict", NEURON, "keep"], growing.out)[0] == 0
    growing.finish()
    _, out, _ = run(capsys, ["show", NEURON, "--json"], growing.out)
    assert json.loads(out)["notebook"]["verdict"] == "keep"
