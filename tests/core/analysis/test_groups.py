"""Groups of samples as they are typed, and what is refused."""

from pathlib import Path

import pytest

from vlmscope.core.analysis.groups import Group, GroupKind, counted, groups_apart, two_groups
from vlmscope.core.base.errors import SamplesError, StoreError, UsageError, VlmscopeError
from vlmscope.core.base.fields import Fields
from vlmscope.core.method.word_place import has_word
from vlmscope.core.store.manifest import MANIFEST, Skipped, read_manifest
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.store.synthetic import write_synthetic_scan
from vlmscope.core.store.writer import write_manifest


def members(scan: Path, a: str, b: str = "rest") -> tuple[list[int], list[int]]:
    found = two_groups(ScanStore(scan), Group.parse(a), Group.parse(b))
    return found[0].nonzero()[0].tolist(), found[1].nonzero()[0].tolist()


def test_a_list_of_numbers_and_the_rest(scan: Path) -> None:
    assert members(scan, "samples: 1, 3-5,4") == ([1, 3, 4, 5], [0, 2, *range(6, 12)])
    assert members(scan, "rest", "samples:0") == (list(range(1, 12)), [0])
    assert members(scan, "samples:0,1", "samples:11") == ([0, 1], [11])


def without_dogs(scan: Path, keep: range) -> None:
    """Spell every dog as a cat, of the same length, but in samples of ``keep``; all have a train."""
    lines = (scan / "samples.jsonl").read_bytes().splitlines(keepends=True)
    changed = [line if at in keep else line.replace(b"dog", b"cat") for at, line in enumerate(lines)]
    (scan / "samples.jsonl").write_bytes(b"".join(changed))


def test_a_word_finds_plurals_and_several_words_are_all_needed(scan_copy: Path) -> None:
    without_dogs(scan_copy, range(0, 12, 3))
    dogs = [i for i in range(0, 12, 3) if "dog" in ScanStore(scan_copy).sample(i).description.split()]
    assert members(scan_copy, "word:dogs")[0] == members(scan_copy, "word:Dog")[0] == dogs and dogs
    cakes = {i for i in dogs if "cake" in ScanStore(scan_copy).sample(i).description.split()}
    assert members(scan_copy, "word:cakes dog")[0] == sorted(cakes)


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("Two zebras.", "zebra", True),
        ("A zebra's head", "zebras", True),
        ("The women stand", "woman", True),
        ("a man", "men", True),
        ("Knives lie there", "knife", True),
        ("the trainer", "train", False),
        ("A cafe\u0301 table", "CAFÉ", True),  # the accent apart, and as one letter
        ("", "zebra", False),
    ],
)
def test_has_word(text: str, word: str, found: bool) -> None:
    assert has_word(text, word) is found


def test_a_file_lists_images_and_numbers(scan: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("\ufeffimage_0003.jpg\n\n 7\n", encoding="utf-8")
    assert members(scan, f"file:{listed}")[0] == [3, 7]
    listed.write_text("nowhere.jpg\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"line 1: the scan has no image 'nowhere.jpg'"):
        members(scan, f"file:{listed}")
    listed.write_text("\n", encoding="utf-8")
    with pytest.raises(UsageError, match="lists no sample"):
        members(scan, f"file:{listed}")
    listed.write_bytes(b"\xff\xfe1")
    with pytest.raises(SamplesError, match="not UTF-8"):
        members(scan, f"file:{listed}")
    with pytest.raises(SamplesError, match="cannot be read"):
        members(scan, f"file:{tmp_path / 'none.txt'}")


def test_both_forms_of_a_word_are_found() -> None:
    pairs = "man men, woman women, child children, city cities, knife knives, leaf leaves, bus buses, tomato tomatoes"
    for pair in pairs.split(", "):
        one, many = pair.split()
        assert has_word(f"a {one} there", many) and has_word(f"{many.capitalize()}, there", one), pair


@pytest.mark.parametrize("typed", ["", "zebra", "word:", "word:the", "rest:", "rest:1", "field", "kind:1", "samples:"])
def test_what_is_not_a_group(typed: str) -> None:
    with pytest.raises(UsageError):
        Group.parse(typed)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("rest", "rest", "Both groups are the rest"),
        ("samples:1-5", "samples:5,6", "overlap: samples in both: 1, number 5 first"),
        ("samples:0-11", "rest", "is in rest"),
        ("word:zebra", "rest", "is in word:zebra"),
        ("samples:12", "rest", "There is no sample 12: the scan has 12"),
        ("samples:5-2", "rest", "5-2 ends before it begins"),
        ("samples:1;2", "rest", "is not a sample's number"),
        ("samples:0-999999999", "rest", "There is no sample 999999999"),
    ],
)
def test_groups_that_cannot_be_compared(scan: Path, a: str, b: str, words: str) -> None:
    with pytest.raises(VlmscopeError, match=words):
        members(scan, a, b)


