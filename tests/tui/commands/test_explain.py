"""``vlmscope explain``: whom it asks, before what it asks back, what it writes where, and how it ends."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.api_server import GOOD, KEY, PRICES, ApiServer, Gate, api_server, completion, error
from tests.support.model_here import ModelHere
from tests.support.processes import INTERRUPTIBLE
from tests.support.silent_scan import silent_scan
from vlmscope.core.base.config import cache_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm import client as chat_module
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.store.manifest import read_manifest
from vlmscope.tui.__main__ import main

ROOT = Path(__file__).parents[3]
TOLD = {"\x1b", "\x07", "\u202e"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as found:
        monkeypatch.setenv("OPENAI_BASE_URL", found.url)
        yield found


def notebook_of(scan: Path) -> Notebook:
    scan_id = read_manifest(scan).scan_id
    return Notebook.open(notebook_path(scan_id, scan, "data"), scan_id)


def refused(capsys: pytest.CaptureFixture[str], code: int, *args: str) -> str:
    assert main(["explain", *args]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return " ".join(captured.err.split())


def explained(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> tuple[list[dict[str, Any]], str]:
    assert main(["explain", *args, "--json"]) == code
    captured = capsys.readouterr()
    found: list[dict[str, Any]] = json.loads(captured.out)
    return found, captured.err


def test_json_of_a_run(server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.script.extend([error(404, "no such\x1b model")])
    found, err = explained(capsys, str(scan), "L3/N17", "L3/N18", "3:17", "--yes")
    assert [entry["neuron"] for entry in found] == ["L3/N17", "L3/N18"]  # each once
    assert sorted(entry["status"] for entry in found) == ["explained", "failed"]
    good = next(entry for entry in found if entry["status"] == "explained")
    bad = next(entry for entry in found if entry["status"] == "failed")
    assert good["explanation"]["text"] == GOOD["explanation"]
    assert good["explanation"]["visual_phrases"] == GOOD["visual_phrases"]
    assert good["explanation"]["confidence"] == "high"
    assert len(good["explanation"]["samples"]) == 2
    assert (good["reason"], good["input_tokens"], good["output_tokens"]) == ("", 2000, 100)
    assert good["cost_usd"] == pytest.approx(0.006)
    assert bad["explanation"] is None
    assert "no such" in bad["reason"]
    assert f"{bad['neuron']} failed: HTTP 404: no such" in err
    assert "1 explained, 1 failed; billed: 2,000 tokens in, 100 out, $0.0060" in err
    assert "the scan keeps 3 maps and its pictures are not here" in err
    assert not TOLD & set(err)
    with notebook_of(scan) as notebook:
        (saved,) = notebook.explanations(Neuron.parse(good["neuron"]))
        assert saved.explanation.text == GOOD["explanation"]
        assert len(notebook.failures(Neuron.parse(bad["neuron"]))) == 1


@pytest.mark.parametrize(("name", "value"), [("SSL_CERT_FILE", "/nowhere/ca.pem"), ("ALL_PROXY", "socks5h://a:1")])
def test_an_environment_that_no_connection_can_be_made_in(
    server: ApiServer,
    scan: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv(name, value)
    assert main(["explain", str(scan), "L3/N17", "L3/N18", "--yes"]) == 1
    err = " ".join(capsys.readouterr().err.split())
    assert "The connection to the server cannot be set up" in err
    assert f"Correct or unset {name}" in err
    assert "Traceback" not in err
    assert server.bodies == []


def test_text_of_a_run(server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {**GOOD, "explanation": "trains\x1b[31m [/red]\u202e"}
    server.otherwise = completion(json.dumps(hostile))
    assert main(["explain", str(scan), "L3/N17", "--yes"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("L3/N17")
    assert "trains [31m [/red]" in captured.out
    assert "(high; looks for: train, rail; words: words for trains)" in captured.out
    assert not TOLD & set(captured.out + captured.err)
    assert "1 of 1 neurons to explain with gpt-4o at localhost:" in captured.err
    assert f"(prices: {PRICES})" in captured.err


def test_the_same_again_sends_nothing_and_asks_nothing(
    server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    explained(capsys, str(scan), "L3/N17", "--yes")
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    found, err = explained(capsys, str(scan), "L3/N17")
    assert (found[0]["status"], found[0]["cost_usd"]) == ("skipped", 0)
    assert found[0]["explanation"]["text"] == GOOD["explanation"]
    assert "neurons to explain" not in err
    assert len(server.bodies) == 1


def test_again_asks_again(server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explained(capsys, str(scan), "L3/N17", "--yes")
    explained(capsys, str(scan), "L3/N17", "--yes", "--again")
    assert len(server.bodies) == 2


def test_another_model_is_another_explanation(
    server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explained(capsys, str(scan), "L3/N17", "--yes")
    server.otherwise = completion(model="gpt-4.1")
    found, _ = explained(capsys, str(scan), "L3/N17", "--yes", "--model", "gpt-4.1")
    assert server.bodies[-1]["model"] == found[0]["explanation"]["model"] == "gpt-4.1"
    with notebook_of(scan) as notebook:
        assert len(notebook.explanations(Neuron(3, 17))) == 2


def test_top_k_takes_the_clearest_of_each_layer_and_label_over_all(
    server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = explained(capsys, str(scan), "--top-k", "2", "--yes")
    assert [Neuron.parse(entry["neuron"]).layer for entry in found] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert "unknown" not in {entry["label"] for entry in found}
    found, _ = explained(capsys, str(scan), "--label", "Visual", "--limit", "3", "--yes")
    assert [entry["label"] for entry in found] == ["visual"] * 3


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "No neuron is named"),
        (("L3/N17", "--top-k", "2"), "more than one way"),
        (("--label", "visual", "--top-k", "2"), "more than one way"),
        (("--limit", "2", "--top-k", "2"), "--limit is for --label"),
        (("--label", "purple"), "not a label"),
        (("L99/N1",), "lies outside"),
        (("nonsense",), "not a neuron address"),
        (("L3/N17", "--model", " "), "--model is empty"),
        (("L3/N17", "--out", "x"), "--out is for --dry-run"),
        (("L3/N17", "--Tv", "99"), "Tv is 99"),
    ],
)
def test_wrong_use(
    server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    assert said in refused(capsys, 2, str(scan), *args)
    assert server.bodies == []


def test_without_a_key_the_error_says_what_to_do(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, 1, str(scan), "L3/N17", "--yes")
    for wanted in ("OPENAI_API_KEY is not set", "OPENAI_BASE_URL", "vlmscope search"):
        assert wanted in said


def test_nobody_to_ask_is_wrong_use(server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Add --yes" in refused(capsys, 2, str(scan), "L3/N17")
    assert server.bodies == []


@pytest.mark.parametrize(("typed", "sent"), [("y\n", 1), ("YES\n", 1), ("n\n", 0), ("\n", 0), ("", 0)])
def test_the_question_before_paying(
    server: ApiServer,
    scan: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    sent: int,
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return typed

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert main(["explain", str(scan), "L3/N17"]) == (0 if sent else 1)
    captured = capsys.readouterr()
    assert "Go on? [y/N]" in captured.err
    assert ("nothing was sent" in captured.err) == (not sent)
    assert len(server.bodies) == sent


def test_quota_ends_with_1_and_the_rest_is_named(
    server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    (own_home / "config.toml").write_text("[api]\nrequests_at_once = 1\n")
    server.script.append(completion())
    server.otherwise = error(429, f"no more for {KEY}", code="insufficient_quota")
    found, err = explained(capsys, str(scan), "L3/N1", "L3/N2", "L3/N3", "--yes", code=1)
    assert [entry["status"] for entry in found] == ["explained", "skipped", "skipped"]
    assert "OPENAI_API_KEY is used up" in err
    assert KEY not in err


def test_the_budget_ends_with_1(
    server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    (own_home / "config.toml").write_text("[api]\nbudget_usd = 0.001\n")
    found, err = explained(capsys, str(scan), "L3/N1", "--yes", code=1)
    assert found[0]["status"] == "skipped"
    assert "budget_usd" in err
    assert server.bodies == []


def test_if_all_fail_the_exit_is_1(server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.otherwise = error(404, "no such model")
    found, err = explained(capsys, str(scan), "L3/N1", "L3/N2", "--yes", code=1)
    assert [entry["status"] for entry in found] == ["failed"] * 2
    assert "No neuron was explained" in err


def test_dry_run_on_stdout_sends_nothing_and_needs_no_key(
    scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_module, "_make_client", lambda *_: pytest.fail("a client was made"))
    assert main(["explain", str(scan), "L3/N17", "--dry-run"]) == 0
    captured = capsys.readouterr()
    (entry,) = json.loads(captured.out)
    assert entry["neuron"] == "L3/N17"
    assert entry["estimate"]["usd"] > 0
    content = entry["request"]["messages"][1]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert urls == [image["name"] for image in entry["images"]]
    assert {(image["width"], image["height"]) for image in entry["images"]} <= {(504, 504)}
    assert "nothing was sent" in captured.err
    assert "2 of 4 samples" in captured.err
    assert not cache_folder().exists()


def test_dry_run_writes_the_very_request(
    server: ApiServer, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "requests"
    assert main(["explain", str(scan), "--label", "visual", "--limit", "1", "--dry-run", "--out", str(out)]) == 0
    assert server.bodies == []
    (entry,) = json.loads(capsys.readouterr().out)
    folder = out / entry["neuron"].replace("/", "_")
    assert entry["folder"] == str(folder)
    names = {"request.json", "estimate.json"}
    names |= {f"sample_{number}_{what}.png" for number in (1, 2) for what in ("picture", "activation")}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.glob("*.png"):
        assert Image.open(path).size == (504, 504)
    body = json.loads((folder / "request.json").read_text())
    assert main(["explain", str(scan), entry["neuron"], "--yes"]) == 0
    (sent,) = server.bodies
    for written, really in zip(body["messages"][1]["content"], sent["messages"][1]["content"], strict=True):
        if really["type"] == "image_url":
            data = (folder / written["image_url"].pop("url")).read_bytes()
            assert really["image_url"].pop("url").endswith(base64.b64encode(data).decode())
    assert body == sent


def test_dry_run_that_cannot_write(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    said = refused(capsys, 2, str(scan), "L3/N17", "--dry-run", "--out", str(tmp_path / "file"))
    assert "cannot be written" in said


def test_contrast_by_option_and_by_setting(
    server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    folder = str(silent_scan(tmp_path / "scan").folder)

    def written(*args: str) -> dict[str, Any]:
        assert main(["explain", folder, "L2/N5", "--dry-run", *args]) == 0
        (entry,) = json.loads(capsys.readouterr().out)
        return dict(entry)

    plain, contrast = written(), written("--contrast")
    assert "silent" not in plain and len(contrast["silent"]) == 5
    assert contrast["estimate"]["usd"] > plain["estimate"]["usd"]
    assert (
        contrast["request"]["messages"][1]["content"][: len(plain["request"]["messages"][1]["content"])]
        == (plain["request"]["messages"][1]["content"])
    )
    (own_home / "config.toml").write_text("[api]\ncontrast = true\ncontrast_samples = 2\n")
    assert written()["silent"] == contrast["silent"][:2]
    assert written("--no-contrast") == plain
    assert written("--Tv", "0", "--Tt", "0").get("silent") != contrast["silent"][:2]
    (sent,) = explained(capsys, folder, "L2/N5", "--yes")[0]
    assert sent["explanation"]["samples"] == plain["samples"] + contrast["silent"][:2]
    assert sent["explanation"]["prompt_version"] == "explain-contrast-1"


def test_contrast_without_a_panel(
    server: ApiServer, scan: Path, capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    said = refused(capsys, 1, str(scan), "L3/N17", "--contrast", "--yes")
    assert "needs a panel of random samples" in said and "from top samples alone" in said
    assert server.bodies == []
    (own_home / "config.toml").write_text("[api]\ncontrast = true\n")
    found, err = explained(capsys, str(scan), "L3/N17", "--yes")
    assert "No contrast: Contrastive evidence needs a panel" in err
    assert found[0]["explanation"]["prompt_version"] == "explain-1"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_keeps_what_is_finished_and_the_user_reads_how_to_go_on(
    server: ApiServer, scan: Path, own_home: Path, sent: signal.Signals, code: int
) -> None:
    (own_home / "config.toml").write_text("[api]\nrequests_at_once = 1\n")
    gate = Gate(completion())
    server.script.append(completion())
    server.otherwise = gate
    command = [*INTERRUPTIBLE, "explain", str(scan), "L3/N1", "L3/N2", "--yes"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert gate.entered.wait(120)
        os.kill(process.pid, sent)
        out, err = process.communicate(timeout=60)
    finally:
        gate.opened.set()
        process.kill()
    assert process.returncode == code
    assert out == ""
    assert "pays nothing twice" in err
    assert "Traceback" not in err
    with notebook_of(scan) as notebook:
        assert len(notebook.explanations(Neuron(3, 1))) == 1
        assert notebook.explanations(Neuron(3, 2)) == ()
    every = [path.read_bytes() for path in own_home.rglob("*") if path.is_file()]
    assert every
    assert not [data for data in every if KEY.encode() in data]
    assert KEY not in err


@pytest.mark.slow
def test_the_demo_is_explained_from_exact_maps_and_lossless_crops(
    server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ["explain", "demo", "--label", "visual", "--limit", "1", "--dry-run", "--out", str(tmp_path)]
    assert main([*args, "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    (entry,) = json.loads(captured.out)
    assert (entry["note"], entry["label"]) == ("", "visual")
    assert len(entry["samples"]) == 5
    assert (entry["estimate"]["images"], entry["estimate"]["price_date"]) == (10, PRICES)
    assert 0 < entry["estimate"]["usd"] < 0.05
    folder = Path(entry["folder"])
    assert len(list(folder.glob("*.png"))) == 10
    with Image.open(folder / "sample_1_activation.png") as active:
        assert active.size == (504, 504)
        assert active.convert("L").getextrema()[1] == 255  # somewhere it does not activate
    monkeypatch.setattr("vlmscope.tui.commands.explain.ModelProcess", ModelHere)  # the first was a real one
    found, _ = explained(capsys, "demo", entry["neuron"], "--yes", "--device", "cpu")
    assert found[0]["status"] == "explained"
    assert found[0]["explanation"]["samples"] == entry["samples"]
    sent = [part for part in server.bodies[0]["messages"][1]["content"] if part["type"] == "image_url"]
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.png")}
    assert digests == {
        hashlib.sha256(base64.b64decode(part["image_url"]["url"].partition(",")[2])).hexdigest() for part in sent
    }
