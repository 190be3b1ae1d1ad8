"""``vlmscope doctor --model``: what a model offers a scan, as text and JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmscope.tui.__main__ import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["doctor", *arguments, "--device", "cpu"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_layers_neurons_and_visual_tokens(
    family_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    folder = str(family_folder("llava_next"))
    code, out, _ = run(capsys, "--model", folder, "--size", "160x120")
    assert code == 0
    rows = [" ".join(line.split()) for line in out.splitlines()]
    for row in (
        "type llava_next + mistral",
        "layers 3",
        "neurons 48 in each layer, 144 in all",
        "FFN gated",
        "visual tokens 64 of a picture of 160 x 120 pixels",
        "covers 2, rows x columns: 4 x 4 (16), then 6 x 8 (48)",
        "seen x 0 to 1, y 0 to 1 of the picture",
        "0 broken (✗), 0 limited (!)",
    ):
        assert row in rows
    assert "Python" not in out  # the installation is not looked at


def test_json(family_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(family_folder("llava"))
    code, out, _ = run(capsys, "--model", folder, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["model"] == {
        "name": folder,
        "architecture": "llava + llama",
        "layers": 3,
        "neurons": 48,
        "ffn": "gated",
        "size": [640, 480],
        "visual_tokens": 16,
        "covers": [{"tokens": 16, "rows": 4, "columns": 4}],
        "seen": [0.125, 0, 0.875, 1],
        "problem": None,
    }
    assert {finding["area"] for finding in found["findings"]} == {"Model"}


def test_a_refusal_is_a_finding(family_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--model", str(family_folder("qwen3_vl_moe")), "--json")
    model = json.loads(out)["model"]
    assert code == 1
    assert "mixture of experts" in model["problem"]["message"]
    assert model["problem"]["mend"]
    assert [model[name] for name in ("layers", "visual_tokens", "covers", "seen")] == [None] * 4
    code, out, _ = run(capsys, "--model", str(family_folder("mllama")))
    assert code == 1
    assert "1 broken" in out
    assert "cross attention" in " ".join(out.split())


def test_no_such_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "--model", str(tmp_path), "--json")
    assert code == 1
    assert "cannot be loaded" in json.loads(out)["model"]["problem"]["message"]


@pytest.mark.parametrize("size", ["640", "640x", "x", "0x5", "-1x5", "640x480x3", "99999x1", "١x٢", "a x b"])
def test_a_size_that_is_none(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--model", "demo", "--size", size)
    assert code == 2
    assert "--size" in err
    assert "640x480" in err


def test_options_for_pictures(family_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    pan = ("--image-option", "do_pan_and_scan=true", "--image-option", "pan_and_scan_min_crop_size=40")
    code, out, _ = run(capsys, "--model", str(family_folder("gemma3")), "--json", *pan)
    assert (code, json.loads(out)["model"]["visual_tokens"]) == (0, 48)
    code, _, err = run(capsys, "--model", "demo", "--image-option", "pan")
    assert code == 2
    assert "--image-option is 'pan', not name=value" in err
