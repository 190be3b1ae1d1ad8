"""Common data: folders, JSONL, COCO's captions, LLaVA's instructions; where their images are; what is wrong."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from vlmscope.core.base.errors import SamplesError, UsageError
from vlmscope.core.data.samples import Captions, Data, read_data

OWN, MODEL = Captions.OWN, Captions.MODEL
COCO = {
    "info": {"year": 2017},
    "images": [
        {"id": 9, "file_name": "000000000009.jpg", "height": 480},
        {"id": 25, "file_name": "000000000025.jpg"},
        {"id": 30, "file_name": "000000000030.jpg"},
    ],
    "annotations": [
        {"image_id": 25, "id": 800, "caption": "later"},
        {"image_id": 9, "id": 700, "caption": "A dog. \n"},
        {"image_id": 25, "id": 600, "caption": "earlier"},
    ],
}
LLAVA = [
    {
        "id": "000000000030",
        "image": "000000000030.jpg",
        "conversations": [
            {"from": "human", "value": "Describe it.\n<image>"},
            {"from": "gpt", "value": "Four flowers."},
            {"from": "gpt", "value": "And a vase."},
        ],
    },
    {"id": "9", "image": "000000000009.jpg", "conversations": [{"from": "human", "value": "?"}]},
]


def write(path: Path, content: Any) -> str:
    """``content`` as JSON, or the text that it is, with a file for each image that it may name, in its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def described(data: Data) -> dict[str, str | None]:
    return {source.image: source.description for source in data.sources}


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize(
    ("captions", "texts"), [(None, [None] * 3), (MODEL, [None] * 3), (OWN, ["A dog.", "earlier", None])]
)
def test_cocos_captions_are_read_if_they_are_asked_for(
    tmp_path: Path, captions: Captions | None, texts: list[str | None]
) -> None:
    path = write(touch(tmp_path, "000000000009.jpg") / "captions_train2017.json", COCO)
    data = read_data(path, captions=captions)
    assert list(described(data)) == ["000000000009.jpg", "000000000025.jpg", "000000000030.jpg"]
    assert list(described(data).values()) == texts
    assert data.root == tmp_path and data.name == path


@pytest.mark.parametrize(
    ("captions", "texts"), [(None, [None, None]), (MODEL, [None, None]), (OWN, ["Four flowers.", None])]
)
@pytest.mark.parametrize("name", ["detail_23k.json", "detail_23k.jsonl"])
def test_llavas_answers_are_read_if_they_are_asked_for(
    tmp_path: Path, captions: Captions | None, texts: list[str | None], name: str
) -> None:
    content = LLAVA if name.endswith(".json") else lines(*LLAVA)
    path = write(touch(tmp_path, "000000000009.jpg") / name, content)
    data = read_data(path, captions=captions)
    assert list(described(data)) == ["000000000030.jpg", "000000000009.jpg"]
    assert list(described(data).values()) == texts


@pytest.mark.parametrize("captions", [None, OWN, MODEL])
@pytest.mark.parametrize("form", ["jsonl", "a list", "jsonl called json", "with a mark", "one line called json"])
def test_our_own_records_are_described_unless_the_model_is_to(
    tmp_path: Path, captions: Captions | None, form: str
) -> None:
    records = [{"image": "a.png", "description": "x\u2028y"}, {"image": "b.png"}]
    if form == "one line called json":
        records = records[:1]
    text = json.dumps(records) if form == "a list" else lines(*records)
    name = "samples.jsonl" if form in ("jsonl", "with a mark") else "samples.json"
    path = write(touch(tmp_path, "a.png") / name, "\ufeff" * (form == "with a mark") + text)
    found = described(read_data(path, captions=captions))
    assert list(found) == [record["image"] for record in records]
    assert found["a.png"] == (None if captions is MODEL else "x\u2028y")


def test_only_the_first_so_many(tmp_path: Path) -> None:
    path = write(touch(tmp_path, "000000000009.jpg") / "c.json", COCO)
    assert list(described(read_data(path, 2))) == ["000000000009.jpg", "000000000025.jpg"]


@pytest.mark.parametrize("folder", [".", "train2017", "val2017", "../train2017", "../val2017"])
def test_images_are_found_in_the_files_folder_or_where_coco_has_them(tmp_path: Path, folder: str) -> None:
    path = write(tmp_path / "coco" / "annotations" / "captions.json", COCO)
    touch(tmp_path / "coco" / "train2017")  # a folder without the images is passed over
    root = touch((tmp_path / "coco" / "annotations" / folder).resolve(), "000000000030.jpg")
    assert read_data(path).root == root


def test_the_folder_that_is_named_is_the_one(tmp_path: Path) -> None:
    path = write(touch(tmp_path, "000000000030.jpg") / "detail_23k.json", LLAVA)
    root = touch(tmp_path / "elsewhere", "000000000030.jpg")
    data = read_data(path, image_root=root)
    assert data.root == root and data.image_root == str(root)


