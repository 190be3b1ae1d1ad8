"""A scan in progress: who goes on with it, how far it is, what can be read of it, and when there is more."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support.growing import Growing
from vlmscope.core.analysis.control import control_data, find_control
from vlmscope.core.base.errors import StoreError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.scoring.held_out import held_out
from vlmscope.core.store.lock import LOCK, STILL, being_scanned
from vlmscope.core.store.manifest import MANIFEST, ControlInfo, Progress, ShardInfo, read_manifest
from vlmscope.core.store.progress import check_whole, progress_text, progress_title
from vlmscope.core.store.reader import ScanStore, open_scan
from vlmscope.core.store.watch import ScanWatch


@pytest.fixture
def growing(scan: Path, tmp_path: Path) -> Growing:
    return Growing(scan, tmp_path / "scan")


def progress(
    done: int, of: int, shard: ShardInfo | None = None, updated: str = "2026-01-01T00:00:00+00:00"
) -> Progress:
    return Progress(done=done, of=of, batch=8, shard=shard, samples_bytes=0, crops_bytes=0, updated=updated)


SECOND = ShardInfo(number=2, of=8)


@pytest.mark.parametrize(
    ("at", "scanning", "words"),
    [
        (progress(4200, 23000), True, "scanning 4,200 of 23,000 (18 %)"),
        (progress(22999, 23000), True, "scanning 22,999 of 23,000 (99 %)"),
        (progress(4200, 23000), False, "stopped at 4,200 of 23,000"),
        (progress(7, 2875, SECOND), True, "shard 2/8 scanning 7 of 2,875 (0 %)"),
        (progress(7, 2875, SECOND), False, "shard 2/8 stopped at 7 of 2,875"),
        (progress(2875, 2875, SECOND), False, "shard 2/8 done, 2,875 of 2,875"),
        (progress(0, 0), True, "scanning 0 of 0 (0 %)"),
    ],
)
def test_titles_say_how_far_it_is(at: Progress, scanning: bool, words: str) -> None:
    found = progress_title(at, scanning)
    assert found[0] == words
    assert sorted(found, key=len, reverse=True) == list(found)
    assert len(found[-1]) <= 18


def test_commands_say_how_far_it_is() -> None:
    assert progress_text(progress(4200, 23000)) == "so far: 4,200 of 23,000 samples"
    assert progress_text(progress(7, 2875, SECOND)) == "so far: shard 2/8, 7 of 2,875 samples"


def test_the_lock_tells_who_goes_on(growing: Growing) -> None:
    at = growing.save(3).progress
    assert at is not None
    assert being_scanned(growing.out, at)
    assert being_scanned(growing.out, at), "asking takes nothing away"
    growing.close()
    assert not being_scanned(growing.out, at), "though it was saved just now"


def test_a_copy_is_scanned_by_nobody(growing: Growing, tmp_path: Path) -> None:
    at = growing.save(3).progress
    assert at is not None
    shutil.copytree(growing.out, tmp_path / "copy", ignore=shutil.ignore_patterns(LOCK))
    assert not being_scanned(tmp_path / "copy", at)


def test_where_no_lock_can_be_asked_the_age_tells(growing: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("vlmscope.core.store.lock.fcntl.flock", none)
    now = datetime.now(UTC)
    assert being_scanned(growing.out, progress(1, 2, updated=now.isoformat()))
    assert not being_scanned(growing.out, progress(1, 2, updated=(now - 2 * STILL).isoformat()))
    assert being_scanned(
        growing.out, progress(1, 2, updated=(now - timedelta(minutes=1)).replace(tzinfo=None).isoformat())
    )
    assert not being_scanned(growing.out, progress(1, 2, updated="yesterday"))


def test_a_scan_that_has_met_nothing_is_not_opened(growing: Growing) -> None:
    with pytest.raises(StoreError, match="has just begun") as caught:
        open_scan(growing.out)
    assert "in a minute" in caught.value.hint
    assert ScanStore(growing.out).manifest.scanned == 0, "resuming opens it"
    growing.close()
    with pytest.raises(StoreError, match="before its first sample") as caught:
        open_scan(growing.out)
    assert "--resume" in caught.value.hint
    with pytest.raises(StoreError, match="is not a scan"):
        open_scan(growing.out / "nowhere")


def test_a_scan_in_progress_is_read_as_any(growing: Growing) -> None:
    growing.save(5)
    store = open_scan(growing.out)
    neuron = Neuron(1, 7)
    assert store.manifest.valid == 5
    labels = store.labels(store.manifest.thresholds.value())
    np.testing.assert_array_equal(labels.label, store.stored_labels().label)
    assert labels.valid == 5
    for rank in range(5):
        assert store.example(neuron, rank, labels.thresholds).read_crop()


def test_a_checkpoint_that_is_replaced_while_it_is_opened_is_opened_anew(
    growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing.save(3)

    def slow(folder: Path) -> object:
        found = read_manifest(folder)
        if found.scanned == 3:
            growing.save(4)
            growing.save(5)
        return found

    monkeypatch.setattr("vlmscope.core.store.reader.read_manifest", slow)
    assert open_scan(growing.out).manifest.scanned == 5


def test_what_takes_a_whole_scan_refuses(growing: Growing, scan: Path, tmp_path: Path) -> None:
    check_whole(ScanStore(scan), "That takes")
    growing.save(5)
    with pytest.raises(StoreError, match=r"5 of 12 samples. That takes a whole scan") as caught:
        check_whole(open_scan(growing.out), "That takes")
    assert "--resume" in caught.value.hint
    with pytest.raises(StoreError, match="A control takes a whole"):
        control_data(open_scan(growing.out))
    shard = Growing(scan, tmp_path / "shard", ShardInfo(number=2, of=3))
    assert shard.save(4).is_done
    with pytest.raises(StoreError, match="shard 2/3 of a scan") as caught:
        check_whole(open_scan(shard.out), "That takes")
    assert "vlmscope merge" in caught.value.hint


def test_held_out_samples_were_processed(growing: Growing) -> None:
    growing.save(9)
    store = open_scan(growing.out)
    found = held_out(store, Neuron(0, 3), ())
    assert any(sample.rank is None for sample in found)
    assert all(store.processed(sample.sample) for sample in found)


def test_a_scan_in_progress_has_no_concepts_whatever_lies_there(growing: Growing) -> None:
    growing.save(5)
    (growing.out / "concepts").mkdir()
    store = open_scan(growing.out)
    assert not store.has_concepts
    assert store.concepts is None
    growing.finish()
    assert open_scan(growing.out).concepts is not None


def test_a_control_counts_from_its_first_sample_on(scan_copy: Path, scan: Path) -> None:
    control = Growing(scan, scan_copy.with_name(f"{scan_copy.name}.control"))
    store = ScanStore(scan_copy)
    info = ControlInfo(scan_id=store.manifest.scan_id, seed=3)
    control.source.manifest = control.source.manifest.model_copy(update={"control": info})
    control.save(0)
    assert find_control(store) is None
    control.save(2)
    found = find_control(store)
    assert found is not None
    assert found.manifest.scanned == 2


def test_a_watch_finds_each_checkpoint_once(growing: Growing) -> None:
    growing.save(3)
    watch = ScanWatch(open_scan(growing.out))
    assert watch.look() is None
    assert watch.scanning
    growing.save(6)
    found = watch.look()
    assert found is not None
    assert found.manifest.scanned == 6
    again = watch.look()
    assert again is not None, "it was not taken"
    watch.store = again
    assert watch.look() is None
    growing.close()
    assert watch.look() is None
    assert not watch.scanning


def test_a_watch_sees_the_end(growing: Growing) -> None:
    growing.save(3)
    watch = ScanWatch(open_scan(growing.out))
    growing.finish()
    found = watch.look()
    assert found is not None
    assert found.manifest.progress is None
    assert found.manifest.is_done


def test_a_watch_that_cannot_read_says_so_and_goes_on_later(growing: Growing) -> None:
    growing.save(3)
    watch = ScanWatch(open_scan(growing.out))
    growing.save(4)
    away = growing.out.with_name("away")
    growing.out.rename(away)
    with pytest.raises(StoreError, match="cannot be read any more"):
        watch.look()
    away.rename(growing.out)
    found = watch.look()
    assert found is not None
    assert found.manifest.scanned == 4


def test_a_watch_takes_no_other_scan(growing: Growing) -> None:
    growing.save(3)
    watch = ScanWatch(open_scan(growing.out))
    other = read_manifest(growing.out).model_copy(update={"scan_id": "another"})
    (growing.out / MANIFEST).write_text(other.model_dump_json())
    with pytest.raises(StoreError, match="Another scan"):
        watch.look()
