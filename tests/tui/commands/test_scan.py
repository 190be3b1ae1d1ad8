"""``vlmscope scan`` and ``vlmscope bench scan``, as a user types them, on a tiny random model."""

import contextlib
import gc
import json
import multiprocessing
import os
import pty
import select
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.support.tiny import make_images, make_model
from vlmscope.core.base.config import Config
from vlmscope.core.scan.batches import BatchRunner, ProcessedSample
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands.shared.options import ScannedModelOptions


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_images(tmp_path_factory.mktemp("data"), 12))


def scan(model: str, images: str, out: Path, *more: str) -> int:
    return main(["scan", "--model", model, "--images", images, "--out", str(out), *more])


def test_a_scan_is_made_and_can_be_opened(
    model: str, images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "scan"
    assert scan(model, images, out, "--hook", "gate_up", "--top-n", "5", "--Tv", "1.5", "--limit", "10") == 0
    said = capsys.readouterr()
    assert "scanned 10 of 10 samples" in said.err and f"vlmscope open {out}" in said.err
    assert "Tv 1.5" in said.out and "scanned" not in said.out
    manifest = ScanStore(out).manifest
    assert (manifest.hook, manifest.top_n, manifest.samples) == ("gate_up", 5, 10)
    assert manifest.thresholds.T_v == 1.5
    assert main(["labels", str(out), "--json"]) == 0
    assert sum(json.loads(capsys.readouterr().out)["total"].values()) == 3 * 48
    assert main(["show", str(out), "L1/N7", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["neuron"] == "L1/N7" and len(shown["samples"]) == 5


def test_skipped_samples_are_named(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_images(tmp_path / "data", 5)
    (tmp_path / "data" / "003.png").write_bytes(b"\x89PNG broken")
    assert scan(model, str(path), tmp_path / "scan") == 0
    said = capsys.readouterr().err
    assert "scanned 4 of 5 samples" in said and "skipped #3 003.png" in said


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--Tv", "11"], 2, "Tv is 11"),
        (["--Tv", "many"], 2, "many"),
        (["--hook", "down"], 2, "down"),
        (["--batch", "0"], 2, "batch"),
        (["--dtype", "float12"], 1, "float12"),
        (["--device", "abacus"], 1, "abacus"),
        (["--images", "nowhere.jsonl"], 1, "nowhere.jsonl"),
        (["--model", "nothing/here"], 1, "nothing/here"),
        (["--prompt-template", "no picture"], 1, "0 times"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_remains(
    model: str,
    images: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    code: int,
    words: str,
) -> None:
    assert scan(model, images, tmp_path / "scan", *more) == code
    said = capsys.readouterr()
    assert words in said.err and said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_found_before_the_model_loads(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    assert scan("nothing/here", images, tmp_path) == 1
    said = capsys.readouterr().err
    assert "exists already" in said and "nothing/here" not in said


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_scan_that_is_stopped_is_saved_and_goes_on(
    model: str,
    images: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sent: signal.Signals,
) -> None:
    pieces = BatchRunner.pieces

    def stopped(self: BatchRunner, *args: Any) -> Iterator[list[ProcessedSample]]:
        os.kill(os.getpid(), sent)
        return pieces(self, *args)

    out = tmp_path / "a scan"
    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "pieces", stopped)
        assert scan(model, images, out, "--batch", "2") == 128 + sent
    said = capsys.readouterr().err
    assert "Stopped at 2 of 12 samples; they are saved in" in said and "Traceback" not in said
    assert scan(model, images, out, "--batch", "2") == 1
    assert "exists already" in capsys.readouterr().err
    assert scan("other/model", images, out, "--batch", "2", "--top-n", "7", "--resume") == 1  # before it is loaded
    said = capsys.readouterr().err
    assert "--model: " in said and "now other/model" in said and "--top-n: 50, now 7" in said
    assert scan(model, images, out, "--batch", "2", "--resume") == 0
    captured = capsys.readouterr()
    assert "scanned 12 of 12 samples" in captured.err and "high-confidence" in captured.out
    assert read_manifest(out).progress is None
    assert scan(model, images, out, "--batch", "2", "--resume") == 0
    captured = capsys.readouterr()
    assert "is finished: nothing is left to do" in captured.err and "loading" not in captured.err
    assert "high-confidence" in captured.out


def test_the_size_of_the_panel_belongs_to_the_scan(
    model: str, images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, old = tmp_path / "scan", tmp_path / "old"
    assert scan(model, images, out, "--panel", "5") == 0
    panel = ScanStore(out).panel
    assert panel is not None and len(panel) == 5
    assert scan(model, images, out, "--panel", "6", "--resume") == 1
    said = capsys.readouterr().err
    assert "--panel: 5, now 6" in said and said.count("loading") == 1  # the first one's
    pieces = BatchRunner.pieces

    def stopped(self: BatchRunner, *args: Any) -> Iterator[list[ProcessedSample]]:
        os.kill(os.getpid(), signal.SIGINT)
        return pieces(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "pieces", stopped)
        assert scan(model, images, old, "--batch", "2", "--panel", "0") == 130
    content = json.loads((old / "manifest.json").read_text())  # as the version before panels wrote it
    assert content.pop("panel") == 0
    (old / "manifest.json").write_text(json.dumps({**content, "schema_version": 3}))
    assert scan(model, images, old, "--batch", "2", "--resume") == 0
    assert "begun by an earlier vlmscope, and continues without a panel" in capsys.readouterr().err
    assert read_manifest(old).panel is None and ScanStore(old).panel is None


def test_a_finished_scan_of_other_weights_is_not_resumed(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = make_model(tmp_path / "model"), tmp_path / "scan"
    assert scan(str(model), images, out) == 0
    make_model(model, seed=1)
    capsys.readouterr()
    assert scan(str(model), images, out, "--resume") == 1
    said = capsys.readouterr().err
    assert "the model's weights: " in said and "loading" not in said


def test_options_of_the_processor_belong_to_the_scan(
    model: str, images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = tmp_path / "scan", ["--image-option", "do_center_crop=False", "--image-option"]
    options += ['size={"width": 24,"height": 24}']
    assert scan(model, images, out, *options) == 0
    manifest = read_manifest(out)
    assert manifest.model.image_options == ("do_center_crop=false", 'size={"height": 24, "width": 24}')
    assert ScanStore(out).sample(0).seen == (0.0, 0.0, 1.0, 1.0)  # the whole picture, stretched
    spec = ScannedModelOptions().spec(manifest, Config())
    assert spec.image_options == manifest.model.image_options
    capsys.readouterr()
    assert scan(model, images, out, *options, "--resume") == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert scan(model, images, out, "--resume") == 1
    said = capsys.readouterr().err
    assert "--image-option: do_center_crop=false, size=" in said and "loading" not in said
    for wrong, reason in (
        (["--image-option", "do_centre_crop=false"], "takes no do_centre_crop"),
        (["--image-option", "size"], "not name=value"),
        (["--chat-option", "thinking=1"], "does not read thinking"),
        (["--chat-option", "a=1", "--prompt-template", "<image>{question}"], "does not go with"),
    ):
        assert scan(model, images, tmp_path / "other", *wrong) != 0
        assert reason in capsys.readouterr().err


def test_an_incomplete_checkpoint_is_not_scanned(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = make_model(tmp_path / "model"), tmp_path / "scan"
    weights = load_file(model / "model.safetensors")
    gone = next(key for key in weights if key.endswith("layers.1.mlp.up_proj.weight"))
    del weights[gone]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert scan(str(model), images, out) == 1
    said = capsys.readouterr().err
    assert "weights missing: 1" in said and "layers.1.mlp.up_proj.weight" in said and "Traceback" not in said
    assert not out.exists()


def test_how_to_go_on_can_be_pasted(model: str, tmp_path: Path) -> None:
    """In a process of its own, as a terminal's Ctrl-C reaches it while the model works."""
    out, images, said = tmp_path / "a scan", str(make_images(tmp_path / "many", 40)), tmp_path / "stderr"
    command = ["scan", "--model", model, "--images", images, "--out", str(out), "--batch", "1", "--save-samples", "1"]

    def run() -> None:
        gc.callbacks.clear()  # Hypothesis has one here, and would swallow a Ctrl-C that falls into it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["vlmscope", *command]
        with said.open("w") as file, contextlib.redirect_stderr(file):
            code = main(command)
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    try:
        for _ in range(12_000):
            if (out / "manifest.json").exists() and read_manifest(out).scanned:
                break
            process.join(0.01)
        os.kill(process.ident or 0, signal.SIGINT)
        process.join(120)
    finally:
        process.kill()
    assert process.exitcode == 130
    (go_on,) = (line for line in said.read_text().splitlines() if "Go on with: " in line)
    again = shlex.split(go_on.partition(": ")[2])
    assert again[0] == "vlmscope" and again[-1] == "--resume"
    assert main(again[1:]) == 0
    assert read_manifest(out).progress is None


def test_a_scan_whose_terminal_goes_away_is_saved(model: str, tmp_path: Path) -> None:
    """In a pseudo-terminal of its own, whose other end is closed: writing to it fails from then on."""
    out, images = tmp_path / "a scan", str(make_images(tmp_path / "many", 40))
    command = ["scan", "--model", model, "--images", images, "--out", str(out), "--batch", "1", "--save-samples", "1"]
    process, terminal = pty.fork()
    if process == 0:  # pragma: no cover (another process)
        code = 99
        try:
            gc.callbacks.clear()
            sys.stdin, sys.stdout, sys.stderr = (os.fdopen(fd, mode) for fd, mode in ((0, "r"), (1, "w"), (2, "w")))
            code = main(command)
        finally:
            os._exit(code)
    reader = threading.Thread(target=drained, args=(terminal, out))
    reader.start()  # until there is a sample; then it closes the terminal
    try:
        reader.join(120)
        for _ in range(12_000):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                break
            time.sleep(0.01)
    finally:
        if not ended:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    assert ended and os.waitstatus_to_exitcode(status) == 129
    saved = read_manifest(out)
    assert saved.progress is not None and 0 < saved.scanned < 40
    assert main([*command, "--resume"]) == 0
    assert read_manifest(out).progress is None


def drained(terminal: int, out: Path) -> None:
    """Read what a scan writes to its terminal until a sample of it is saved, and close the terminal."""
    for _ in range(12_000):
        if select.select([terminal], [], [], 0.01)[0]:
            os.read(terminal, 65536)
        if (out / "manifest.json").exists() and read_manifest(out).scanned:
            break
    os.close(terminal)


def test_nohup_keeps_a_scan_going(model: str, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = BatchRunner.pieces

    def hung_up(self: BatchRunner, *args: Any) -> Iterator[list[ProcessedSample]]:
        os.kill(os.getpid(), signal.SIGHUP)
        return pieces(self, *args)

    monkeypatch.setattr(BatchRunner, "pieces", hung_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert scan(model, images, tmp_path / "scan") == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert read_manifest(tmp_path / "scan").progress is None


@pytest.mark.parametrize("size", ["0", "-1", "all", "2.5"])
def test_a_batch_is_a_number_or_auto(size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scan("demo", "demo", tmp_path / "out", "--batch", size) == 2
    assert "--batch" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_benchmark_prints_its_figures(model: str, images: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", model, "--images", images, "--samples", "6", "--repeats", "1", "--json"]
    assert main(["bench", "scan", *options]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    assert figures["samples"] == 6 and figures["scan_s"] > 0 and figures["forward_s"] > 0
    assert figures["ratio"] == pytest.approx(figures["scan_s"] / figures["forward_s"])
    assert figures["samples_per_s"] == pytest.approx(6 / figures["scan_s"])
