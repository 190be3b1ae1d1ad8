"""kill -9 during a command: nothing half-written is taken for whole, and the same command again does the same work.

The program runs in a child that is killed after a random part of the time that it takes undisturbed.
"""

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.api_server import KEY, ApiServer, api_server
from tests.support.long import times
from tests.support.processes import run_child
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.samples import read_data
from vlmscope.core.llm import client as chat_module
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.arrays import array_shapes
from vlmscope.core.store.manifest import ShardInfo, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions

KILLS = times(4, 30)
SEED = 20261128

pytestmark = pytest.mark.slow


def run(args: list[str], seconds: float | None = None) -> int | None:
    return run_child(args, seconds).code


def kill_often(args: list[str], before: Callable[[], None], after: Callable[[], None]) -> int:
    """Kill the command ``KILLS`` times, each from the beginning; returns how many kills came before its end.

    Args:
        before: puts everything back. after: checks what a kill left, then what the same command makes of it.
    """
    before()
    begun = time.monotonic()
    assert run(args) == 0
    takes = time.monotonic() - begun
    draw, kills = random.Random(SEED), 0
    for _ in range(KILLS):
        before()
        kills += run(args, draw.uniform(0.05, 1) * takes) is None
        after()
    return kills


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same_scan(one: ScanStore, other: ScanStore) -> None:
    assert one.manifest == other.manifest.model_copy(update={"created": one.manifest.created})
    for name in array_shapes(one.manifest):
        assert np.array_equal(one.arrays[name], other.arrays[name]), name
    for index in range(one.manifest.samples):
        assert one.sample(index) == other.sample(index) and one.crop(index) == other.crop(index)
    assert content(one.folder / "concepts") == content(other.folder / "concepts")


def test_merge(tmp_path: Path) -> None:
    from vlmscope.core.model.load import load
    from vlmscope.core.scan.scan import scan
    from vlmscope.core.worker.messages import ModelSpec

    data = read_data(str(make_images(tmp_path / "data", 12)))
    vlm, shards = load(ModelSpec(str(make_model(tmp_path / "model")))), []
    options = ScanOptions(top_n=5, batch=1, maps=2)
    for number in (1, 2):
        shards.append(tmp_path / f"shard{number}")
        scan(vlm, data, shards[-1], replace(options, shard=ShardInfo(number=number, of=2)), lambda *_: None)
    del vlm
    out, args = tmp_path / "out", ["merge", *map(str, shards), "--out", str(tmp_path / "out")]
    assert run([*args[:-1], str(tmp_path / "expected")]) == 0
    expected = ScanStore(tmp_path / "expected")

    def before() -> None:
        shutil.rmtree(out, ignore_errors=True)

    def after() -> None:
        if out.exists():
            same_scan(ScanStore(out), expected)  # it was whole
        else:
            assert run(args) == 0
            same_scan(ScanStore(out), expected)

    assert kill_often(args, before, after), "no kill came before the end"


def test_concepts(scan_copy: Path) -> None:
    args = ["concepts", str(scan_copy), "--again"]
    assert run(args) == 0
    expected = content(scan_copy / "concepts")

    def after() -> None:
        store = ScanStore(scan_copy)
        if store.has_concepts:
            assert store.concepts is not None
            assert content(scan_copy / "concepts") == expected
        assert run(args) == 0
        assert content(scan_copy / "concepts") == expected

    assert kill_often(args, lambda: None, after), "no kill came before the end"


@pytest.fixture
def triaged(scan: Path) -> list[Neuron]:
    """Neurons of the scan with the verdict keep."""
    kept = [Neuron(layer, index) for layer in range(4) for index in range(0, 32, 4)]
    with notebook_of(scan) as notebook:
        for neuron in kept:
            notebook.set_verdict(neuron, Verdict.KEEP)
    return kept


def notebook_of(scan: Path) -> Notebook:
    scan_id = read_manifest(scan).scan_id
    return Notebook.open(notebook_path(scan_id, scan, "data"), scan_id)


def report_of(out: Path) -> dict[str, bytes]:
    """A report's files without the date."""
    found = content(out)
    report = json.loads(found.pop("report.json"))
    del report["created"]
    return found | {"report.json": json.dumps(report).encode()}


def test_export(scan: Path, triaged: list[Neuron], tmp_path: Path) -> None:
    args = ["export", str(scan), "--out", str(tmp_path / "out"), "--format", "json"]
    assert run([*args[:3], str(tmp_path / "expected"), *args[4:]]) == 0
    expected, out = report_of(tmp_path / "expected"), tmp_path / "out"
    assert len(json.loads(expected["report.json"])["neurons"]) == len(triaged)

    def after() -> None:
        if not out.exists():
            assert run(args) == 0
        assert report_of(out) == expected

    assert kill_often(args, lambda: shutil.rmtree(out, ignore_errors=True), after), "no kill came before the end"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    chat_module._dialects.clear()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with api_server() as found:
        monkeypatch.setenv("OPENAI_BASE_URL", found.url)
        yield found


def test_explain(scan: Path, server: ApiServer, own_home: Path) -> None:
    neurons = [Neuron(layer, index) for layer in (2, 3) for index in range(8)]
    args = ["explain", str(scan), *map(str, neurons), "--yes"]
    folders = [own_home / name for name in ("data", "cache")]

    def before() -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        server.bodies.clear()

    def explained() -> list[tuple[str, tuple[int, ...]]]:
        with notebook_of(scan) as notebook:
            saved = [notebook.explanations(neuron) for neuron in neurons]
        assert [len(one) for one in saved] == [1] * len(neurons), "each is explained once"
        return [(one.explanation.text, one.explanation.samples) for (one,) in saved]

    before()
    assert run(args) == 0
    expected, requests = explained(), len(server.bodies)  # two neurons may have the same request

    def after() -> None:
        with notebook_of(scan) as notebook:
            marks = notebook.marks()
        assert set(marks) <= set(neurons) and all(mark.explained for mark in marks.values())
        assert run(args) == 0
        assert explained() == expected
        # What was on its way when the kill came is asked again: four requests at once.
        assert requests <= len(server.bodies) <= requests + 4
        assert not [path for path in own_home.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]

    assert kill_often(args, before, after), "no kill came before the end"
