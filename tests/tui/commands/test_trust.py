"""What commands do only after a yes with a scan from elsewhere: read unchecked pictures, download its model."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.explain_parts import FakeMaps, picture
from tests.tui.commands.test_search import put
from vlmscope.core.base.errors import WorkerError
from vlmscope.core.store.manifest import MANIFEST
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.messages import LensAnswer, LensRequest, ModelSpec
from vlmscope.tui.__main__ import main
from vlmscope.tui.commands.shared import neuron_run

NAME = "someone/llava-tiny"


@pytest.fixture
def strange(scan_copy: Path, tmp_path: Path) -> Path:
    """A scan without digests whose pictures are on the reader's disk, elsewhere."""
    put(scan_copy)
    private = tmp_path / "private"
    private.mkdir()
    content = json.loads((scan_copy / MANIFEST).read_text())
    content["image_root"] = str(private)
    (scan_copy / MANIFEST).write_text(json.dumps(content))
    store = ScanStore(scan_copy)
    for index in range(store.manifest.samples):
        (private / store.sample(index).image).write_bytes(picture())
    return scan_copy


@pytest.fixture
def maps(strange: Path, monkeypatch: pytest.MonkeyPatch) -> list[FakeMaps]:
    """The model processes that are started."""
    started: list[FakeMaps] = []

    class Maps(FakeMaps):
        def __init__(self, _spec: ModelSpec, *_: object, **__: object) -> None:
            super().__init__(ScanStore(strange))
            started.append(self)

        async def lens(self, request: LensRequest) -> LensAnswer:
            raise WorkerError(f"this stand-in has no lens for {Path(request.image).parent.name}")

        async def close(self) -> None:
            """Nothing to end."""

    for command in ("explain", "simulate"):
        monkeypatch.setattr(f"vlmscope.tui.commands.{command}.ModelProcess", Maps)
    return started


@pytest.fixture
def away(strange: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan's model is on the hub alone."""
    content = json.loads((strange / MANIFEST).read_text())
    content["model"]["name"] = NAME
    (strange / MANIFEST).write_text(json.dumps(content))
    monkeypatch.setattr(neuron_run, "would_download", lambda name, _revision: name == NAME)


def ran(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> tuple[list[dict[str, Any]], str]:
    assert main([*args]) == code
    captured = capsys.readouterr()
    return json.loads(captured.out or "[]"), " ".join(captured.err.split())


def test_explain_sends_unchecked_pictures_after_a_yes(
    strange: Path, maps: list[FakeMaps], capsys: pytest.CaptureFixture[str]
) -> None:
    [entry], err = ran(capsys, "explain", str(strange), "L3/N17", "--dry-run")
    assert maps == [], "the stored crops and maps serve"
    assert "add --trust-images" in err and "has no digest of the picture at" in err
    assert "has no digest of the picture at" in entry["note"]
    [entry], err = ran(capsys, "explain", str(strange), "L3/N17", "--dry-run", "--trust-images")
    assert entry["note"] == "" and "--trust-images" not in err
    assert len(maps) == 1 and {Path(one.image).parent.name for one in maps[0].requests} == {"private"}


def test_simulate_reads_unchecked_pictures_after_a_yes(
    strange: Path, maps: list[FakeMaps], capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("simulate", str(strange), "L0/N1", "--explanation", "a train", "--json")
    [entry], err = ran(capsys, *args, code=1)
    assert "the scan has no digest of its picture" in entry["reason"] and "add --trust-images" in err
    assert maps[0].requests == []
    [entry], _ = ran(capsys, *args, "--trust-images", code=1)
    assert "no lens for private" in entry["reason"], "it was asked"


@pytest.mark.usefixtures("away")
def test_a_download_is_asked_for(
    strange: Path, maps: list[FakeMaps], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = ("explain", str(strange), "L3/N17", "--dry-run", "--trust-images")
    simulate = ("simulate", str(strange), "L0/N1", "--explanation", "a train", "--trust-images")
    for args in (explain, simulate):
        monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
        _, err = ran(capsys, *args, code=2)
        assert f"names the model {NAME}, which is not on this disk" in err and "Add --download." in err
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(sys.stdin, "readline", lambda: "n\n")
        _, err = ran(capsys, *args, code=1)
        assert "Go on? [y/N]" in err and "nothing was downloaded" in err
    assert maps == []
    monkeypatch.setattr(sys.stdin, "readline", lambda: "y\n")
    [entry], _ = ran(capsys, *explain)
    assert entry["note"] == "" and len(maps) == 1
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    ran(capsys, *explain, "--download")
    assert len(maps) == 2


@pytest.mark.usefixtures("away")
def test_what_needs_no_model_does_not_ask(
    strange: Path, maps: list[FakeMaps], capsys: pytest.CaptureFixture[str]
) -> None:
    ran(capsys, "explain", str(strange), "L3/N17", "--dry-run")  # its pictures are not read
    assert maps == []
