"""The fields of a listing in a scan: kept by whole, stopped and merged scans, and not mixed with others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tiny import make_images, make_model
from vlmscope.core.base.errors import Cancelled, StoreError
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.scan.merge import merge_scans
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.manifest import ShardInfo, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.store.writer import write_manifest
from vlmscope.core.worker.messages import ModelSpec

SAMPLES = 6
OPTIONS = ScanOptions(top_n=2, maps=0, batch=1, panel=0)


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


def listed(path: Path, first: str) -> str:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    fields = [{"culture": first}, {"culture": "Thai", "year": 1990}, {}]
    new = path.with_name(f"{first}.jsonl")
    new.write_text("\n".join(json.dumps(line | fields[at % 3]) for at, line in enumerate(lines)))
    return str(new)


def kept(folder: Path) -> list[dict[str, object]]:
    store = ScanStore(folder)
    return [dict(store.sample(index).fields) for index in range(SAMPLES)]


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(ModelSpec(str(make_model(tmp_path_factory.mktemp("model")))))


def test_a_scan_keeps_the_fields_it_was_begun_with(vlm: Vlm, tmp_path: Path) -> None:
    plain = make_images(tmp_path / "data", SAMPLES)
    data, other = read_data(listed(plain, "Korean")), read_data(listed(plain, "Lao"))
    expected = [{"culture": "Korean"}, {"culture": "Thai", "year": 1990}, {}] * 2

    shards = [tmp_path / "one", tmp_path / "two"]
    for number, out in enumerate(shards, 1):
        made = scan(vlm, data, out, replace(OPTIONS, shard=ShardInfo(number=number, of=2)), silent)
        assert made.fields == ("culture", "year")
    merge_scans(shards, tmp_path / "merged", silent)
    assert kept(tmp_path / "merged") == expected
    # A shard of an earlier version has none: then the whole has none.
    write_manifest(shards[1], read_manifest(shards[1]).model_copy(update={"fields": None}))
    assert merge_scans(shards, tmp_path / "without", silent).fields is None
    assert kept(tmp_path / "without") == [{}] * SAMPLES

    out = tmp_path / "stopped"
    left = iter([False, False])
    with pytest.raises(Cancelled):
        scan(vlm, data, out, OPTIONS, silent, stopped=lambda: next(left, True))
    done = next(index for index in (0, 3) if ScanStore(out).processed(index))
    words = f"begun with other fields: culture of {done:03}.png was Korean, now Lao"
    with pytest.raises(StoreError, match=words):
        scan(vlm, other, out, OPTIONS, silent, resume=True)
    with pytest.raises(StoreError, match="the fields of the listing: culture, year, now none"):
        scan(vlm, read_data(str(plain)), out, OPTIONS, silent, resume=True)
    scan(vlm, data, out, OPTIONS, silent, resume=True)
    assert kept(out) == expected


def test_a_scan_of_an_earlier_version_continues_without(vlm: Vlm, tmp_path: Path) -> None:
    plain, out = make_images(tmp_path / "data", SAMPLES), tmp_path / "scan"
    left = iter([False])
    with pytest.raises(Cancelled):
        scan(vlm, read_data(str(plain)), out, OPTIONS, silent, stopped=lambda: next(left, True))
    write_manifest(out, read_manifest(out).model_copy(update={"fields": None}))
    made = scan(vlm, read_data(listed(plain, "Korean")), out, OPTIONS, silent, resume=True)
    assert made.progress is None and made.fields is None and kept(out) == [{}] * SAMPLES
