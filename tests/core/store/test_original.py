"""A file is a sample's picture only if its SHA-256 is the scan's: a scan from elsewhere may name any file."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.explain_parts import FakeMaps, picture
from tests.support.records import put_records
from vlmscope.core.base.demo import DEMO, demo_folder
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.samples import read_data
from vlmscope.core.explain.evidence import complete, gather
from vlmscope.core.method.labels import Label
from vlmscope.core.scoring.held_out import FOREIGN, NOT_CHECKED, held_out
from vlmscope.core.store.example import Sample
from vlmscope.core.store.manifest import MANIFEST
from vlmscope.core.store.original import UNCHECKED
from vlmscope.core.store.reader import ScanStore

NEURON = Neuron(3, 17)
BYTES = picture()
DIGEST = hashlib.sha256(BYTES).hexdigest()


def sample(root: Path | None, image: str, sha256: str | None) -> Sample:
    return Sample(0, image, "", (), None if root is None else str(root), sha256)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of pictures with one in it, and one that is outside."""
    root, outside = tmp_path / "images", tmp_path / "private.png"
    root.mkdir()
    (root / "a.png").write_bytes(BYTES)
    outside.write_bytes(BYTES)
    (root / "link.png").symlink_to(outside)
    return root, outside


@pytest.mark.parametrize("image", ["a.png", "link.png", "../private.png", "{outside}"])
def test_a_picture_that_fits_is_used_wherever_it_is(places: tuple[Path, Path], image: str) -> None:
    root, outside = places
    found = sample(root, image.format(outside=outside), DIGEST)
    assert (found.picture_problem, found.picture_here) == ("", found.picture)


@pytest.mark.parametrize("image", ["a.png", "link.png", "../private.png", "{outside}"])
@pytest.mark.parametrize("sha256", ["0" * 64, "", "é", DIGEST.upper(), DIGEST[:10]])
def test_one_that_does_not_fit_is_not_that_sample(places: tuple[Path, Path], image: str, sha256: str) -> None:
    root, outside = places
    found = sample(root, image.format(outside=outside), sha256)
    assert found.picture_here is None
    assert "is not the picture that was scanned" in found.picture_problem


def test_without_a_digest_only_the_scans_own_folder_is_read(places: tuple[Path, Path]) -> None:
    root, outside = places
    own = replace(sample(root, "a.png", None), within=root)
    assert own.picture_here == root / "a.png"
    for image in ("link.png", "../private.png", str(outside), "../images/../private.png"):
        found = replace(own, image=image)
        assert found.picture_here is None, image
        assert found.picture_problem.startswith(UNCHECKED)
        assert replace(found, within=None).picture_here == found.picture, "the user has agreed"
    assert sample(None, str(outside), None).picture_here is None


@pytest.mark.parametrize("root", ["/", "{outside}", "", None])
async def test_what_the_manifest_calls_the_folder_of_pictures_is_not_believed(
    scan_copy: Path, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, root: str | None
) -> None:
    monkeypatch.chdir(places[1].parent)
    named = None if root is None else root.format(outside=places[1].parent)
    store = foreign(scan_copy, places[1], None, named)
    assert store.sample(0).picture.samefile(places[1])
    asked = FakeMaps(store)
    found = await complete(gather(store, NEURON, Label.TEXT), store, asked)
    assert asked.requests == [] and not any(one.exact for one in found.samples)
    assert UNCHECKED in found.note
    assert {one.picture for one in held_out(store, NEURON, ())} == {None}
    assert {one.picture_problem for one in held_out(store, NEURON, ())} == {NOT_CHECKED}
    store.images_trusted = True
    trusted = await complete(gather(store, NEURON, Label.TEXT), store, asked)
    assert all(one.exact for one in trusted.samples)
    assert {one.picture for one in held_out(store, NEURON, ())} == {places[1]}


def test_pictures_in_the_scans_own_folder_need_no_digest(scan_copy: Path) -> None:
    (scan_copy / "a.png").write_bytes(BYTES)
    store = foreign(scan_copy, Path("a.png"), None, str(scan_copy))
    assert store.sample(0).picture_here == scan_copy / "a.png"


def test_the_demos_pictures_need_no_digest_and_nothing_else_is_the_demos(
    scan_copy: Path, places: tuple[Path, Path]
) -> None:
    image = read_data(DEMO, 1).sources[0].image
    assert foreign(scan_copy, Path(image), None, DEMO).sample(0).picture_here == demo_folder() / image
    for outside in (places[1], Path("../" * 20) / str(places[1]).lstrip("/")):
        found = foreign(scan_copy, outside, None, DEMO).sample(0)
        assert found.picture.samefile(places[1]) and found.picture_here is None


def test_a_file_that_changes_is_looked_at_again(places: tuple[Path, Path]) -> None:
    found = sample(places[0], "a.png", DIGEST)
    assert found.picture_here is not None
    found.picture.write_bytes(picture(seed=9))
    assert found.picture_here is None


@pytest.mark.parametrize("image", ["gone.png", "", ".", "a\0b", "x" * 5000, "pipe", "/dev/zero", "/proc/self/mem"])
def test_what_is_not_a_picture_file_is_a_reason(places: tuple[Path, Path], image: str) -> None:
    os.mkfifo(places[0] / "pipe")
    found = sample(places[0], image, DIGEST)
    assert found.picture_here is None
    assert found.picture_problem


def foreign(folder: Path, outside: Path, sha256: str | None, image_root: str | None = "") -> ScanStore:
    """A scan whose samples all name one file of the reader's disk."""
    put_records(folder, image=str(outside), sha256=sha256)
    content = json.loads((folder / MANIFEST).read_text()) | {"image_root": image_root}
    (folder / MANIFEST).write_text(json.dumps(content))
    return ScanStore(folder)


async def test_the_stored_crop_serves_and_the_reason_is_told(scan_copy: Path, places: tuple[Path, Path]) -> None:
    store = foreign(scan_copy, places[1], "0" * 64)
    asked = FakeMaps(store)
    found = await complete(gather(store, NEURON, Label.TEXT), store, asked)
    assert not any(one.exact for one in found.samples)
    assert [one.read_crop() for one in found.samples] == [store.crop(one.sample.index) for one in found.samples]
    assert f"the file at {places[1]} is not the picture that was scanned" in found.note
    assert {one.picture for one in held_out(store, NEURON, ())} == {None}
    assert {one.picture_problem for one in held_out(store, NEURON, ())} == {FOREIGN}


async def test_a_scan_whose_pictures_fit_has_exact_maps(scan_copy: Path, places: tuple[Path, Path]) -> None:
    store = foreign(scan_copy, places[1], DIGEST)
    found = await complete(gather(store, NEURON, Label.TEXT), store, FakeMaps(store))
    assert all(one.exact for one in found.samples)
    assert {one.picture for one in held_out(store, NEURON, ())} == {places[1]}
