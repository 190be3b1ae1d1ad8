"""Saved views on the command line: listed, used, deleted; the shell's completion, and words that are typed wrong."""

import json
from pathlib import Path

import pytest

from tests.tui.commands.test_search import put, refused, run_json
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.notebook.notebook import Notebook
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands.shared.open_arg import path_of_notebook
from vlmscope.tui.views.filters import read_filter
from vlmscope.tui.views.saved import SavedView, save_view, views_file
from vlmscope.tui.views.state import Listed, Order


def save(name: str, line: str, order: Order = Order.INDEX, thresholds: Thresholds | None = None) -> None:
    save_view(name, SavedView(Listed(read_filter(line), order), thresholds))


def test_a_view_is_what_labels_explain_and_export_are_about(
    scan_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(scan_copy)
    store = ScanStore(scan_copy)
    with Notebook.open(path_of_notebook(store), store.manifest.scan_id) as notebook:
        notebook.set_tags(Neuron(1, 2), ["check"])
        notebook.set_note(Neuron(2, 18), "a train, perhaps")
        notebook.set_verdict(Neuron(3, 3), Verdict.KEEP)
    at = Thresholds(T_v=6.5, n_v=2, T_t=5, n_t=1)
    save("trains", "train L1-2 strength>22", Order.MATCH)
    save("text", "here text", Order.MAXIMUM, at)
    save("noted", "tag:check")
    train, text, noted = (
        run_json(capsys, "labels", str(scan_copy), "--neurons", "--view", name) for name in ("trains", "text", "noted")
    )
    strength = store.concepts
    assert strength is not None
    of_train = strength.find("train")
    assert train[0]["neuron"] == "L2/N18", "its note has the word"
    found = [Neuron.parse(one["neuron"]) for one in train[1:]]
    values = [float(of_train[one.layer, one.index]) for one in found]
    assert values == sorted(values, reverse=True) and len(values) > 3
    assert {one.layer for one in found} == {1, 2}
    labels = store.labels(at)
    assert {one["neuron"] for one in text} == {
        f"L{layer}/N{index}" for layer in range(4) for index in range(32) if labels.label[layer, index] == Label.TEXT
    }, "of all layers, at the thresholds of the view"
    assert [one["neuron"] for one in noted] == ["L1/N2"]
    assert main(["explain", str(scan_copy), "--view", "noted", "--dry-run", "--out", str(tmp_path / "asked")]) == 0
    assert "L1/N2" in capsys.readouterr().out
    assert main(["export", str(scan_copy), "--view", "noted", "--out", str(tmp_path / "r"), "--format", "json"]) == 0
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert [one["neuron"] for one in report["neurons"]] == ["L1/N2"]
    capsys.readouterr()
    assert "saved view" in refused(capsys, 2, "labels", str(scan_copy), "--neurons", "--view", "train")
    assert "Did you mean trains?" in refused(capsys, 2, "labels", str(scan_copy), "--neurons", "--view", "train")
    assert "--neurons" in refused(capsys, 2, "labels", str(scan_copy), "--view", "trains")


def test_views_are_listed_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_json(capsys, "views") == []
    assert main(["views"]) == 0
    assert "There is no saved view" in capsys.readouterr().err
    save("apples", "apple purity>.5", Order.MATCH)
    save("strict", "", Order.CLEAREST, Thresholds(T_v=3))
    first, second = run_json(capsys, "views")
    assert first == {"name": "apples", "filter": "apple purity>0.5", "order": "match", "thresholds": None}
    assert second["thresholds"]["T_v"] == 3
    assert main(["views", "--delete", "strict"]) == 0
    assert "apple purity>0.5" in capsys.readouterr().out
    assert [one["name"] for one in run_json(capsys, "views")] == ["apples"]
    assert "'strict' is not a saved view" in refused(capsys, 2, "views", "--delete", "strict")
    for broken in ("{", '{"views": {"a": {"filter": "purty>3", "order": "index"}}}', '{"views": {"a": 3}}'):
        views_file().write_text(broken)
        assert "views.json cannot be read" in refused(capsys, 2, "views")


@pytest.mark.parametrize("name", ["two words", "", "x" * 41, "-x", "a\nb"])
def test_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    with pytest.raises(Exception, match="cannot name a view"):
        save(name, "apple")
    assert not views_file().exists()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("vlmscope lab", {"labels"}),
        ("vlmscope labels de", {"demo"}),
        ("vlmscope labels demo --neu", {"--neurons"}),
        ("vlmscope labels demo --label te", {"text"}),
        ("vlmscope labels demo --view app", {"apples"}),
    ],
)
def test_the_shell_completes(
    line: str, offered: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save("apples", "apple")
    monkeypatch.setenv("_VLMSCOPE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    main([])
    assert set(capsys.readouterr().out.split()) == offered


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (("serch", "demo", "x"), "search"),
        (("labels", "demo", "--neurns"), "--neurons"),
        (("search", "demo", "x", "--label", "txt"), "Did you mean text?"),
        (("labels", "demo", "--neurons", "--preference", "visal"), "Did you mean visual?"),
        (("verdict", "demo", "L0/N0", "keeep"), "Did you mean keep?"),
        (("export", "demo", "--out", "x", "--format", "markdwn"), "Did you mean markdown?"),
        (("labels", "dem"), "Did you mean demo?"),
    ],
)
def test_what_is_nearly_right_is_named(args: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert meant in refused(capsys, 1 if "dem" in args else 2, *args)
