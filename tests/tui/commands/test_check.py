"""``vlmscope check``: what it takes, writes, keeps and refuses; and once with the model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.causal_scan import LinearProcess, ready_scan, starts
from tests.support.made_control import make_control
from tests.support.model_here import ModelHere
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.rank_test import two_sided_p
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.store.concept_files import FOLDER
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main

Capture = pytest.CaptureFixture[str]
NEURON = (1, 3)  #: train, and boat
KEYS = ["neuron", "word", "effect", "p", "q", "controls", "values", "match", "status", "reason"]


@pytest.fixture
def store(scan_copy: Path, tmp_path: Path) -> ScanStore:
    return ready_scan(scan_copy, tmp_path)


@pytest.fixture
def model(store: ScanStore, monkeypatch: pytest.MonkeyPatch) -> LinearProcess:
    made = LinearProcess(store, picture=lambda sample: 1 + sample / 10)
    made.weight[NEURON] = 1
    monkeypatch.setattr("vlmscope.tui.commands.check.ModelProcess", starts(made))
    return made


def checked(capsys: Capture, store: ScanStore, *args: str, code: int = 0) -> tuple[str, str]:
    assert main(["check", str(store.folder), *args, "--trust-images"]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def as_json(capsys: Capture, store: ScanStore, *args: str, code: int = 0) -> Any:
    out = checked(capsys, store, *args, "--json", code=code)[0]
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def notebook_of(store: ScanStore) -> Notebook:
    scan_id = store.manifest.scan_id
    return Notebook.open(notebook_path(scan_id, store.folder, "data"), scan_id)


def test_a_neuron_is_checked_and_kept(capsys: Capture, store: ScanStore, model: LinearProcess) -> None:
    [found] = as_json(capsys, store, "L1/N3", "--controls", "20", "--samples", "6")
    assert list(found)[: len(KEYS)] == KEYS
    assert (found["neuron"], found["word"], found["status"], found["reason"]) == ("L1/N3", "train", "checked", "")
    assert found["effect"] == pytest.approx(sum(found["values"]) / 6) and found["effect"] < 0
    assert len(found["controls"]) == 20 and len(found["values"]) == len(found["pictures"]) == 6
    assert found["p"] == found["q"] == two_sided_p(found["effect"], found["controls"]) == pytest.approx(2 / 21)
    assert found["low"] < found["effect"] < found["high"]
    assert (found["interval"], found["intervention"], found["at"]) == ("t", "zero", "all")
    assert found["verdict"] == "Beyond all 20 matched neurons (p 0.095, the least there can be)."
    assert found["pictures"][0].keys() >= {"sample", "change", "p", "p_after", "first", "others", "kl", "baseline"}
    assert found["matched"][0].keys() == {"neurons", "effect", "written"}
    with notebook_of(store) as notebook:
        [saved] = notebook.checks(Neuron(*NEURON))
    assert (saved.check.effect, saved.check.p) == (found["effect"], found["p"])
    asked = len(model.requests)
    [again] = as_json(capsys, store, "L1/N3", "--controls", "20", "--samples", "6")
    assert (again["status"], again["values"]) == ("known", found["values"])
    assert len(model.requests) == asked
    assert as_json(capsys, store, "L1/N3", "--controls", "20", "--samples", "6", "--again")[0]["status"] == "checked"


def test_the_text_of_one_has_every_picture(capsys: Capture, store: ScanStore, model: LinearProcess) -> None:
    out, err = checked(capsys, store, "L1/N3", "--controls", "20", "--samples", "6", "--to", "x3")
    lines = out.splitlines()
    assert lines[0] == 'L1/N3 "train"  -> x3, all tokens  6 pictures, 20 matched neurons of L1'
    assert lines[1].startswith("  log-odds +")
    assert lines[2] == "  Beyond all 20 matched neurons (p 0.095, the least there can be)."
    assert any(line.startswith("  pictures +") and len(line.split()) == 7 for line in lines)
    assert any(line.startswith("  controls write ") for line in lines)
    assert any(line.startswith("  first choice: the word on 6 of 6 pictures") for line in lines)
    assert err.endswith("1 checked\n")
    model.weight[NEURON] = 0
    out, _ = checked(capsys, store, "L1/N3", "--controls", "20")
    assert "No effect found: " in out


@pytest.mark.usefixtures("model")
def test_of_many_a_table_is_written_and_q_is_over_them(capsys: Capture, store: ScanStore) -> None:
    args = ("L1/N3", "L1/N7", "L2/N3", "L2/N8", "--controls", "20")
    out, err = checked(capsys, store, *args)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["neuron", "L1/N3", "L1/N7", "L2/N3"]
    assert lines[0].split() == ["neuron", "word", "change", "controls", "p", "q", "match", "verdict"]
    assert lines[1].endswith("beyond all 20 (p 0.095)")
    assert "L2/N8 skipped: it has no concept word to check" in err
    assert "3 checked, 1 skipped" in err
    assert "3 neurons checked, q is over them; " in err and "about 0.3 would be by chance" in err
    assert "With 20 controls p is 0.095 at the least, and q is never below it" in err
    found = as_json(capsys, store, *args)
    assert found[0]["q"] == pytest.approx(min(found[0]["p"] * 3, 1))
    assert (found[3]["status"], found[3]["effect"], found[3]["q"], found[3]["values"]) == ("skipped", None, None, [])
    labelled = as_json(capsys, store, "--top-k", "1", "--word", "river", "--controls", "19")
    assert [one["word"] for one in labelled] == ["river"] * 4


def test_a_verdict_is_missing_where_it_cannot_be(capsys: Capture, store: ScanStore, model: LinearProcess) -> None:
    out, err = checked(capsys, store, "L1/N3", "--controls", "5")
    assert "5 matched neurons can be had, and p needs 19." in out and err.endswith("1 checked\n")
    out, _ = checked(capsys, store, "L1/N3", "--samples", "2")
    assert '2 pictures have "train" in the description, and a verdict needs 3' in out
    [few] = as_json(capsys, store, "L1/N3", "--samples", "2")
    assert (few["p"], few["q"], few["low"], few["interval"], few["beyond_all"]) == (None, None, None, None, False)
    assert len(few["values"]) == 2
    out, _ = checked(capsys, store, "L1/N3", "--controls", "99")
    assert "There are no more than 24 matched neurons, of 99." in out
    model.z[NEURON] = 40
    out, _ = checked(capsys, store, "L1/N3", "--controls", "19")
    assert "No matched neuron writes within a factor of 2 of it." in out
    model.z[NEURON] = 0
    out, _ = checked(capsys, store, "L1/N3", "--again")
    assert "it is silent here: nothing to remove." in out


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "No neuron is named."),
        (("L9/N1",), "Layers go from 0 to 3, neurons from 0 to 31."),
        (("L1/N3", "--to", "off"), "Interventions: zero, mean, x3 (any number), clamp5 (any number)."),
        (("L1/N3", "--to", "clampnan"), "'clampnan' has no finite number."),
        (("L1/N3", "--control", "chance"), "Controls: neurons, direction."),
        (("L1/N3", "--word", "red train"), "'red train' is not a word to check"),
        (("L1/N3", "L1/N7", "--word", "zebra"), "zebra is in no description of the top samples."),
    ],
)
def test_wrong_use_is_told(args: tuple[str, ...], said: str, capsys: Capture, store: ScanStore) -> None:
    out, err = checked(capsys, store, *args, code=2)
    assert out == ""
    assert said in err


@pytest.mark.usefixtures("model")
def test_what_cannot_be_checked_has_its_reason(capsys: Capture, store: ScanStore) -> None:
    _, err = checked(capsys, ScanStore(make_control(store.folder)), "L1/N3", "--word", "train", code=2)
    assert "its random weights are not kept" in err
    for index in range(store.manifest.samples):
        store.sample(index).picture.unlink()
    [failed] = as_json(capsys, store, "L1/N3", code=1)
    assert failed["status"] == "failed" and "the picture is not at" in failed["reason"]
    shutil.rmtree(store.folder / FOLDER)
    _, err = checked(capsys, store, "L1/N3", code=2)
    assert "has no concepts to take a word from" in err


@pytest.mark.slow
def test_the_demos_shirt_neuron_is_beyond_its_controls(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmscope.tui.commands.check.ModelProcess", ModelHere)
    args = ["demo", "L4/N724", "--samples", "3", "--controls", "19", "--at", "answer", "--device", "cpu", "--json"]
    assert main(["check", *args]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["word"], found["beyond_all"]) == ("shirt", True)
    assert all(value < -1 for value in found["values"])
    assert max(map(abs, found["controls"])) < 1
    assert 0 < found["match"] < 1
