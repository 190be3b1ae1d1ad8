"""``vlmscope stats A B --neurons``: the same numbers as text, JSON and CSV."""

import csv
import io
import json
from pathlib import Path

import pytest

from vlmscope.core.analysis.compare import Comparison, compare
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.tui.__main__ import main

AT = Thresholds(T_v=4.5, T_t=3.5)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("other") / "tuned"
    write_synthetic_scan(out, layers=4, neurons=32, samples=12, top_n=8, maps=3, grid=(4, 4), image=32, seed=5)
    return out


def run(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["stats", *args, "--neurons", "--Tv", "4.5", "--Tt", "3.5"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def expected(scan: Path, other: Path) -> Comparison:
    return compare(ScanStore(scan), ScanStore(other), (AT, AT))


def test_json_has_the_matrix_each_layer_and_each_neuron(
    scan: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, want = json.loads(run(capsys, str(scan), str(other), "--json")), expected(scan, other)
    assert (found["before"]["scan"], found["after"]["scan"]) == (str(scan), str(other))
    assert found["before"]["thresholds"]["T_v"] == 4.5 and found["after"]["top_samples"] == 8
    assert found["pictures"] == {"before": 12, "after": 12, "both": 12, "by_content": False}
    assert found["shared_by_chance"] == pytest.approx(want.by_chance)
    for row, layer in zip([found["total"], *found["layers"]], [None, 0, 1, 2, 3], strict=True):
        matrix = want.transitions(layer)
        assert [list(counts.values()) for counts in row["transitions"].values()] == matrix.tolist()
        assert row["neurons"] == matrix.sum() and row["same_label"] == matrix.trace()
        shared = want.shared if layer is None else want.shared[layer]
        assert row["shared"] == pytest.approx(shared.mean())
    neurons = found["neurons"]
    assert len(neurons) == 128 and found["total"]["same_label"] < 128
    for entry in neurons:
        neuron = Neuron.parse(entry["neuron"])
        at = neuron.layer, neuron.index
        assert entry["before"] == Label(int(want.before[at])).word
        assert entry["after"] == Label(int(want.after[at])).word
        assert entry["shared"] == want.shared[at]
    assert [entry["neuron"] for entry in neurons] == [f"L{layer}/N{index}" for layer in range(4) for index in range(32)]


def test_json_may_be_bounded_and_is_written_as_one_value(
    scan: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = run(capsys, str(scan), str(other), "--json", "--limit", "3")
    found = json.loads(text)
    assert [entry["neuron"] for entry in found["neurons"]] == ["L0/N0", "L0/N1", "L0/N2"]
    assert text == json.dumps(found, indent=2) + "\n"


def test_csv_has_a_line_for_each_neuron(scan: Path, other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(csv.DictReader(io.StringIO(run(capsys, str(scan), str(other), "--csv"))))
    want = expected(scan, other)
    assert len(lines) == 128
    for line in lines:
        at = int(line["layer"]), int(line["index"])
        assert (line["before"], line["after"]) == tuple(Label(int(of[at])).word for of in (want.before, want.after))
        assert int(line["shared"]) == want.shared[at]


def test_the_text_has_the_matrix_the_layers_and_who_changed(
    scan: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, want = run(capsys, str(scan), str(other)), expected(scan, other)
    lines = out.splitlines()
    assert lines[0].startswith("before  ") and lines[1].startswith("after   ") and "tuned" in lines[1]
    assert "12 in both" in lines[2] and "\x1b" not in out
    matrix = want.transitions()
    for which, counts in zip(Label, matrix.tolist(), strict=True):
        (line,) = (line for line in lines[4:9] if line.startswith(f"{which.letter} {which.word}"))
        assert [int(number.replace(",", "")) for number in line.split()[2:]] == [*counts, sum(counts)]
    head = next(at for at, line in enumerate(lines) if line.startswith("layer"))
    for layer in range(4):
        same = want.transitions(layer).trace() / 32
        assert lines[head + 1 + layer].split() == [str(layer), f"{same:.1%}", f"{want.shared[layer].mean():.2f}"]
    changed = [Neuron(*at) for at in zip(*(want.before != want.after).nonzero(), strict=True)]
    assert len(changed) > 20
    listed = [line.split() for line in lines if line.startswith("L")]
    assert [line[0] for line in listed] == [str(neuron) for neuron in changed[:20]]
    first = changed[0].layer, changed[0].index
    words = [Label(int(labels[first])).word for labels in (want.before, want.after)]
    assert [listed[0][2], listed[0][4], listed[0][5]] == [*words, str(want.shared[first])]
    assert lines[-1] == f"and {len(changed) - 20} more: --limit {len(changed)}"
    assert run(capsys, str(scan), str(other), "--limit", "200").count("\nL") == len(changed)


def test_nothing_changed(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, str(scan), str(scan))
    assert out.splitlines()[-1] == "Every neuron has the label that it had."


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a", "--neurons"], "--neurons compares two scans"),
        (["a", "b", "c", "--neurons"], "--neurons compares two scans"),
        (["a", "b", "--neurons", "--scores"], "neither figure nor scores"),
        (["a", "b", "--neurons", "--png", "x.png"], "neither figure nor scores"),
        (["a", "--limit", "3"], "--limit bounds a list of neurons"),
    ],
)
def test_what_does_not_go_together_is_refused(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", *args]) != 0
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err


def test_other_shapes_are_refused(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_synthetic_scan(tmp_path / "wide", layers=4, neurons=33, samples=12, top_n=8, grid=(4, 4), image=32)
    assert main(["stats", str(scan), str(tmp_path / "wide"), "--neurons"]) != 0
    assert "4 layers of 32 neurons" in capsys.readouterr().err
