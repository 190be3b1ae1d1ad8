"""A scan is written whole or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlmscope.core.base.errors import StoreError
from vlmscope.core.store.arrays import array_shapes
from vlmscope.core.store.manifest import Manifest, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.writer import StoreWriter

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)  # lone surrogates too


@pytest.fixture
def manifest(scan: Path) -> Manifest:
    return read_manifest(scan).model_copy(update={"samples": 1, "scanned": 1})


def empty_arrays(manifest: Manifest) -> dict[str, NDArray[Any]]:
    return {name: np.zeros(shape, dtype=dtype) for name, (dtype, shape) in array_shapes(manifest).items()}


def test_a_finished_scan_is_all_that_remains(tmp_path: Path, manifest: Manifest) -> None:
    with StoreWriter(tmp_path / "out", 1) as writer:
        writer.add_sample("a.jpg", "a b", ["a", " b"], b"crop")
        assert not (tmp_path / "out").exists()
        writer.finish(manifest, empty_arrays(manifest))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    store = ScanStore(tmp_path / "out")
    assert store.sample(0).tokens == ("a", " b")
    assert store.crop(0) == b"crop"


def test_folders_above_are_made(tmp_path: Path, manifest: Manifest) -> None:
    out = tmp_path / "new" / "folder" / "out"
    with StoreWriter(out, 1) as writer:
        writer.add_sample("a.jpg", "", [], b"")
        writer.finish(manifest, empty_arrays(manifest))
    assert read_manifest(out) == manifest


def test_an_empty_folder_is_taken(tmp_path: Path, manifest: Manifest) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with StoreWriter(out, 1) as writer:
        writer.add_sample("a.jpg", "", [], b"")
        writer.finish(manifest, empty_arrays(manifest))
    assert read_manifest(out) == manifest


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_behind_and_passes_through(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with StoreWriter(tmp_path / "out", 1) as writer:
            writer.add_sample("a.jpg", "", [], b"crop")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_explained_and_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with StoreWriter(tmp_path / "out", 1):
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left on device") as caught:
        fail()
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_leaving_without_finishing_leaves_nothing_behind(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "out", 1) as writer:
        writer.add_sample("a.jpg", "", [], b"crop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["maximum", "votes"])
def test_arrays_of_another_shape_or_type_are_not_written(tmp_path: Path, manifest: Manifest, name: str) -> None:
    arrays = empty_arrays(manifest)
    for wrong in (arrays[name][:-1], arrays[name].astype(np.float64)):

        def write(wrong: NDArray[Any] = wrong) -> None:
            with StoreWriter(tmp_path / "out", 1) as writer:
                writer.add_sample("a.jpg", "", [], b"")
                writer.finish(manifest, {**arrays, name: wrong})

        with pytest.raises(ValueError, match=name):
            write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(StoreError, match="exists already"):
        StoreWriter(out, 1)
    assert (out / "precious").read_text() == "x"


def test_a_file_is_refused_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("x")
    with pytest.raises(StoreError, match="exists already"):
        StoreWriter(out, 1)
    assert out.read_text() == "x"


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    def write() -> None:
        with StoreWriter(tmp_path / "file" / "out", 1):
            raise AssertionError("not reached")

    with pytest.raises(StoreError, match="may write to") as caught:
        write()
    assert "--out" in caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=ANY_TEXT, tokens=st.lists(ANY_TEXT, max_size=4), crop=st.binary(max_size=20))
def test_any_text_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, manifest: Manifest, image: str, tokens: list[str], crop: bytes
) -> None:
    out = tmp_path_factory.mktemp("round") / "out"
    with StoreWriter(out, 1) as writer:
        writer.add_sample(image, "".join(tokens), tokens, crop)
        writer.finish(manifest, empty_arrays(manifest))
    store = ScanStore(out)
    sample = store.sample(0)
    assert (sample.image, sample.description, sample.tokens) == (image, "".join(tokens), tuple(tokens))
    assert store.crop(0) == crop


def test_a_file_name_that_is_no_utf8_survives_the_round_trip(tmp_path: Path, manifest: Manifest) -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    with StoreWriter(tmp_path / "out", 1) as writer:
        writer.add_sample(name, "", [], b"")
        writer.finish(manifest, empty_arrays(manifest))
    image = ScanStore(tmp_path / "out").sample(0).image
    assert image.encode("utf-8", "surrogateescape") == b"caf\xe9.jpg"
