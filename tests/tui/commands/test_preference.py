"""Modality preference in ``vlmscope labels --neurons`` and ``vlmscope stats``."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.tui.commands.test_search import refused
from vlmscope.core.analysis.preference import Preference, Preferences, preferences
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.store.manifest import MANIFEST, ControlInfo, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.tui.__main__ import main
from vlmscope.tui.views.filters import read_filter
from vlmscope.tui.views.saved import SavedView, save_view
from vlmscope.tui.views.state import Listed, Order


@pytest.fixture(scope="module")
def paneled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan with a panel and a control with one."""
    out = tmp_path_factory.mktemp("paneled") / "scan"
    size = {"layers": 2, "neurons": 16, "top_n": 8, "maps": 0, "grid": (2, 2), "image": 8}
    write_synthetic_scan(out, samples=60, panel=40, **size)  # type: ignore[arg-type]
    control = out.with_name("scan.control")
    write_synthetic_scan(control, samples=60, panel=30, seed=9, **size)  # type: ignore[arg-type]
    info = ControlInfo(scan_id=read_manifest(out).scan_id, seed=9)
    manifest = read_manifest(control).model_copy(update={"control": info})
    (control / MANIFEST).write_text(manifest.model_dump_json())
    return out


def of(scan: Path) -> Preferences:
    store = ScanStore(scan)
    return preferences(store, store.panel_for("A test"))


def written(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_list_has_each_neurons_table_and_tests(paneled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = of(paneled)
    rows = written(capsys, "labels", str(paneled), "--neurons")
    assert len(rows) == 32
    for row in rows:
        own, found = expected.of(Neuron.parse(row["neuron"])), row["preference"]
        assert found["is"] == own.preference.word
        for key in ("visual_only", "text_only", "both", "neither", "ratio", "p", "q", "equivalence_p", "equivalence_q"):
            assert found[key] == getattr(own, key), key
        assert found["interval"] == [end if end < float("inf") else None for end in own.interval]
        assert found["visual_only"] + found["text_only"] + found["both"] + found["neither"] == expected.pairs
    assert main(["labels", str(paneled), "--neurons", "--limit", "1"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.endswith("q  same q") and "preference" in head
    column = head.index("preference")
    assert line[column + 2 :].startswith(expected.of(Neuron(0, 0)).preference.word) and len(line) == len(head)


def test_the_list_is_filtered(paneled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {row["preference"]["is"] for row in written(capsys, "labels", str(paneled), "--neurons")}
    assert len(words) > 1
    for word in words:
        rows = written(capsys, "labels", str(paneled), "--neurons", "--preference", word)
        assert {row["preference"]["is"] for row in rows} == {word}
    assert "not a modality preference" in refused(capsys, 2, "labels", str(paneled), "--neurons", "--preference", "all")
    assert "belong to a list" in refused(capsys, 2, "labels", str(paneled), "--preference", "text")


def test_stats_have_the_scans_and_the_controls(paneled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = written(capsys, "stats", str(paneled))
    control = paneled.with_name("scan.control")
    for part, scan, pairs in ((found["preference"], paneled, 40), (found["preference"]["control"], control, 30)):
        counts = of(scan).counts()
        assert part["pairs"] == pairs and list(part["total"].values()) == counts.sum(axis=0).tolist()
        assert [list(row.values())[1:] for row in part["layers"]] == counts.tolist()
    assert found["preference"]["norm"] == 2 and found["preference"]["factor"] == 1.25
    assert found["preference"]["control"]["seed"] == 9
    assert main(["stats", str(paneled)]) == 0
    lines = capsys.readouterr().out.splitlines()
    own = next(at for at, line in enumerate(lines) if line.startswith("modality preference"))
    assert lines[own + 1].startswith("scan ") and lines[own + 1].endswith("on 40 samples")
    assert lines[own + 2].startswith("  control, seed 9 ") and lines[own + 2].endswith("on 30 samples")


def test_stats_as_csv_have_them(paneled: Path, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(paneled), str(scan), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    names = [f"preference_{which.word}" for which in Preference]
    counts = {"": of(paneled).counts(), "9": of(paneled.with_name("scan.control")).counts()}
    assert [name for name in rows[0] if name.startswith("preference")] == names
    for row in rows:
        expected = counts[row["control_seed"]][int(row["layer"])].tolist() if row["scan"] == rows[0]["scan"] else ""
        assert [row[name] for name in names] == (list(map(str, expected)) if expected else [""] * 4)
    assert len(rows) == 2 * 2 * 4 + 4 * 4
    assert main(["stats", str(scan), "--csv"]) == 0
    assert "preference" not in capsys.readouterr().out


def test_the_norm_can_be_moved(paneled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ScanStore(paneled)
    expected = preferences(store, store.panel_for("A test"), 4.5).counts()
    (found,) = written(capsys, "stats", str(paneled), "--norm", "4.5")
    assert found["preference"]["norm"] == 4.5
    assert list(found["preference"]["total"].values()) == expected.sum(axis=0).tolist()
    rows = written(capsys, "labels", str(paneled), "--neurons", "--norm", "4.5", "--preference", "undecided")
    assert len(rows) == expected[:, 3].sum() != of(paneled).counts()[:, 3].sum()
    assert "not a number from 0 to 10" in refused(capsys, 2, "stats", str(paneled), "--norm", "11")


def test_without_a_panel_all_is_as_before(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "preference" not in written(capsys, "labels", str(scan), "--neurons", "--limit", "1")[0]
    assert "preference" not in written(capsys, "stats", str(scan))[0]
    assert main(["stats", str(scan)]) == 0
    assert "preference" not in capsys.readouterr().out
    error = refused(capsys, 1, "labels", str(scan), "--neurons", "--preference", "text")
    assert "--preference needs a panel" in error


def test_a_view_filters_and_sorts_by_preference(
    paneled: Path, scan_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = of(paneled)
    word = Preference(int(found.preference[0, 0])).word
    save_view("some", SavedView(Listed(read_filter(f"prefers:{word}"), Order.INDEX), None))
    save_view("every", SavedView(Listed(read_filter(""), Order.PREFERENCE), None))
    listed = ("labels", str(paneled), "--neurons")
    some, every = (written(capsys, *listed, "--view", name) for name in ("some", "every"))
    assert some == written(capsys, *listed, "--preference", word)
    own = [found.of(Neuron.parse(row["neuron"])) for row in every]
    keys = [(one.preference, -(one.visual_only + one.text_only + one.both)) for one in own]
    assert len(keys) == 32 and keys == sorted(keys)
    without = ("labels", str(scan_copy), "--neurons", "--view", "some")
    assert "A modality preference needs a panel" in refused(capsys, 1, *without)
