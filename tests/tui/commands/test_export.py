"""``vlmscope export``: which neurons, where to, and what is told."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.model_here import ModelHere, engine_of
from tests.support.neuronpedia_importer import import_folder
from tests.support.report_parts import KEPT, REJECTED, UNDECIDED, open_notebook, triage
from vlmscope.core.base.config import data_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import counted
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.report.schema import Report
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main


@pytest.fixture
def triaged(scan: Path) -> Path:
    with open_notebook(ScanStore(scan)) as notebook:
        triage(notebook)
    return scan


def exported(scan: Path, out: Path, capsys: pytest.CaptureFixture[str], *args: str) -> list[str]:
    """The addresses in a JSON report."""
    assert main(["export", str(scan), "--out", str(out), "--format", "json", *args]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    report = Report.model_validate_json((out / "report.json").read_bytes())
    assert counted(len(report.neurons), "neuron") in captured.err
    return [neuron.neuron for neuron in report.neurons]


def refused(capsys: pytest.CaptureFixture[str], code: int, *args: str) -> str:
    assert main(args) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def names(*neurons: Neuron) -> list[str]:
    return [str(neuron) for neuron in sorted(neurons)]


def test_the_kept_neurons_are_exported(triaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "not/yet/there"
    assert main(["export", str(triaged), "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"wrote {out / 'report.md'}: 3 neurons and 9 pictures" in captured.err
    text = (out / "report.md").read_text(encoding="utf-8")
    assert [line[3:] for line in text.splitlines() if line.startswith("## L")] == names(*KEPT)
    assert sorted(path.name for path in out.iterdir()) == ["images", "report.md"]
    assert len(list((out / "images").iterdir())) == 9
    assert os.listdir(tmp_path / "not/yet") == ["there"]  # noqa: PTH208  # hidden ones too


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--verdict", "reject"], (REJECTED,)),
        (["--verdict", "any"], (*KEPT, REJECTED)),
        (["--bookmarked"], (KEPT[0], UNDECIDED)),
        (["--bookmarked", "--verdict", "keep"], (KEPT[0],)),
        (["--tag", "RAILS"], (KEPT[0], REJECTED)),
        (["--neuron", "3:1", "--neuron", "L0/N0", "--neuron", "L3 1"], (Neuron(0, 0), Neuron(3, 1))),
        (["--neuron", "3:1", "--neuron", str(REJECTED), "--verdict", "any"], (REJECTED,)),
    ],
)
def test_other_neurons_are_asked_for(
    triaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], expected: tuple[Neuron, ...]
) -> None:
    assert exported(triaged, tmp_path / "out", capsys, *args) == names(*expected)


def test_labels_narrow_the_choice_at_any_thresholds(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ScanStore(scan)
    own = store.stored_labels()
    moved = store.labels(Thresholds(T_v=6.5, n_v=2, T_t=5, n_t=1, high_confidence=0.6))
    at = next(
        Neuron(layer, index)
        for layer in range(4)
        for index in range(32)
        if own.label[layer, index] != moved.label[layer, index] and moved.high_confidence[layer, index]
    )
    with open_notebook(store) as notebook:
        notebook.set_verdict(at, Verdict.KEEP)
    word = Label(int(moved.label[at.layer, at.index])).word
    typed = ["--Tv", "6.5", "--nv", "2", "--Tt", "5", "--nt", "1", "--high-confidence", "0.6"]
    only = ["--label", word, "--high-confidence-only"]
    assert exported(scan, tmp_path / "out", capsys, *only, *typed) == [str(at)]
    report = Report.model_validate_json((tmp_path / "out/report.json").read_bytes())
    assert (report.thresholds.T_v, report.thresholds.n_t, report.neurons[0].label) == (6.5, 1, word)
    assert "No neuron is all" in refused(capsys, 1, "export", str(scan), "--out", str(tmp_path / "o"), *only)


def test_samples_and_format(triaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(triaged, tmp_path / "one", capsys, "--samples", "1")
    assert len(list((tmp_path / "one/images").iterdir())) == 3
    exported(triaged, tmp_path / "none", capsys, "--samples", "0")
    assert not (tmp_path / "none/images").exists()


def test_nothing_noted_is_told_with_its_mend_and_nothing_is_made(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    error = refused(capsys, 1, "export", str(scan), "--out", str(out))
    assert "Nothing was noted" in error
    assert f"vlmscope verdict {scan} L3/N17 keep" in error and "--verdict any" in error and "keys 1 to 4" in error
    assert not (data_folder() / "notebooks").exists()  # to read is not to make a notebook
    with open_notebook(ScanStore(scan)) as notebook:
        notebook.set_verdict(KEPT[0], Verdict.UNSURE)
    assert "No neuron of this scan is kept" in refused(capsys, 1, "export", str(scan), "--out", str(out))
    assert "No neuron is all" in refused(capsys, 1, "export", str(scan), "--out", str(out), "--verdict", "reject")
    assert list(tmp_path.iterdir()) == []


def test_named_neurons_need_no_notebook(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(scan, tmp_path / "out", capsys, "--neuron", "L1/N2") == ["L1/N2"]
    assert not (data_folder() / "notebooks").exists()


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--verdict", "maybe"], ("'maybe'", "keep, reject, unsure, any")),
        (["--label", "red"], ("'red'", "visual, text, multimodal, unknown")),
        (["--format", "pdf"], ("'pdf'", "markdown, json")),
        (["--tag", " "], ("--tag",)),
        (["--samples", "-1"], ("-1",)),
        (["--samples", "few"], ("few",)),
        (["--neuron", "17"], ("'17'", "L27/N3900")),
        (["--neuron", "L4/N0"], ("L4/N0 lies outside",)),
        (["--Tv", "11"], ("11",)),
    ],
)
def test_what_is_typed_wrong_is_named(
    triaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], named: tuple[str, ...]
) -> None:
    error = refused(capsys, 2, "export", str(triaged), "--out", str(tmp_path / "out"), *args)
    assert all(one in error for one in named)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(
    triaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.md").write_text("mine")
    error = refused(capsys, 1, "export", str(triaged), "--out", str(tmp_path / "out"))
    assert "exists already" in error and "The report cannot be written" in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.md"]
    (tmp_path / "out/thesis.md").unlink()
    assert main(["export", str(triaged), "--out", str(tmp_path / "out")]) == 0


def test_a_folder_that_cannot_be_written_is_told(
    triaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "not a folder" in refused(capsys, 1, "export", str(triaged), "--out", str(file / "out"))
    monkeypatch.setattr("vlmscope.core.store.writer.os.access", lambda *_: False)
    assert "may write" in refused(capsys, 1, "export", str(triaged), "--out", str(tmp_path / "out"))
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    error = refused(capsys, 1, "export", str(triaged), "--out", str(tmp_path / "out"), "--neuron", "0:1")
    assert "Permission denied" in error


def test_a_notebook_that_cannot_be_read_is_told(
    triaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ScanStore(triaged)
    notebook_path(store.manifest.scan_id, store.folder, "data").write_bytes(b"no database" * 100)
    assert "notebook" in refused(capsys, 1, "export", str(triaged), "--out", str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_notebook_reaches_no_terminal(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_notebook(ScanStore(scan)) as notebook:
        triage(notebook, "<b>\x1b[2J[x](http://e.com)\u202e\x07")
    out = tmp_path / "o\x1b[31mut"
    assert main(["export", str(scan), "--out", str(out)]) == 0
    assert "\x1b" not in capsys.readouterr().err
    text = (out / "report.md").read_text(encoding="utf-8")
    assert not {"\x1b", "\u202e", "\x07"} & set(text) and "<b>" not in text
    assert "> &lt;b> `[2J[x](http://e.com`)" in text


def test_the_demo_is_exported_in_small_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("L3/N17", "L3/N96", "L0/N435"):
        assert main(["verdict", "demo", address, "keep", "--tag", "first"]) == 0
    assert main(["export", "demo", "--out", str(tmp_path / "out"), "--tag", "first"]) == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 10
    assert sum(path.stat().st_size for path in files) < 3 * 50_000
    assert all(path.stat().st_size < 20_000 for path in files)
    assert json.dumps("purity 1.00 of the top 20")[1:-1] in (tmp_path / "out/report.md").read_text(encoding="utf-8")


def test_two_may_export_and_decide_at_once(triaged: Path, tmp_path: Path) -> None:
    store = ScanStore(triaged)
    with Notebook.open(notebook_path(store.manifest.scan_id, triaged, "data"), store.manifest.scan_id) as other:
        assert main(["export", str(triaged), "--out", str(tmp_path / "out")]) == 0
        assert other.set_verdict(KEPT[0], None) is not None


def test_other_tools_layouts(triaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(triaged), "--out", str(tmp_path / "site"), "--format", "neuronpedia"]) == 0
    captured = capsys.readouterr()
    counts = "2 sources, 3 features, 9 activations, 3 explanations"
    assert captured.out == "" and f"wrote {tmp_path / 'site'}: {counts}" in captured.err
    assert len(import_folder(tmp_path / "site").rows("Activation")) == 9
    assert main(["export", str(triaged), "--out", str(tmp_path / "run"), "--format", "delphi"]) == 0
    assert "1 explanations, 1 scores" in capsys.readouterr().err
    undecided = ["export", str(triaged), "--out", str(tmp_path / "no"), "--neuron", str(UNDECIDED)]
    assert "nothing to export for delphi" in refused(capsys, 1, *undecided, "--format", "delphi")
    assert not (tmp_path / "no").exists()


def test_vectors_are_the_columns_of_the_down_projection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vlmscope.tui.commands.export.ModelProcess", ModelHere)
    line = ["export", "demo", "--neuron", "L3/N96", "--vectors", "--out", str(tmp_path / "site")]
    assert main(line) == 2
    assert "--vectors goes with --format neuronpedia" in capsys.readouterr().err
    assert main([*line, "--format", "neuronpedia"]) == 0
    [path] = (tmp_path / "site").rglob("features/batch-0.jsonl.gz")
    feature = json.loads(gzip.decompress(path.read_bytes()))
    column = engine_of("demo").vlm.ffns[3].down_column(96).detach().float().numpy()
    assert feature["hasVector"] is True
    np.testing.assert_allclose(feature["vector"], column, atol=1e-6)
    [model] = (tmp_path / "site").rglob("model.jsonl")
    assert json.loads(model.read_text())["dimension"] == 192