def test_images_that_lie_nowhere_are_named_before_anything_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path / "detail_23k.json", LLAVA)
    with pytest.raises(SamplesError, match=r"000000000030\.jpg, is in .*train2017 or val2017") as failure:
        read_data(path)
    assert "--image-root" in failure.value.hint
    with pytest.raises(SamplesError, match=r"is in .*nowhere\."):
        read_data(path, image_root=tmp_path / "nowhere")


def test_an_image_that_is_listed_twice_counts_once_and_is_named(tmp_path: Path) -> None:
    records = [{"image": name, "description": name} for name in ("a.png", "b.png", "./a.png", "c/../b.png", "c.png")]
    path = write(touch(tmp_path, "a.png") / "samples.jsonl", lines(*records[:2]) + "\n" + lines(*records[2:]))
    data = read_data(path)
    assert list(described(data)) == ["a.png", "b.png", "c.png"]
    assert data.notes == (
        "samples.jsonl, line 4: ./a.png is listed already in line 1; the first counts.",
        "samples.jsonl, line 5: c/../b.png is listed already in line 2; the first counts.",
    )
    assert [source.place for source in data.sources] == [f"samples.jsonl, line {n}" for n in (1, 2, 6)]


def test_images_listed_twice_in_a_json_are_named_by_their_entry(tmp_path: Path) -> None:
    touch(tmp_path, "000000000009.jpg", "000000000030.jpg")
    path = write(tmp_path / "c.json", COCO | {"images": [*COCO["images"], COCO["images"][0]]})  # type: ignore[index]
    assert "c.json, images[3]: 000000000009.jpg is listed already in images[0]" in read_data(path).notes[0]
    path = write(tmp_path / "d.json", [*LLAVA, LLAVA[0]])
    assert "d.json, entry [2]: 000000000030.jpg is listed already in entry [0]" in read_data(path).notes[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"image": "a.png"},\n {"image" "b.png"}]', "is not JSON: .*line 2 column 11"),
        ("[" * 100_000, "is not JSON"),
        ("", "is not JSON"),
        ('{"image": "a.png"}\n{"image"', "line 2, is not JSON"),
        ("7", "line 1: 'image' must be"),
        ({"pictures": []}, "line 1: 'image' must be"),
        ([{"image": "a.png"}, {"id": 3}], r"entry \[1\]: 'image' must be"),
        ([{"image": ""}], r"entry \[0\]: 'image' must be"),
        ([{"image": "a.png", "description": ["x"]}], r"entry \[0\]: 'image' must be"),
        ([{"image": "a.png", "description": "x \ud83d"}], r"entry \[0\]: the description has half a character"),
        ([{"image": "a.png", "conversations": "hello"}], r"entry \[0\]: 'conversations' must be"),
        ([{"image": "a.png", "conversations": [{"from": "gpt"}]}], r"entry \[0\]: 'conversations' must be"),
        (
            [{"image": "a.png"}, {"image": "data:image/png;base64," + "iVBOR" * 900}],
            r"entry \[1\]: the image is a data URI",
        ),
        ([{"image": "DATA:image/png,x"}], r"entry \[0\]: the image is a data URI"),
        ([{"image": "https://example.org/a.png"}], r"entry \[0\]: the image is a web address"),
        ([{"image": "a" * 5000}], r"entry \[0\]: the image is not a path: a+…"),
        ([{"image": "a\0.png"}], r"entry \[0\]: the image is not a path"),
        ({"images": [{"id": 1, "file_name": "data:image/png,x"}]}, r"images\[0\]: the image is a data URI"),
        ([{"id": "sg", "conversations": []}], "holds no images: its 1 records are text alone"),
        ({"images": [{"id": 1, "file_name": "a.png"}, {"id": 2}]}, r"images\[1\]: 'file_name' must be"),
        ({"images": [{"id": [], "file_name": "a.png"}]}, r"images\[0\]: 'file_name' must be"),
        ({"images": ["a.png"]}, r"images\[0\]: 'file_name' must be"),
        (COCO | {"annotations": [{"id": 1, "image_id": 9, "bbox": []}]}, r"annotations\[0\]: .*'caption' a text"),
        (COCO | {"annotations": [None]}, r"annotations\[0\]: 'id' must be"),
        (COCO | {"annotations": 3}, r"annotations\[0\]: 'id' must be"),
        ([], "holds no images"),
        ({"images": []}, "holds no images"),
    ],
)
def test_what_is_wrong_in_a_json_is_named_with_its_place_and_a_hint(tmp_path: Path, content: Any, words: str) -> None:
    path = write(touch(tmp_path, "a.png") / "data.json", content)
    with pytest.raises(SamplesError, match=words) as failure:
        read_data(path, captions=OWN)
    assert path in failure.value.message and failure.value.hint


