"""``vlmscope contrast``: text, JSON, what the panel cannot show, and what is refused."""

from pathlib import Path

import pytest

from tests.core.analysis.test_groups import without_dogs
from tests.support.made_control import make_control
from tests.tui.commands.test_search import put, refused, run_json
from vlmscope.core.analysis.contrast import Answer, contrast
from vlmscope.core.base.demo import demo_folder
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.tui.__main__ import main


@pytest.fixture(scope="module")
def paneled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paneled") / "scan"
    write_synthetic_scan(out, layers=4, neurons=32, samples=60, top_n=8, maps=1, grid=(2, 2), image=8, panel=30)
    return out


def test_json_has_both_answers(paneled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "contrast", str(paneled), "--a", "samples:0-19", "--limit", "3", "--by", "panel")
    store = ScanStore(paneled)
    a = [index < 20 for index in range(60)]
    sizes = [int(sum(a[s] is which for s in store.panel_for("A test").samples.tolist())) for which in (True, False)]
    assert found["a"] == {"group": "samples:0-19", "samples": 20, "panel": sizes[0]}
    assert found["b"] == {"group": "rest", "samples": 40, "panel": sizes[1]}
    assert found["by"] == "panel" and found["neurons"] == 128 and found["control"] is found["progress"] is None
    assert found["panel"]["looked_at"] == 128 and set(found["top"]) == {"enriched", "depleted"}
    assert len(found["ranked"]) == 3
    far = [abs(one["panel"]["auc"] - 0.5) for one in found["ranked"]]
    assert far == sorted(far, reverse=True)
    one = found["ranked"][0]
    assert list(one) == ["neuron", "label", "high_confidence", "top", "panel", "concepts", "purity", "base_rate"]
    assert set(one["top"]) == {"samples", "of_a", "by_chance", "odds_ratio", "p", "q"}
    assert set(one["panel"]) == {"difference", "mean_a", "mean_b", "effect", "auc", "interval", "p", "q"}
    assert one["panel"]["difference"] == pytest.approx(one["panel"]["mean_a"] - one["panel"]["mean_b"])
    assert one["top"]["samples"] == 8


def test_the_demo_has_groups_by_the_field_of_its_listing(capsys: pytest.CaptureFixture[str]) -> None:
    yellow = (demo_folder() / "samples.jsonl").read_text().count('"scene": "yellow"')
    found = run_json(capsys, "contrast", "demo", "--a", "field:scene=yellow", "--by", "top", "--limit", "5")
    assert (found["a"]["samples"], found["b"]["samples"]) == (yellow, 1500 - yellow)
    assert all("yellow" in [one["word"] for one in row["concepts"]] for row in found["ranked"])


def test_groups_by_field_and_without_shared_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = [{"culture": "Korean"}, {"culture": "Thai"}, {}]
    out = tmp_path / "scan"
    write_synthetic_scan(out, layers=1, neurons=4, samples=9, top_n=3, maps=0, grid=(1, 1), image=8, fields=fields)
    of = ["--a", "field:culture=Thai", "--b", "samples:0-4"]
    assert "overlap: samples in both: 2" in refused(capsys, 2, "contrast", str(out), *of)
    found = run_json(capsys, "contrast", str(out), *of, "--drop-shared")
    assert (found["a"]["samples"], found["b"]["samples"], found["shared_dropped"]) == (1, 3, 2)
    assert main(["contrast", str(out), *of, "--drop-shared"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "left out, as both have them: 2 samples"
    assert run_json(capsys, "contrast", str(out), "--a", "field:culture=Thai")["shared_dropped"] == 0
    assert "Fields: culture." in refused(capsys, 2, "contrast", str(out), "--a", "field:year=1990")
    shown = run_json(capsys, "show", str(out), "L0/N1")
    assert [one.get("fields", {}) for one in shown["samples"]] == [
        fields[one["sample"] % 3] for one in shown["samples"]
    ]


def test_text_has_groups_columns_and_counts(paneled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contrast", str(paneled), "--a", "samples:0-29", "--limit", "2"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("a: samples:0-29, 30 samples, ") and lines[0].endswith(" in the panel")
    assert lines[1].startswith("b: rest, 30 samples, ")
    assert " ".join(lines[3].split()) == "neuron label top: of a chance odds p q panel: AUC (95 %) a - b p q"
    assert lines[4].startswith("L") and "/8" in lines[4] and lines[6] == ""
    assert lines[7].startswith("q of 5% or less: ") and "of 128 neurons" in lines[7] and "of the first 128" in lines[7]
    assert captured.err == ""


def test_few_samples_in_the_panel_are_noted(paneled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel = ScanStore(paneled).panel_for("A test").samples.tolist()
    outside = next(index for index in range(60) if index not in panel)
    assert main(["contrast", str(paneled), "--a", f"samples:{panel[0]},{outside}", "--limit", "1"]) == 0
    error = " ".join(capsys.readouterr().err.split())
    assert "The panel has only 1 sample of" in error and "no difference can reach q 0.05; the least is 1." in error
    assert main(["contrast", str(paneled), "--a", f"samples:{outside}", "--limit", "1"]) == 0
    captured = capsys.readouterr()
    assert "No sample of" in captured.err and "AUC" not in captured.out
    error = refused(capsys, 1, "contrast", str(paneled), "--a", f"samples:{outside}", "--by", "panel")
    assert "no sample of one of the groups" in error and "--by top" in error


def test_a_scan_without_a_panel_has_enrichment_alone(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(scan_copy)
    without_dogs(scan_copy, range(0, 12, 3))
    assert main(["contrast", str(scan_copy), "--a", "word:dogs"]) == 0
    captured = capsys.readouterr()
    assert "no panel of random samples" in captured.err and "panel" not in captured.out
    assert captured.out.splitlines()[3].endswith("concepts")
    found = run_json(capsys, "contrast", str(scan_copy), "--a", "word:dogs")
    assert found["a"]["panel"] is found["panel"] is found["ranked"][0]["panel"] is None
    error = refused(capsys, 1, "contrast", str(scan_copy), "--a", "word:dogs", "--by", "panel")
    assert "needs a panel" in error
    assert "Similar words: dog" in refused(capsys, 2, "contrast", str(scan_copy), "--a", "word:dogg")


def test_the_control_stands_beside(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = make_control(scan_copy, seed=3)
    found = run_json(capsys, "contrast", str(scan_copy), "--a", "samples:0-5")
    a = ScanStore(scan_copy).arrays["sample_lines"][:, 1] > 0
    a[6:] = False
    own = contrast(ScanStore(control), a, ~a, Answer.TOP, 1)
    assert found["control"] == {
        "seed": 3,
        "neurons": 128,
        "top": {"enriched": own.enriched, "depleted": own.depleted},
        "panel": None,
    }
    assert main(["contrast", str(scan_copy), "--a", "samples:0-5"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("control (seed 3): ")
    assert run_json(capsys, "contrast", str(control), "--a", "samples:0-5")["neurons"] == 128  # as a scan of its own


def test_wrong_use_is_refused(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "zebra" in refused(capsys, 2, "contrast", str(scan), "--a", "zebra")
    assert "overlap" in refused(capsys, 2, "contrast", str(scan), "--a", "samples:1-3", "--b", "samples:3")
    assert "--a" in refused(capsys, 2, "contrast", str(scan))
