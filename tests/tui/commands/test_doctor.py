"""``vlmscope doctor``: it tells, it mends nothing, and it keeps secrets."""

import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from vlmscope.core.base import demo
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands import doctor
from vlmscope.tui.commands.doctor import examine
from vlmscope.tui.commands.shared.findings import Finding, Severity

GIB = 2**30


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, scan: Path) -> None:
    """No test waits for torch to load but the one that says so; the demo is a small scan."""
    answer_torch(monkeypatch, ["2.9.0", None, [], False])
    monkeypatch.setattr(demo, "demo_folder", lambda: scan.parent)
    monkeypatch.setattr(doctor, "demo_folder", lambda: scan.parent)
    monkeypatch.setattr(doctor, "scan_folder", lambda _: scan)


def answer_torch(monkeypatch: pytest.MonkeyPatch, answer: list[object]) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, json.dumps(answer), "")

    monkeypatch.setattr(subprocess, "run", run)


def found(name: str) -> Finding:
    return next(finding for finding in examine() if finding.name == name)


def test_nothing_is_broken_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in ("Python", "torch", "transformers", "textual", "TERM", "config", "data", "cache", "logs", "Demo"):
        assert name in out
    assert "0 broken" in out


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [finding["name"] for finding in findings] == [finding.name for finding in examine()]
    assert set(findings[0]) == {"area", "name", "value", "state", "mend"}


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_key_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:secret@host/v1")
    assert main(["doctor", *arguments]) == 0
    captured = capsys.readouterr()
    assert "secret" not in captured.out + captured.err
    assert found("OPENAI_API_KEY").value == "set"


def test_a_missing_key_limits_explanations_only() -> None:
    requests = found("requests")
    assert requests.state is Severity.LIMIT
    assert "OPENAI_API_KEY" in requests.hint


def test_a_server_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:secret@gpu:8000/v1")
    (own_home / "config.toml").write_text('[api]\nmodel = "qwen"\n')
    assert found("server").value == "http://gpu:8000/v1"
    assert found("model").value == "qwen"
    assert not [finding for finding in examine() if finding.name == "requests"]


def test_a_server_that_is_no_url_is_a_limit_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "sk-a-key-in-the-wrong-place")
    server = found("server")
    assert server.state is Severity.LIMIT
    assert "OPENAI_BASE_URL" in server.value
    assert "sk-a-key" not in server.value + server.hint


@pytest.mark.slow
def test_torch_answers_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    torch = found("torch")
    assert torch.state is Severity.OK
    assert importlib.metadata.version("torch") in torch.value


def test_missing_torch_limits_models_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    find_spec, version = importlib.util.find_spec, importlib.metadata.version

    def without_torch(name: str) -> ModuleSpec | None:
        return None if name == "torch" else find_spec(name)

    def without_transformers(name: str) -> str:
        if name == "transformers":
            raise importlib.metadata.PackageNotFoundError
        return version(name)

    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    monkeypatch.setattr(doctor, "version", without_transformers)
    assert "pip install torch" in found("torch").hint
    assert "pip install transformers" in found("transformers").hint
    assert main(["doctor"]) == 0
    assert "missing" in capsys.readouterr().out


def test_a_terminal_that_cannot_draw_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert found("TERM").state is Severity.OK
    monkeypatch.setenv("TERM", "dumb")
    assert found("TERM").state is Severity.BROKEN
    assert "xterm-256color" in found("TERM").hint


def test_a_torch_that_does_not_load_gives_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.CalledProcessError(1, command, stderr="Traceback ...\nOSError: libcudart.so.12: not found\n")

    monkeypatch.setattr(subprocess, "run", run)
    torch = found("torch")
    assert (torch.state, torch.value) == (Severity.LIMIT, "does not load: OSError: libcudart.so.12: not found")


def test_a_torch_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, 120)

    monkeypatch.setattr(subprocess, "run", run)
    assert "does not answer" in found("torch").value


def test_devices_are_listed_with_their_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_torch(monkeypatch, ["2.9.0", "13.0", [["H100", 20 * GIB, 80 * GIB], ["A100", 1, 40 * GIB]], False])
    assert found("cuda:0").value == "H100, 20.0 of 80.0 GiB free"
    assert found("cuda:1").value == "A100, 0.0 of 40.0 GiB free"


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ("True\n", Severity.OK, "Triton runs them"),
        ("False\n", Severity.LIMIT, "cannot"),
        (None, Severity.LIMIT, "cannot"),
    ],
)
def test_the_scan_kernels_are_tried_where_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, state: Severity, said: str
) -> None:
    """None: the process that tries them crashes, and what torch has answered stands."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "fused_works" not in command[-1]:
            return subprocess.CompletedProcess(command, 0, json.dumps(["2.9.0", "13.0", [["H100", 1, 1]], False]), "")
        if answer is None:
            raise subprocess.CalledProcessError(-11, command, stderr="")
        return subprocess.CompletedProcess(command, 0, answer, "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    kernels = found("scan kernels")
    assert kernels.state is state and said in kernels.value
    assert found("torch").state is Severity.OK
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "triton" else True)
    assert (found("scan kernels").state, found("scan kernels").hint) == (Severity.LIMIT, "pip install triton")


@pytest.mark.slow
def test_the_kernels_are_asked_in_a_process_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert doctor._kernels().state is (Severity.OK if torch_sees_a_gpu() else Severity.LIMIT)


def torch_sees_a_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def test_a_cpu_build_beside_a_gpu_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    cuda = found("cuda")
    assert cuda.state is Severity.LIMIT
    assert "CPU build" in cuda.value


def test_an_invalid_settings_file_is_broken(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_home / "config.toml").write_text("colour = 1")
    assert main(["doctor"]) == 1
    assert "colour" in capsys.readouterr().out
    assert found("config").state is Severity.BROKEN


def test_a_place_that_cannot_be_written_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file" / "data"))
    data = found("data")
    assert data.state is Severity.BROKEN
    assert "XDG_DATA_HOME" in data.hint


def test_looking_makes_no_folders(own_home: Path) -> None:
    before = set(own_home.rglob("*"))
    examine()
    assert set(own_home.rglob("*")) == before


def test_a_damaged_demo_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "scan_folder", lambda _: tmp_path)
    assert found("scan").state is Severity.BROKEN
