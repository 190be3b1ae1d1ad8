"""``vlmscope stats``: the same numbers as text, JSON and CSV, and a figure."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.scoring.test_statistics import put, report
from tests.support.checks import check
from tests.support.made_control import make_control
from vlmscope.core.analysis.firmness import fragile
from vlmscope.core.analysis.statistics import ScanStatistics, scan_statistics
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands.stats import CSV_HEAD

AT = ["--Tv", "4.5", "--Tt", "3.5"]


def run(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["stats", *args]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def expected(scan: Path) -> ScanStatistics:
    store = ScanStore(scan)
    labels = store.labels(Thresholds(T_v=4.5, T_t=3.5))
    return scan_statistics(store, labels, fragile(store, labels))


def test_json_has_every_layer_and_the_total(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = json.loads(run(capsys, str(scan), "--json", *AT))
    want = expected(scan)
    assert want.fragile is not None
    assert (found["scan"], found["model"], found["samples"], found["control"]) == ("small", "synthetic", 12, None)
    assert found["thresholds"]["T_v"] == 4.5
    rows = [*found["layers"], found["total"]]
    for of, sure, marked, row in zip(
        [*want.counts, want.counts.sum(axis=0)],
        [*want.high_confidence, want.high_confidence.sum(axis=0)],
        [*want.fragile, want.fragile.sum(axis=0)],
        rows,
        strict=True,
    ):
        assert list(row["count"].values()) == of.tolist() and row["neurons"] == of.sum()
        assert list(row["share"].values()) == (of / of.sum()).tolist()
        assert list(row["high_confidence"]["count"].values()) == sure.tolist()
        assert sum(row["high_confidence"]["share"].values()) == pytest.approx(1)
        assert row["high_confidence"]["neurons"] == sure.sum()
        assert list(row["fragile"]["count"].values()) == marked.tolist()
    assert [row["layer"] for row in found["layers"]] == [0, 1, 2, 3]


def test_where_nothing_is_sure_there_are_no_shares(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = json.loads(run(capsys, str(scan), "--json", "--high-confidence", "1"))
    assert set(found["total"]["high_confidence"]["share"].values()) == {None}
    lines = list(csv.DictReader(io.StringIO(run(capsys, str(scan), "--csv", "--high-confidence", "1"))))
    assert {line["high_confidence_share"] for line in lines} == {""}


def test_csv_has_a_line_for_each_layer_and_label(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_control(scan_copy)
    out = run(capsys, str(scan_copy), "--csv", *AT)
    assert out.splitlines()[0] == ",".join(CSV_HEAD)
    lines = list(csv.DictReader(io.StringIO(out)))
    want = expected(scan_copy)
    assert want.control is not None and want.fragile is not None
    assert len(lines) == 2 * 16
    for row, part in ((want, lines[:16]), (want.control, lines[16:])):
        assert [int(line["count"]) for line in part] == row.counts.ravel().tolist()
        assert [int(line["high_confidence"]) for line in part] == row.high_confidence.ravel().tolist()
        assert [line["label"] for line in part] == [which.word for which in Label] * 4
        assert [int(line["layer"]) for line in part] == np.repeat(range(4), 4).tolist()
        assert [float(line["share"]) for line in part] == pytest.approx((row.counts / 32).ravel(), abs=1e-6)
    assert {line["control_seed"] for line in lines[:16]} == {""} and {line["control_seed"] for line in lines[16:]} == {
        "3"
    }
    assert [int(line["fragile"]) for line in lines[:16]] == want.fragile.ravel().tolist()


def test_the_text_says_the_same(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, str(scan), *AT)
    want = expected(scan)
    lines = out.splitlines()
    assert "small" in lines[0] and "Tv 4.5" in lines[0] and "\x1b" not in out
    for layer in range(4):
        cells = lines[2 + layer].split()
        assert cells[0] == str(layer)
        assert cells[1:5] == [f"{count / 32:.1%}" for count in want.counts[layer]]
        assert cells[5] == f"{want.high_confidence[layer].sum() / 32:.1%}"
        assert want.fragile is not None and cells[6] == f"{want.fragile[layer].sum() / 32:.1%}"
    assert lines[6].split()[0] == "all"
    assert "No control to compare with" in out
    assert max(map(len, lines[1:])) <= 110


def test_the_control_s_shares_stand_beside(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_control(scan_copy)
    (found,) = json.loads(run(capsys, str(scan_copy), "--json", *AT))
    want = expected(scan_copy).control
    assert want is not None
    assert found["control"]["seed"] == 3 and "control" not in found["control"]
    assert list(found["control"]["total"]["count"].values()) == want.counts.sum(axis=0).tolist()
    out = run(capsys, str(scan_copy), *AT)
    lines = out.splitlines()
    assert "control:" in lines[1] and "No control" not in out
    for layer in range(4):
        assert lines[2 + layer].split()[-4:] == [f"{count / 32:.1%}" for count in want.counts[layer]]
    (line,) = (line for line in lines if "control, seed 3" in line)
    assert line.split()[3:7] == [f"{count / 128:.1%}" for count in want.counts.sum(axis=0)]


def test_several_scans_are_compared(scan: Path, scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, str(scan), str(scan_copy), str(scan), "--json"))
    assert [entry["scan"] for entry in found] == [str(scan), "copy", str(scan)]
    lines = run(capsys, str(scan), str(scan_copy)).splitlines()
    tail = [line for line in lines if line.startswith(("small ", "copy ")) and " · " not in line]
    assert len(tail) == 2 and tail[0].split()[1:] == tail[1].split()[1:]


def test_the_figure_is_written(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chart.png"
    assert main(["stats", str(scan), "--png", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out == "" and f"wrote {path}" in said.err
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > 800
    whole = tmp_path / "figure.pdf"
    assert main(["stats", str(scan), "--figure", str(whole), "--png", str(path)]) == 0
    assert capsys.readouterr().err.count("wrote") == 2 and whole.read_bytes().startswith(b"%PDF")
    assert main(["stats", str(scan), "--png", str(path), "--csv"]) == 0
    assert capsys.readouterr().out.startswith("scan,")


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--json", "--csv"], 2, "--json and --csv"),
        (["--png", "/nowhere/at/all.png"], 1, "/nowhere/at/all.png cannot be written"),
        (["--figure", "/nowhere/at/all.svg"], 1, "/nowhere/at/all.svg cannot be written"),
        (["--figure", "shares.jpg"], 2, "none of .pdf, .svg and .png"),
        (["--figure", "shares.pdf", "--scores"], 2, "draws no figure"),
        (["--Tv", "11"], 2, "Tv is 11"),
        (["nowhere"], 1, "nowhere is not a scan"),
    ],
)
def test_what_is_wrong_is_named(
    scan: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, words: str
) -> None:
    assert main(["stats", str(scan), *more]) == code
    said = capsys.readouterr()
    assert words in said.err and said.out == ""


def test_scores_by_label(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(scan), "--scores"]) == 1
    assert "vlmscope simulate" in capsys.readouterr().err
    scan_id = ScanStore(scan).manifest.scan_id
    with Notebook.open(notebook_path(scan_id, scan, "data"), scan_id) as notebook:
        for index, score in enumerate((0.5, 0.75, None)):
            put(notebook, Neuron(1, index), report(score))
    assert main(["stats", str(scan), "--scores"]) == 0
    assert re.search(r"lens +visual +all +2 +1 +0\.62 +0\.62", capsys.readouterr().out)
    assert main(["stats", str(scan), "--scores", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found[0]["scored"], found[0]["undefined"], found[0]["mean"], found[0]["max"]) == (2, 1, 0.625, 0.75)
    assert {one["layer"] for one in found} == {None, 1}
    assert main(["stats", str(scan), "--scores", "--csv"]) == 0
    assert capsys.readouterr().out.startswith("backend,kind,label,layer,scored")
    assert main(["stats", str(scan), str(scan), "--scores"]) == 2


def test_checks_by_layer_beside_chance(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(scan), "--checks"]) == 1
    assert "vlmscope check" in capsys.readouterr().err
    (plain,) = json.loads(run(capsys, str(scan), "--json"))
    assert plain["checks"] == []
    before = run(capsys, str(scan))
    scan_id = ScanStore(scan).manifest.scan_id
    with Notebook.open(notebook_path(scan_id, scan, "data"), scan_id) as notebook:
        notebook.add_check(check(Neuron(1, 0), p=0.5))  # a later one of the same word counts
        notebook.add_check(check(Neuron(1, 0)))
        notebook.add_check(check(Neuron(1, 0), word="dog", effect=0.4))
        notebook.add_check(check(Neuron(2, 5), p=None))
        notebook.add_check(check(Neuron(3, 5), p=0.35))
        notebook.add_check(check(Neuron(9, 0)))  # none of this model's
        notebook.add_check(check(Neuron(1, 0), Neuron(2, 5), name="kept"))
    found = json.loads(run(capsys, str(scan), "--checks", "--json"))
    keys = ("of", "layer", "checked", "with_p", "beyond_all", "lower", "chance")
    assert [tuple(one[key] for key in keys) for one in found] == [
        ("neurons", None, 4, 3, 2, 1, 0.15),
        ("neurons", 1, 2, 2, 2, 1, 0.1),
        ("neurons", 2, 1, 0, 0, 0, 0),
        ("neurons", 3, 1, 1, 0, 0, 0.05),
        ("sets", None, 1, 1, 1, 1, 0.05),
    ]
    assert re.search(r"all +4 +3 +2 +1 +0\.15\n", run(capsys, str(scan), "--checks"))
    assert run(capsys, str(scan), "--checks", "--csv").startswith("of,layer,checked,with_p,beyond_all,lower,chance")
    (plain,) = json.loads(run(capsys, str(scan), "--json"))
    assert plain["checks"] == [found[0], found[-1]]
    after = run(capsys, str(scan))
    line = (
        "causal checks: 4 of neurons, 2 of 3 beyond all matched neurons (by chance 0.15);"
        " 1 of sets, 1 of 1 beyond all matched sets (by chance 0.05)\n"
    )
    assert after.replace(line, "") == before != after
    assert main(["stats", str(scan), str(scan), "--checks"]) == 2
    assert main(["stats", str(scan), "--scores", "--checks"]) == 2


def test_a_notebook_that_cannot_be_read_leaves_the_shares(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = notebook_path(ScanStore(scan).manifest.scan_id, scan, "data")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 100)
    assert main(["stats", str(scan), "--json"]) == 0
    captured = capsys.readouterr()
    assert "without the notebook" in captured.err
    assert json.loads(captured.out)[0]["checks"] == []
