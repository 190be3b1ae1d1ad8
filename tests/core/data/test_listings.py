"""Scanning common data sets, as a user types it: what counts, and how the rest is named and can be corrected."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.tiny import make_images, make_model
from vlmscope.core.analysis.control import find_control
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("model")))


def scan(model: str, images: Path, *more: str) -> int:
    out = images.parent / "scan"
    shutil.rmtree(out, ignore_errors=True)
    return main(["scan", "--model", model, "--images", str(images), "--out", str(out), *more])


def test_coco_is_scanned_as_people_have_it_and_a_control_finds_its_images(model: str, tmp_path: Path) -> None:
    make_images(tmp_path / "train2017", 3)
    names = ["002.png", "000.png", "001.png"]
    coco = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"id": 9 - i, "image_id": i, "caption": f"A cake in {name}"} for i, name in enumerate(names)],
    }
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "captions_train2017.json"
    path.write_text(json.dumps(coco))
    assert scan(model, path) == 0
    own = ScanStore(path.parent / "scan")
    assert not any((own.sample(i).description or "").startswith("A cake in") for i in range(3))
    assert scan(model, path, "--captions", "own") == 0
    store = ScanStore(path.parent / "scan")
    assert [store.sample(i).image for i in range(3)] == names
    assert [store.sample(i).description for i in range(3)] == [f"A cake in {name}" for name in names]
    assert store.manifest.image_root == str(tmp_path / "train2017")
    assert main(["scan", "--control", str(store.folder)]) == 0
    assert find_control(store) is not None


def test_what_is_skipped_or_left_out_is_named_with_its_line(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_images(tmp_path / "data", 5)
    (tmp_path / "data" / "001.png").write_bytes(b"no picture")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[3]["description"] = "word " * 400
    path.write_text("".join(json.dumps(record) + "\n" for record in [records[0], *records]))
    assert scan(model, path) == 0
    said = capsys.readouterr().err
    assert "samples.jsonl, line 2: 000.png is listed already in line 1; the first counts." in said
    assert "skipped #1 001.png (samples.jsonl, line 3): " in said and "not a picture" in said
    assert "skipped #3 003.png (samples.jsonl, line 5): the description is too long" in said
    assert "correct what is named" in said and "scanned 3 of 5 samples" in said


def test_of_many_images_listed_twice_some_are_named(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_images(tmp_path / "data", 25)
    path.write_text(path.read_text() * 2)
    assert scan(model, path, "--limit", "2") == 0
    said = capsys.readouterr().err
    assert said.count("is listed already") == 20 and "5 more notes like these" in said


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--image-root", "nowhere"], 1, "--image-root FOLDER"),
        (["--captions", "hers"], 2, "hers"),
    ],
)
def test_what_is_wrong_is_an_error_before_the_model_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, words: str
) -> None:
    path = make_images(tmp_path / "data", 1)
    assert scan("nothing/here", path, *more) == code
    said = capsys.readouterr().err
    assert words in said and "nothing/here" not in said


@pytest.mark.parametrize("option", ["--image-root", "--captions"])
def test_a_control_has_its_scans_data(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["scan", "--control", "demo", option, "model"]) == 2
    assert f"{option} does not go with" in capsys.readouterr().err
