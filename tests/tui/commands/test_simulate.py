"""``vlmscope simulate`` and ``vlmscope bench scores``: what they take, write, and keep."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_here import ModelHere
from tests.support.processes import INTERRUPTIBLE
from tests.tui.commands.test_search import put
from vlmscope.core.base.demo import scan_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.scoring.held_out import held_out
from vlmscope.core.scoring.report import ScoreReport
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main

ROOT = Path(__file__).parents[3]
DEMO_SCAN = scan_folder("demo")


def notebook_of(scan: Path) -> Notebook:
    scan_id = read_manifest(scan).scan_id
    return Notebook.open(notebook_path(scan_id, scan, "data"), scan_id)


@pytest.fixture
def model_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model process: ``test_interrupting_keeps_what_is_finished`` has a real one."""
    for command in ("simulate", "bench"):
        monkeypatch.setattr(f"vlmscope.tui.commands.{command}.ModelProcess", ModelHere)


def refused(capsys: pytest.CaptureFixture[str], code: int, *args: str) -> str:
    assert main(["simulate", *args]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return " ".join(captured.err.split())


def simulated(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> tuple[list[dict[str, Any]], str]:
    assert main(["simulate", *args, "--json"]) == code
    captured = capsys.readouterr()
    found: list[dict[str, Any]] = json.loads(
        captured.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    return found, captured.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "No neuron is named."),
        (("L0/N1", "--top-k", "2"), "more than one way"),
        (("L0/N1", "--limit", "2"), "--limit is for --label"),
        (("L9/N1",), "L9"),
        (("L0/N1", "--backend", "magic"), "'magic' is not a backend"),
        (("L0/N1", "--backend", "oracle"), "the demo's scenes alone"),
        (("L0/N1", "--explanation", " "), "--explanation is empty"),
        (("L0/N1", "--explanation", "12"), "no explanation 12"),
        (("L0/N1", "--explanation", "L7/N0"), "L7/N0"),
        (("L0/N1", "--explanation", "bananas"), "can look for nothing in 'bananas'"),
        (("L0/N1", "--explanation", "trian"), "Similar words: train"),
    ],
)
def test_wrong_use_is_told(
    args: tuple[str, ...], said: str, scan_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(scan_copy)
    assert said in refused(capsys, 2, str(scan_copy), *args)
    with notebook_of(scan_copy) as notebook:
        assert not notebook.marks()


def test_another_neuron_must_have_words_to_lend(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, 2, str(scan_copy), "L0/N1", "--explanation", "L0/N8")
    assert "L0/N8 has no explanation and no concept words" in said


def test_the_lens_needs_concepts(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, 1, str(scan_copy), "L0/N1")
    assert "concept words" in said
    assert "vlmscope concepts" in said


def test_without_pictures_every_sample_fails_and_nothing_is_kept(
    scan_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(scan_copy)
    found, err = simulated(capsys, str(scan_copy), "L0/N1", "--explanation", "a train", code=1)
    assert [(one["neuron"], one["status"], one["report"]) for one in found] == [("L0/N1", "failed", None)]
    assert "its picture is not here" in found[0]["reason"]
    assert "No neuron was scored." in err
    with notebook_of(scan_copy) as notebook:
        assert not notebook.marks()


@pytest.mark.slow
@pytest.mark.usefixtures("model_here")
def test_the_demo_is_scored_kept_and_not_scored_twice(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("demo", "L3/N96", "--backend", "oracle", "--device", "cpu")
    [found], _ = simulated(capsys, *args)
    assert (found["status"], found["explanation"]) == ("scored", "concept words: apple")
    visual = found["report"]["scores"]["visual"]["top+random"]
    assert visual["pooled"] > 0.5
    assert visual["interval_kind"] == "jackknife"
    assert visual["interval"][0] < visual["pooled"] < visual["interval"][1]
    assert abs(visual["baseline"]) < 0.2
    held = held_out(ScanStore(DEMO_SCAN), Neuron(3, 96), ())
    assert [one["sample"] for one in found["report"]["samples"]] == [one.sample for one in held]
    with notebook_of(DEMO_SCAN) as notebook:
        [kept] = notebook.scores(Neuron(3, 96))
        assert ScoreReport.from_json(kept.body).to_json() == found["report"]
        number = kept.explanation_id
    [again], _ = simulated(capsys, *args)
    assert (again["status"], again["report"]) == ("known", found["report"])
    assert main(["simulate", "demo", "L3/N651", "--backend", "oracle", "--explanation", str(number)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("L3/N651 ")
    assert "concept words: apple" in captured.out
    assert "1 scored" in captured.err
    assert "a score is Pearson's correlation of true and predicted activations; others: the mean" in captured.err
    assert " samples (95% " in captured.out


@pytest.mark.slow
@pytest.mark.usefixtures("model_here")
def test_the_lens_is_marked_as_not_independent(capsys: pytest.CaptureFixture[str]) -> None:
    [found], err = simulated(capsys, "demo", "L3/N96", "--explanation", "green apples", "--device", "cpu")
    assert found["report"]["phrases"] == ["green", "apple"]
    assert found["report"]["independent"] is False
    assert "not independent" in err
    assert found["report"]["scores"]["text"]["top"]["tokens"] > 0


@pytest.mark.slow
def test_interrupting_keeps_what_is_finished(own_home: Path) -> None:
    command = [*INTERRUPTIBLE, "simulate", "demo", "--label", "visual", "--limit", "500"]
    process = subprocess.Popen(
        [*command, "--backend", "oracle", "--device", "cpu"],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 240
        scored = 0
        with notebook_of(DEMO_SCAN) as notebook:
            while not scored:
                assert time.monotonic() < end
                assert process.poll() is None
                scored = sum(mark.scored for mark in notebook.marks().values())
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            assert process.returncode == 130
            assert out == ""
            assert "What is finished is in the notebook" in err
            assert sum(mark.scored for mark in notebook.marks().values()) >= scored
    finally:
        process.kill()


@pytest.mark.slow
@pytest.mark.usefixtures("model_here")
def test_bench_scores_writes_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scores", "--neurons", "2", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["neurons"] == 2
    assert found["backends"].keys() == {"oracle", "present", "lens", "lens in place"}
    for figures in found["backends"].values():
        assert {"right", "shuffled", "hard", "rolled", "auc", "auc_hard", "auc_rolled"} <= figures.keys()
        assert figures["constant"] is None
    oracle, present = found["backends"]["oracle"], found["backends"]["present"]
    assert oracle["right"] > 0.2
    assert oracle["right"] > oracle["rolled"]
    assert oracle["right"] <= oracle["ceiling"] < 1
    assert oracle["with_concept"] <= oracle["ceiling_with_concept"]
    assert present["right"] == present["rolled"]
    assert found["backends"]["lens"]["ceiling"] is None
