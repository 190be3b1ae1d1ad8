"""``vlmscope score``: what it takes, writes and keeps, and where a judge's score is shown."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_server import KEY, ApiServer, api_server, completion
from tests.support.knowing_judge import Knows
from tests.support.model_here import ModelHere
from tests.tui.commands.test_search import put
from tests.tui.commands.test_simulate import notebook_of
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm import client as chat_module
from vlmscope.core.method.labels import Label
from vlmscope.core.scoring.judge_prompt import STRIPES
from vlmscope.core.scoring.judge_report import JudgeReport, Metric
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main
from vlmscope.tui.views.meaning import judged_of, reports_of
from vlmscope.tui.views.score import list_score_of, score_view
from vlmscope.tui.widgets.page.score_words import score_text

NEURON = Neuron(3, 96)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with api_server() as found:
        monkeypatch.setenv("OPENAI_BASE_URL", found.url)
        knows = Knows(ScanStore(scan_folder("demo")))
        knows.learn(NEURON, label=Label.VISUAL)
        found.otherwise = knows
        yield found


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--method", "magic"), "Methods: simulation, detection, fuzzing"),
        (("--method", "detection", "--backend", "lens"), "--backend names a simulator"),
        (("--model", "gpt-4o"), "simulation has none"),
        (("--method", "detection", "--model", " "), "--model is empty"),
        (("--backend", "magic"), "'magic' is not a backend"),
    ],
)
def test_wrong_use_is_told(
    args: tuple[str, ...], said: str, scan_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(scan_copy)
    assert main(["score", str(scan_copy), "L0/N1", *args]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_detection_needs_a_panel(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ScanStore, "panel", None)
    assert main(["score", "demo", "L3/N96", "--method", "detection", "--yes"]) == 1
    err = " ".join(capsys.readouterr().err.split())
    assert "Detection needs a panel of random samples" in err and "Scan again" in err
    assert server.bodies == []


def test_a_judge_asks_before_it_costs(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "demo", "L3/N96", "--method", "detection"]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "20 requests to gpt-4o" in err and "at most about" in err and "Add --yes" in err
    assert server.bodies == []


def test_a_judges_score_is_kept_and_shown(
    server: ApiServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    args = ["score", "demo", "L3/N96", "--method", "detection", "--yes", "--json"]
    assert main(args) == 0
    captured = capsys.readouterr()
    [found] = json.loads(captured.out)
    assert found["status"] == "scored" and "billed: $" in captured.err
    assert found["report"]["scores"]["detection"]["balanced accuracy"]["pooled"] > 0.9
    assert KEY not in captured.out + captured.err
    with notebook_of(scan_folder("demo")) as notebook:
        entry = notebook.entry(NEURON)
    report = JudgeReport.from_json(entry.scores[0].body)
    assert report.to_json() == found["report"]
    # The page of meanings, the page of scores, and the list, which puts it on the scale of a correlation.
    assert list(judged_of(entry).values()) == [(report,)] and reports_of(entry) == {}
    view = score_view(entry, {}, 0, 0, ScanStore(scan_folder("demo")))
    assert view is not None and view.report == report
    figure, listed = report.figures[Metric.BALANCED_ACCURACY], list_score_of(entry)
    assert figure.value is not None and listed is not None and listed.independent
    assert listed.value == pytest.approx(2 * figure.value - 1) and 0.8 < listed.value <= 1
    assert score_text(report).startswith("by detection/gpt-4o: balanced accuracy 0.9")

    assert main(["show", "demo", "L3/N96"]) == 0
    assert "score by detection/gpt-4o: balanced accuracy 0.9" in capsys.readouterr().out
    assert main(["show", "demo", "L3/N96", "--json"]) == 0
    capsys.readouterr()
    assert main(["stats", "demo", "--scores", "--json"]) == 0
    rows = [one for one in json.loads(capsys.readouterr().out) if one["label"] is None]
    assert [(one["backend"], one["kind"], one["scored"], one["leads"]) for one in rows] == [
        ("detection/gpt-4o", "AUC", 1, 0),
        ("detection/gpt-4o", "balanced accuracy", 1, 1),
    ]
    assert rows[1]["mean"] == pytest.approx(figure.value)
    assert main(["verdict", "demo", "L3/N96", "keep"]) == 0
    assert main(["export", "demo", "--out", str(tmp_path / "out")]) == 0
    [page] = [path.read_text() for path in (tmp_path / "out").glob("*.md")]
    assert "by detection/gpt-4o, detection, balanced accuracy: 0.9" in page
    assert "of fake neurons pass" in page and "Guessing reaches 0.5" in page

    assert main(args) == 0
    [again] = json.loads(capsys.readouterr().out)
    assert again["status"] == "known" and again["report"] == found["report"]
    assert main(args[:-1]) == 0
    assert capsys.readouterr().out.startswith("L3/N96 ")


@pytest.mark.slow
def test_fuzzing_asks_the_scanned_model_for_its_marks(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmscope.tui.commands.score.ModelProcess", ModelHere)
    server.script.append(completion(json.dumps({"colours": [name for name, _ in STRIPES]})))
    server.otherwise = completion('{"rating": 5}')
    args = ["score", "demo", "L3/N96", "--method", "fuzzing", "--yes", "--json", "--device", "cpu"]
    assert main(args) == 0
    [found] = json.loads(capsys.readouterr().out)
    figure = found["report"]["scores"]["fuzzing"]["balanced accuracy"]
    assert (figure["pooled"], figure["planned"], figure["counted"]) == (0.5, 20, 20)
    assert len(server.bodies) == 21
    assert [one["other"] is None for one in found["report"]["samples"]] == [True, False] * 10


def test_intruder_needs_no_explanation(server: ApiServer, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert isinstance(server.otherwise, Knows)
    server.otherwise.learn_rounds(NEURON, Label.VISUAL)
    args = ["score", "demo", "L3/N96", "--method", "intruder"]
    assert main(args) == 2
    assert "11 requests to gpt-4o" in capsys.readouterr().err  # ten rounds, and one that shows that it sees pictures
    assert main([*args, "--explanation", "apple"]) == 2
    assert "takes no --explanation" in capsys.readouterr().err
    assert main([*args, "--yes", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    figure = found["report"]["scores"]["intruder"]["accuracy"]
    assert found["explanation"] is None and found["report"]["counts"] == {"scored": 10, "failed": 0}
    assert figure["pooled"] >= 0.6 and figure["chance"] == 0.2 and figure["interval"][0] > 0.2 and figure["fakes"] < 0.1

    with notebook_of(scan_folder("demo")) as notebook:
        entry = notebook.entry(NEURON)
    assert not entry.explanations and not entry.scores
    report = JudgeReport.from_json(entry.own_scores[0].body)
    assert report.to_json() == found["report"] and judged_of(entry) == {None: (report,)}
    view = score_view(entry, {}, 0, 0, ScanStore(scan_folder("demo")))
    assert view is not None and (view.report, view.leads) == (report, True) and list_score_of(entry) is None

    assert main(["show", "demo", "L3/N96"]) == 0
    assert "score by intruder/gpt-4o: accuracy " in capsys.readouterr().out
    assert main(["verdict", "demo", "L3/N96", "keep"]) == 0
    assert main(["export", "demo", "--out", str(tmp_path / "out")]) == 0
    [page] = [path.read_text() for path in (tmp_path / "out").glob("*.md")]
    assert "**Scores without an explanation**" in page and "10 of 10 rounds" in page and "Guessing reaches 0.2" in page

    asked = len(server.bodies)
    capsys.readouterr()
    assert main([*args, "--yes"]) == 0
    assert "1 known" in capsys.readouterr().err and len(server.bodies) == asked
