"""Commands on a scan of both poles: addresses taken, shown and refused; what the model changes is the unit."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.causal_scan import LinearProcess, ready_scan, starts
from vlmscope.core.base.neuron import Neuron, Poles
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.worker.interventions import InterventionRequest
from vlmscope.tui.__main__ import main

Capture = pytest.CaptureFixture[str]
MINUS = Neuron.parse("L1/N5-")  # row 11: the concepts train and dog
POLES = {"L1/N5+", "L1/N5-"}


@pytest.fixture
def store(tmp_path: Path) -> ScanStore:
    scan = tmp_path / "scan"
    sizes = {"layers": 4, "neurons": 32, "samples": 40, "top_n": 8, "maps": 3}
    write_synthetic_scan(scan, **sizes, grid=(4, 4), image=32, panel=40, poles=Poles.BOTH)  # type: ignore[arg-type]
    return ready_scan(scan, tmp_path)


def run(capsys: Capture, *args: str | Path, code: int = 0) -> tuple[str, str]:
    assert main([str(one) for one in args]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def as_json(capsys: Capture, *args: str | Path) -> Any:
    return json.loads(run(capsys, *args, "--json")[0])


def notebook_of(store: ScanStore) -> Notebook:
    manifest = store.manifest
    return Notebook.open(notebook_path(manifest.scan_id, store.folder, "data"), manifest.scan_id, poled=True)


def test_a_pole_is_shown_and_a_unit_without_one_refused(capsys: Capture, store: ScanStore, scan: Path) -> None:
    shown = as_json(capsys, "show", store.folder, "1:5-")
    assert (shown["neuron"], shown["layer"], shown["index"]) == ("L1/N5-", 1, 5)
    assert shown["maximum"] == float(store.maximum[1, 11])
    assert "gate_up, both poles" in run(capsys, "show", store.folder, "1:5-")[0]
    for command in (["show"], ["related"], ["verdict"]):
        words = ["keep"] if command == ["verdict"] else []
        err = run(capsys, *command, store.folder, "L1/N5", *words, code=2)[1]
        assert "L1/N5 has two poles in this scan." in err and "Write L1/N5+ or L1/N5-." in err
    assert "It has" not in run(capsys, "show", store.folder, "L1/N16+", code=2)[1]
    assert "4 layers of 16 neurons" in run(capsys, "show", store.folder, "L1/N16+", code=2)[1]
    err = run(capsys, "show", scan, "L1/N5-", code=2)[1]
    assert "L1/N5- names a pole; this scan keeps one pole of each neuron." in err and "Write L1/N5, or scan" in err


def test_lists_have_poles(capsys: Capture, store: ScanStore) -> None:
    every = [f"L{layer}/N{unit}{pole}" for layer in range(4) for unit in range(16) for pole in "+-"]
    assert [one["neuron"] for one in as_json(capsys, "labels", store.folder, "--neurons")] == every
    found = {one["neuron"] for one in as_json(capsys, "search", store.folder, "train", "--limit", "200")}
    assert Neuron(1, 11) == MINUS and "L1/N5-" in found <= set(every)
    ranked = as_json(capsys, "contrast", store.folder, "--a", "samples:0-4", "--limit", "128")["ranked"]
    assert {one["neuron"] for one in ranked} == set(every)
    beside = as_json(capsys, "related", store.folder, "L1/N5-", "--by", "panel", "--limit", "200")
    assert {one["neuron"] for one in beside} == set(every) - {"L1/N5-"}


def test_scans_of_other_poles_are_not_compared_neuron_by_neuron(capsys: Capture, store: ScanStore, scan: Path) -> None:
    same = as_json(capsys, "stats", store.folder, store.folder, "--neurons")["neurons"]
    assert [one["neuron"] for one in same][10:12] == ["L0/N5+", "L0/N5-"]
    err = run(capsys, "stats", store.folder, scan, "--neurons", code=2)[1]
    assert f"{store.folder} has both poles, {scan} one pole of each neuron" in err and "same --poles" in err


def test_the_notebook_and_a_report_have_poles(capsys: Capture, store: ScanStore, tmp_path: Path) -> None:
    run(capsys, "verdict", store.folder, "L1/N5-", "keep", "--note", "never seen")
    with notebook_of(store) as notebook:
        [(kept, mark)] = notebook.marks().items()
        assert (str(kept), mark.verdict, notebook.entry(kept).note) == ("L1/N5-", Verdict.KEEP, "never seen")
        undone = notebook.undo()
        assert undone is not None and str(undone.neuron) == "L1/N5-"
        notebook.redo()
    run(capsys, "export", store.folder, "--out", tmp_path / "kept", "--format", "json")
    kept_report = json.loads((tmp_path / "kept" / "report.json").read_text())
    assert [one["neuron"] for one in kept_report["neurons"]] == ["L1/N5-"]
    assert (kept_report["scan"]["poles"], kept_report["neurons"][0]["index"]) == ("both", 5)
    run(capsys, "export", store.folder, "--out", tmp_path / "named", "--neuron", "L1/N5")
    report = (tmp_path / "named" / "report.md").read_text()
    assert "- Hook point: gate_up, both poles\n" in report
    for address, anchor in (("L1/N5+", "l1n5"), ("L1/N5-", "l1n5-")):
        assert f"\n## {address}\n" in report and f"[{address}](#{anchor})" in report
    assert {path.name[:6] for path in (tmp_path / "named" / "images").iterdir()} == {"L1-N5+", "L1-N5-"}


def test_an_intervention_is_on_the_unit(capsys: Capture, store: ScanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearProcess(store)
    model.weight[1, 5] = 1
    for command in ("ablate", "check"):
        monkeypatch.setattr(f"vlmscope.tui.commands.{command}.ModelProcess", starts(model), raising=False)
    monkeypatch.setattr("vlmscope.tui.commands.shared.neuron_run.ModelProcess", starts(model), raising=False)
    trusted = ("--trust-images", "--samples", "3")
    found = as_json(capsys, "ablate", store.folder, "L1/N5-", *trusted)
    assert found["neurons"] == ["L1/N5-"]
    # The unit writes z, in its own sign; its log-odds change as without poles.
    assert found["pictures"][0]["tokens"][0]["change"] == pytest.approx(-float(model.z[1, 5]))
    assert "the whole unit: both its poles." in run(capsys, "ablate", store.folder, "L1/N5-", *trusted)[1]
    both = as_json(capsys, "ablate", store.folder, "L1/N5-", "L1/N5+", *trusted)
    assert both["neurons"] == ["L1/N5-"]  # once
    run(capsys, "ablate", store.folder, "L1/N5-", "--to", "mean", *trusted)
    asked = [one for one in model.requests if isinstance(one, InterventionRequest)]
    [[edit]] = asked[-1].rows
    assert edit.visual == float(store.arrays["moments"][0, 0, 1, 10])  # of the unit, not of the negative pole
    concept = as_json(capsys, "ablate", store.folder, "--concept", "train", *trusted)["neurons"]
    assert len({Neuron.parse(one).whole for one in concept}) == len(concept) > 1
    checked = as_json(capsys, "check", store.folder, "L1/N5-", "--controls", "5", *trusted)[0]
    assert checked["neuron"] == "L1/N5-" and checked["matched"]
    matched = [Neuron.parse(one) for entry in checked["matched"] for one in entry["neurons"]]
    assert not any(one.poled for one in matched) and Neuron(1, 5) not in matched
    with notebook_of(store) as notebook:
        assert [str(one) for one in notebook.checked_neurons()] == ["L1/N5-"]
        [saved] = notebook.checks(MINUS)
        assert str(saved.check.neurons[0]) == "L1/N5-" and "L1/N5-" in run(capsys, "show", store.folder, "L1/N5-")[0]