@pytest.mark.parametrize("content", [COCO | {"annotations": [{"bbox": []}]}, {"images": COCO["images"]}])
def test_images_without_captions_will_do_where_none_are_asked_for(tmp_path: Path, content: Any) -> None:
    path = write(touch(tmp_path, "000000000009.jpg") / "instances.json", content)
    assert set(described(read_data(path)).values()) == {None}


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match="does not exist"):
        read_data(str(tmp_path / "captions.json"))
    (tmp_path / "image.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(SamplesError, match="cannot be read"):
        read_data(str(tmp_path / "image.json"))


def test_options_that_do_not_go_with_the_data_are_refused(tmp_path: Path) -> None:
    folder = touch(tmp_path / "pictures", "a.png")
    for name in (str(folder), "demo"):
        with pytest.raises(UsageError, match="--image-root is for a file"):
            read_data(name, image_root=tmp_path)
    for name in (str(folder), write(folder / "data.jsonl", lines({"image": "a.png"}))):
        with pytest.raises(UsageError, match="holds no captions"):
            read_data(name, captions=OWN)
    assert described(read_data(str(folder), captions=MODEL)) == {"a.png": None}
    assert set(described(read_data("demo", 3, captions=MODEL)).values()) == {None}


def test_a_folder_without_images_says_which_would_be_some(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(SamplesError, match="holds no images") as failure:
        read_data(str(tmp_path))
    assert ".webp" in failure.value.hint


def test_a_dataset_saved_by_datasets_is_told_how_to_become_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "dataset_dict.json")
    split = touch(tmp_path / "train", "data-00000-of-00001.arrow", "dataset_info.json", "state.json")
    with pytest.raises(SamplesError, match="library 'datasets'") as failure:
        read_data(str(tmp_path))
    code = failure.value.hint.partition("\n")[2]
    compile(code, "hint", "exec")
    assert f"load_from_disk({str(split)!r})" in code


def test_a_name_that_is_too_long_for_a_file_is_an_image_that_is_not_there(tmp_path: Path) -> None:
    path = write(touch(tmp_path, "a.png") / "data.jsonl", lines({"image": "b" * 300}, {"image": "a.png"}))
    assert read_data(path).root == tmp_path
    path = write(tmp_path / "data.jsonl", lines({"image": "b" * 300}))
    with pytest.raises(SamplesError, match="images that are not there"):
        read_data(path)


@pytest.mark.parametrize("captions", [None, OWN, MODEL])
@pytest.mark.parametrize("name", ["mix665k.json", "mix665k.jsonl"])
def test_records_of_text_alone_are_left_out_and_counted(tmp_path: Path, captions: Captions | None, name: str) -> None:
    text = {"id": "sg_1", "model": "", "conversations": [{"from": "human", "value": "Hi"}]}
    records = [LLAVA[0], text, LLAVA[1], text | {"image": None}, text | {"image": ""}]
    content = records if name.endswith(".json") else lines(*records)
    data = read_data(write(touch(tmp_path, "000000000009.jpg") / name, content), captions=captions)
    assert list(described(data)) == ["000000000030.jpg", "000000000009.jpg"]
    place = "entry [1]" if name.endswith(".json") else "line 2"
    assert data.notes == (f"{name}: 3 of 5 records have no image and are left out, {place} first.",)


def test_linked_subfolders_are_followed_once(tmp_path: Path) -> None:
    folder = touch(tmp_path / "data" / "z", "1.png").parent
    touch(tmp_path / "elsewhere" / "deep", "2.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(folder / "z")  # before z by name, yet z is its own place
    (tmp_path / "elsewhere" / "circle").symlink_to(folder)
    data = read_data(str(folder))
    assert list(described(data)) == ["linked/deep/2.png", "z/1.png"]
    assert data.notes == tuple(
        f"{folder / name} is a link to a folder whose images are included already; it is left out."
        for name in ("again", "linked/circle")
    )


def test_a_folder_that_is_a_link_itself_has_its_images(tmp_path: Path) -> None:
    touch(tmp_path / "data", "1.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    data = read_data(str(tmp_path / "link"))
    assert list(described(data)) == ["1.png"] and data.notes == ()


def test_links_to_nothing_and_folders_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "1.png")
    (tmp_path / "2.png").symlink_to(tmp_path / "gone.png")
    secret, scandir = touch(tmp_path / "secret"), os.scandir

    def refused(path: str) -> Any:  # the tests may run as root, who may read anything
        if Path(path) == secret:
            raise PermissionError(13, "Permission denied", str(secret))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    data = read_data(str(tmp_path))
    assert list(described(data)) == ["1.png"]
    assert data.notes == (
        f"{tmp_path / '2.png'} is a link to a file that is not there; it is left out.",
        f"{secret} cannot be read and is left out: Permission denied.",
    )


@pytest.mark.parametrize("name", ["data:" + "iVBOR" * 2000, "~nobody-of-this-name/x", "a\0b", "{loop}/x"])
def test_what_cannot_be_a_path_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    name = name.format(loop=tmp_path / "loop")
    path = write(touch(tmp_path, "a.png") / "data.jsonl", lines({"image": "a.png"}))
    for given in ((name,), (path, None, Path(name))):
        with pytest.raises(SamplesError) as failure:
            read_data(*given)
        assert len(failure.value.message) < 400 and failure.value.hint
