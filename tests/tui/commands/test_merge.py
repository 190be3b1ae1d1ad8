"""``vlmscope merge`` as a user types it."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.core.scan.test_merge import equal, silent
from tests.support.tiny import make_images, make_model
from vlmscope.core.base.signals import ENDING
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.load import load
from vlmscope.core.scan.scan import scan
from vlmscope.core.store.arrays import LayerArrays
from vlmscope.core.store.manifest import ShardInfo
from vlmscope.core.store.settings import ScanOptions
from vlmscope.core.worker.messages import ModelSpec
from vlmscope.tui.__main__ import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A scan of seven samples, one of them skipped, and its two shards."""
    folder = tmp_path_factory.mktemp("made")
    vlm = load(ModelSpec(str(make_model(folder / "model"))))
    samples = make_images(folder / "data", 7)
    (folder / "data" / "003.png").write_bytes(b"no picture")
    data, options = read_data(str(samples)), ScanOptions(top_n=4, batch=1)
    scan(vlm, data, folder / "whole", options, silent)
    shards = [folder / "shard 1", folder / "shard 2"]
    for number, shard in enumerate(shards, 1):
        scan(vlm, data, shard, replace(options, shard=ShardInfo(number=number, of=2)), silent)
    return folder / "whole", shards


def test_shards_become_a_scan(
    made: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, (first, second) = made
    assert main(["merge", str(second), str(first), "--out", str(tmp_path / "my scan")]) == 0
    out, err = capsys.readouterr()
    equal(whole, tmp_path / "my scan")
    # stdout is the table of labels, as 'scan' ends with it
    assert out.startswith("layer") and len(out.splitlines()) == 8 and "Tv 2" in out
    assert "merged 2 shards: scanned 6 of 7 samples" in err
    assert "skipped #3 003.png" in err
    assert f"Open it: vlmscope open '{tmp_path}/my scan'" in err


def test_a_missing_shard_is_named(
    made: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(made[1][0]), "--out", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Shard 2/2 is missing." in err and "vlmscope scan --shard 2/2" in err
    assert not (tmp_path / "out").exists()


def test_shards_and_out_must_be_given(made: tuple[Path, list[Path]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(made[1][0])]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["merge", "--out", "scan"]) == 2


def test_an_existing_folder_is_not_overwritten(
    made: tuple[Path, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    whole, shards = made
    assert main(["merge", *map(str, shards), "--out", str(whole)]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_a_merge_and_nothing_half_written_remains(
    made: tuple[Path, list[Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sent: signal.Signals,
) -> None:
    def meanwhile(self: LayerArrays, *_: object) -> None:
        signal.raise_signal(sent)

    monkeypatch.setattr(LayerArrays, "put", meanwhile)
    before = [signal.getsignal(one) for one in ENDING]
    assert main(["merge", *map(str, made[1]), "--out", str(tmp_path / "out")]) == 128 + sent
    assert [signal.getsignal(one) for one in ENDING] == before
    assert "stopped" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
