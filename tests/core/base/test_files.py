"""Files are whole or not there, whatever goes wrong; parts come from the file that was opened."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vlmscope.core.base.files import PartReader, whole_folder, write_whole


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208  # hidden ones too


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old")
    with path.open("rb") as reader:
        write_whole(path, b"new", sync=True)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]


def test_the_umask_decides_who_reads_it_unless_it_is_private(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "shared", b"")
        write_whole(tmp_path / "own", b"", private=True)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "shared"), mode(tmp_path / "own")) == (0o640, 0o600)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old")

    def fail(_descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_whole(path, b"new", sync=True)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "a", b"")


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with whole_folder(target) as folder:
        (folder / "a").write_bytes(b"1")
        assert names(target) == []
    assert names(target) == ["a"]
    assert names(tmp_path) == ["out"]


def test_a_folder_that_fails_or_is_taken_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(KeyError), whole_folder(target) as folder:
        (folder / "a").write_bytes(b"1")
        raise KeyError
    assert names(tmp_path) == []
    target.mkdir()
    (target / "own").write_bytes(b"")
    with pytest.raises(OSError, match="not empty"), whole_folder(target):
        pass
    assert (names(tmp_path), names(target)) == (["out"], ["own"])


def test_parts_are_read_by_many_threads_from_the_file_that_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "a"
    content = bytes(range(256)) * 40
    path.write_bytes(content)
    reader = PartReader(path)
    assert reader.read(3, 4) == content[3:7]
    path.unlink()
    starts = range(0, len(content), 7)
    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(lambda start: reader.read(start, 7), starts))
    assert b"".join(parts) == content
    assert reader.read(len(content) - 2, 10) == content[-2:]


def test_a_file_that_grows_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    reader = PartReader(path)
    assert reader.read(0, 9) == b"one"
    with path.open("ab") as file:
        file.write(b"two")
    assert reader.read(3, 3) == b"two"


def test_the_descriptor_goes_with_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    reader = PartReader(path)
    reader.read(0, 1)
    descriptor = reader._descriptor
    os.fstat(descriptor)
    del reader
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)


def test_a_missing_file_is_an_error_at_the_first_read(tmp_path: Path) -> None:
    reader = PartReader(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        reader.read(0, 1)
