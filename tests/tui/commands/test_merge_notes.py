"""``vlmscope merge-notes``: both people's verdicts and notes, conflicts, agreement."""

import json
from pathlib import Path

import pytest

from tests.support.report_parts import open_notebook
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main

K, R, U = Verdict.KEEP, Verdict.REJECT, Verdict.UNSURE


@pytest.fixture
def ana(scan: Path, tmp_path: Path) -> Path:
    """Ana's notebook; the test's own one has other verdicts."""
    store, path = ScanStore(scan), tmp_path / "ana.notebook.sqlite"
    with open_notebook(store) as mine:
        for index, verdict in enumerate((K, K, R, U)):
            mine.set_verdict(Neuron(1, index), verdict)
        mine.set_note(Neuron(1, 1), "wheels \x1b[31m")
    with Notebook.open(path, store.manifest.scan_id) as hers:
        for index, verdict in enumerate((K, R, R)):
            hers.set_verdict(Neuron(1, index), verdict)
        hers.set_note(Neuron(1, 1), "roads")
        hers.set_bookmark(Neuron(2, 0), True)
        hers.set_verdict(Neuron(3, 999), K)  # of a larger model than this scan's
    return path


def run(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> tuple[str, str]:
    assert main(args) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_conflicts_are_listed_and_nothing_is_overwritten(
    scan: Path, ana: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ana.read_bytes()
    out, err = run(capsys, "merge-notes", str(scan), str(ana))
    assert ana.read_bytes() == before and "took in ana's notes on 4 neurons" in err
    lines = out.splitlines()
    # 2 of 3 alike; by chance 2/3 * 1/3 + 1/3 * 2/3 = 4/9.
    assert lines[0] == "agreement with ana: 2 of 3 neurons decided alike (44% by chance), kappa 0.40"
    assert lines[2].split() == ["neuron", "you", "ana"]
    assert lines[3].split() == ["L1/N1", "keep", "wheels", "[31m", "reject", "roads"] and len(lines) == 4
    with open_notebook(ScanStore(scan)) as mine:
        assert mine.entry(Neuron(1, 1)).verdict is K and mine.entry(Neuron(1, 1)).note == "wheels \x1b[31m"
    out, _ = run(capsys, "show", str(scan), "L1/N1")
    assert "noted: keep  wheels" in out and "ana noted: reject  roads" in out
    found = json.loads(run(capsys, "show", str(scan), "L1/N1", "--json")[0])["notebook"]["reviews"]
    assert found == [{"person": "ana", "verdict": "reject", "bookmark": False, "tags": [], "note": "roads"}]


def test_json_has_every_neuron_of_either(scan: Path, ana: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "merge-notes", str(scan), str(ana), "--as", "Ana B.", "--json")[0])
    assert (found["person"], found["source"]) == ("Ana B.", str(ana))
    assert (found["own_decided"], found["other_decided"], found["both_decided"], found["same"]) == (4, 3, 3, 2)
    assert found["conflicts"] == ["L1/N1"] and found["kappa"] == pytest.approx(0.4) and found["interval"] is None
    sides = {one["neuron"]: (one["own"], one["other"]) for one in found["neurons"]}
    assert list(sides) == ["L1/N0", "L1/N1", "L1/N2", "L1/N3", "L2/N0"]
    assert sides["L1/N3"][1] is None and sides["L2/N0"][0] is None and sides["L2/N0"][1]["bookmark"] is True


def test_stats_and_reports_have_it_until_undone(
    scan: Path, ana: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(run(capsys, "stats", str(scan), "--json")[0])[0]["agreement"] == []
    run(capsys, "merge-notes", str(scan), str(ana))
    assert "nothing new" in run(capsys, "merge-notes", str(scan), str(ana))[1]
    assert "agreement with ana: 2 of 3" in run(capsys, "stats", str(scan))[0]
    (found,) = json.loads(run(capsys, "stats", str(scan), "--json")[0])[0]["agreement"]
    assert found["kappa"] == pytest.approx(0.4)
    run(capsys, "export", str(scan), "--out", str(tmp_path / "out"), "--neuron", "L1/N1")
    text = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "**ana**: verdict: reject\n\n> roads" in text and "> wheels" in text
    with open_notebook(ScanStore(scan)) as mine:
        mine.undo()
    assert "agreement" not in run(capsys, "stats", str(scan))[0]
    assert "ana" not in run(capsys, "show", str(scan), "L1/N1")[0]


def test_what_is_wrong_is_named_and_makes_nothing(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ScanStore(scan)
    assert "it is not there" in run(capsys, "merge-notes", str(scan), str(tmp_path / "no.sqlite"), code=1)[1]
    assert "it is a folder" in run(capsys, "merge-notes", str(scan), str(scan), code=1)[1]
    empty = tmp_path / "empty.sqlite"
    Notebook.open(empty, store.manifest.scan_id).close()
    assert "nothing to take in" in run(capsys, "merge-notes", str(scan), str(empty), code=2)[1]
    with open_notebook(store) as mine:
        mine.set_verdict(Neuron(0, 0), K)
        own = mine.path
    assert "your own notebook" in run(capsys, "merge-notes", str(scan), str(own), code=2)[1]
    other = tmp_path / own.name
    other.write_bytes(own.read_bytes())
    assert "--as NAME" in run(capsys, "merge-notes", str(scan), str(other), code=2)[1]
    assert "not a name" in run(capsys, "merge-notes", str(scan), str(other), "--as", " ", code=2)[1]
    with open_notebook(store) as mine:
        assert mine.colleagues() == ()
