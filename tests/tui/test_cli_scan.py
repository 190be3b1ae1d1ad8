"""``vlmscope scan`` and ``vlmscope bench scan``, as a user types them, on a tiny random model."""

import json
from pathlib import Path

import pytest

from core.scan_store import ScanStore
from tests.tiny import make_images, make_model
from tui.__main__ import INTERRUPTED, main


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
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
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


def test_a_scan_that_is_stopped_leaves_nothing(
    model: str,
    images: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("core.scan.run_batch", stop)
    assert scan(model, images, tmp_path / "scan") == INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_benchmark_prints_its_figures(model: str, images: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", model, "--images", images, "--samples", "6", "--repeats", "1", "--json"]
    assert main(["bench", "scan", *options]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    assert figures["samples"] == 6 and figures["scan_s"] > 0 and figures["forward_s"] > 0
    assert figures["ratio"] == pytest.approx(figures["scan_s"] / figures["forward_s"])
    assert figures["samples_per_s"] == pytest.approx(6 / figures["scan_s"])