def test_skipped_samples_are_in_no_group(scan_copy: Path) -> None:
    skipped = (Skipped(sample=2, image="image_0002.jpg", reason="test"),)
    manifest = read_manifest(scan_copy).model_copy(update={"skipped": skipped, "scanned": 11})
    (scan_copy / MANIFEST).write_text(manifest.model_dump_json())
    assert counted(ScanStore(scan_copy)).sum() == 11
    assert members(scan_copy, "samples:1-3") == ([1, 3], [0, *range(4, 12)])
    with pytest.raises(UsageError, match=r"No sample of .* is in samples:2"):
        members(scan_copy, "samples:2")
    assert str(Group(GroupKind.WORD, "a\x1b[31m")) == "word:a [31m"


def test_a_field_of_the_listing_is_a_group(tmp_path: Path) -> None:
    fields: list[Fields] = [
        {"culture": "South Korean", "year": 1990},
        {"culture": "Thai", "year": 0.5, "indoor": True},
        {},
    ]
    scan = tmp_path / "scan"
    write_synthetic_scan(scan, layers=1, neurons=2, samples=7, top_n=2, maps=0, grid=(1, 1), image=8, fields=fields)
    assert read_manifest(scan).fields == ("culture", "year", "indoor")
    assert members(scan, "field:culture=South Korean") == ([0, 3, 6], [1, 2, 4, 5])
    assert members(scan, "field: culture = Thai", "field:year=1990.0") == ([1, 4], [0, 3, 6])
    assert members(scan, "field:indoor=true")[0] == members(scan, "field:year=.5")[0] == [1, 4]
    for typed, words, hint in (
        ("field:city=Seoul", "No sample of .* has the field 'city'", "Fields: culture, year, indoor."),
        ("field:culture=korean", "is in field:culture=korean", "Values of culture: South Korean, Thai."),
        ("field:year=x", "is in field:year=x", "Values of year: 1990, 0.5."),
        ("field:culture", "'culture' is not a field and its value", "Write field:NAME=VALUE."),
        ("field:=Thai", "'=Thai' is not a field and its value", "Write field:NAME=VALUE."),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            members(scan, typed)
        assert caught.value.hint == hint
    write_manifest(scan, read_manifest(scan).model_copy(update={"fields": ()}))
    with pytest.raises(UsageError, match="has the field 'culture'") as caught:
        members(scan, "field:culture=Thai")
    assert "Its listing has none" in (caught.value.hint or "")
    write_manifest(scan, read_manifest(scan).model_copy(update={"fields": None}))
    with pytest.raises(StoreError, match="made by an earlier vlmscope, and has no fields"):
        members(scan, "field:culture=Thai")


def test_samples_of_both_groups_can_be_left_out(scan: Path) -> None:
    store = ScanStore(scan)
    a, b, shared = groups_apart(store, Group.parse("samples:1-5"), Group.parse("samples:4-8"))
    assert (a.nonzero()[0].tolist(), b.nonzero()[0].tolist(), shared) == ([1, 2, 3], [6, 7, 8], 2)
    with pytest.raises(UsageError, match="All samples of samples:4,5 are in the other group"):
        groups_apart(store, Group.parse("samples:4,5"), Group.parse("samples:4-8"))
