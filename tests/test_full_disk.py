"""A disk that is full at any file: a message, nothing half-written, and the same command works once there is room.

A limit on the size of files stands in for it: what is written beyond is refused in the same call (EFBIG for ENOSPC).
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.api_server import KEY, ApiServer, api_server
from tests.support.long import times
from tests.support.processes import Ended, run_child
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.llm import client as chat_module
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.manifest import read_manifest
from vlmscope.core.store.reader import ScanStore

LIMITS = (0, 1000, 9000, 60_000, 300_000)[:: times(3, 1)]
KEPT = Neuron(3, 17)

pytestmark = pytest.mark.slow


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as found:
        monkeypatch.setenv("OPENAI_BASE_URL", found.url)
        yield found


@pytest.fixture
def decided(scan_copy: Path) -> Path:
    """A scan with concepts, and a notebook with one verdict."""
    assert run_child(["concepts", str(scan_copy)]).code == 0
    with notebook_of(scan_copy) as notebook:
        notebook.set_verdict(KEPT, Verdict.KEEP)
    return scan_copy


def notebook_of(scan: Path) -> Notebook:
    scan_id = read_manifest(scan).scan_id
    return Notebook.open(notebook_path(scan_id, scan, "data"), scan_id)


Whole = Callable[[Path], object]  #: raises where what a command has made is not whole; given the folder of outputs

COMMANDS: dict[str, tuple[list[str], Whole]] = {
    "verdict": (["verdict", "SCAN", "L0/N1", "reject", "--note", "x" * 3000], lambda _: None),
    "concepts": (["concepts", "SCAN", "--again"], lambda _: None),
    "export": (
        ["export", "SCAN", "--out", "OUT/report"],
        lambda out: (out / "report/report.md").read_text().index("L3/N17"),
    ),
    "show": (["show", "SCAN", "L3/N17", "--png", "OUT/a.png"], lambda out: check_png(out / "a.png")),
    "stats": (["stats", "SCAN", "--png", "OUT/b.png"], lambda out: check_png(out / "b.png")),
    "dry run": (["explain", "SCAN", "L3/N17", "--dry-run", "--out", "OUT/requests"], lambda _: None),
    "explain": (["explain", "SCAN", "L3/N17", "L3/N18", "--yes"], lambda _: None),
}


def check_png(path: Path) -> None:
    assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


def explained(ended: Ended, limit: int) -> None:
    assert ended.code in (0, 1, 2), (limit, ended)
    assert "Traceback" not in ended.said, (limit, ended.said)
    assert ended.code == 0 or ended.said.strip(), limit


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command(decided: Path, tmp_path: Path, server: ApiServer, name: str) -> None:
    given, check = COMMANDS[name]
    failed = 0
    for limit in LIMITS:
        out = tmp_path / f"out{limit}"
        out.mkdir()
        args = [word.replace("SCAN", str(decided)).replace("OUT", str(out)) for word in given]
        ended = run_child(args, file_bytes=limit)
        explained(ended, limit)
        failed += ended.code != 0
        store = ScanStore(decided)
        assert store.concepts is not None and store.stored_labels() is not None
        with notebook_of(decided) as notebook:
            assert notebook.entry(KEPT).verdict is Verdict.KEEP, limit
        if ended.code == 0:
            check(out)
        shutil.rmtree(out)
        out.mkdir()
        assert run_child(args).code == 0, limit
        check(out)
    assert failed, "no limit was too low: this test shows nothing"


def test_a_scan_and_a_merge(tmp_path: Path) -> None:
    model, images = make_model(tmp_path / "model"), make_images(tmp_path / "data", 6)
    scan = ["scan", "--model", str(model), "--images", str(images), "--batch", "2", "--top-n", "4"]
    shards = [str(tmp_path / f"shard{number}") for number in (1, 2)]
    for number, shard in enumerate(shards, 1):
        assert run_child([*scan, "--shard", f"{number}/2", "--out", shard]).code == 0
    for number, args in enumerate((scan, ["merge", *shards])):
        failed = 0
        for limit in LIMITS:
            out = tmp_path / f"out{number}-{limit}"
            ended = run_child([*args, "--out", str(out)], file_bytes=limit)
            explained(ended, limit)
            failed += ended.code != 0
            again = [*args, "--out", str(out), *(["--resume"] if args is scan else [])]
            if ended.code != 0:
                assert run_child(again).code == 0, (limit, run_child(again))
            assert ScanStore(out).manifest.progress is None and ScanStore(out).concepts is not None
        assert failed, "no limit was too low: this test shows nothing"
