"""``vlmscope bench scan``, as a user types it, on the tiny architecture and on data of a user's own."""

import json
from pathlib import Path

import pytest

from tests.support.tiny import make_images
from vlmscope.tui.__main__ import main

TINY = ("bench", "scan", "--model-config", "tiny", "--device", "cpu", "--repeats", "1")


def test_an_architecture_by_name_needs_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--samples", "3", "--seed", "5", "--against", "two-pass", "--json"]) == 0
    captured = capsys.readouterr()
    (figures,) = json.loads(captured.out)
    assert figures["model"] == "tiny, random weights (seed 5)"
    assert (figures["samples"], figures["layers"], figures["neurons"]) == (3, 3, 288)
    assert 40 < figures["tokens_per_sample"] < 250
    assert figures["flop_per_sample"] > 1e6
    assert figures["peak_memory_mib"] > 50
    assert figures["peak_tflops"] is figures["scan_share_of_peak"] is None
    assert figures["times_faster"] == pytest.approx(figures["two_pass_s"] / figures["scan_s"])
    assert 0.9 < figures["same_labels"] <= 1
    assert captured.err == "making tiny at random\n"  # and no library's hints


def test_as_text_what_is_unknown_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    images = make_images(tmp_path, 3, descriptions=False)  # of which random weights could write none
    assert main([*TINY, "--images", str(images)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["device"] == "cpu"
    assert lines["neurons"] == "288"
    assert lines["scan_share_of_peak"] == lines["two_pass_s"] == lines["times_faster"] == "n/a"
    assert float(lines["ratio"]) > 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--model", "demo"], "--model and --model-config do not go together"),
        (["--captions", "model", "--images", "demo"], "--captions model does not go with --model-config"),
        (["--captions", "own"], "--image-root and --captions go with --images"),
        (["--image-root", "."], "--image-root and --captions go with --images"),
        (["--samples", "0"], "--samples"),
        (["--against", "others"], "two-pass"),
    ],
)
def test_wrong_use_is_refused(capsys: pytest.CaptureFixture[str], more: list[str], words: str) -> None:
    assert main([*TINY, *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err


def test_a_models_own_weights_take_no_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scan", "--seed", "1"]) == 2
    assert "--seed goes with --model-config" in capsys.readouterr().err


def test_an_unknown_architecture_lists_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scan", "--model-config", "llava-2"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "llava-1.5-7b" in error and "llava-1.5-13b" in error


def test_data_that_cannot_be_scanned_whole_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    images = make_images(tmp_path, 3)
    (tmp_path / "001.png").write_bytes(b"no picture")
    assert main([*TINY, "--images", str(images)]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "1 of the 3 samples" in error and "001.png" in error


def test_ablations_a_second_against_full_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "ablate", "--model-config", "tiny", "--device", "cpu", "--repeats", "1", "--json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    assert (figures["layers"], figures["neurons"], figures["pictures"]) == (3, 96, 3)
    assert figures["seconds"] == "cpu"
    assert figures["largest_difference"] < 1e-4
    for at in ("all", "answer"):
        by_layer = figures[f"{at}_by_layer"]
        assert len(by_layer) == 3 and min(by_layer) > 0
        assert figures[f"{at}_per_s"] == pytest.approx(3 / sum(1 / one for one in by_layer))
        assert figures[f"{at}_ratio"] == pytest.approx(figures[f"{at}_per_s"] / figures["full_per_s"], rel=1e-6)


def test_two_models_for_ablations_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "ablate", "--model", "demo", "--model-config", "tiny"]) == 2
    assert "--model and --model-config do not go together" in capsys.readouterr().err
