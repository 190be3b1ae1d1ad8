"""The fields of a listing that a scan keeps: one value each, within bounds."""

import json
from pathlib import Path
from typing import Any

from vlmscope.core.base.fields import MOST, NAME_LENGTH, VALUE_LENGTH
from vlmscope.core.data.fields import kept_fields
from vlmscope.core.data.samples import read_data


def kept(*records: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    found, notes = kept_fields(records)
    return [dict(own) for own in found], notes


def test_single_values_are_kept_and_nothing_else() -> None:
    record = {"image": "a.jpg", "description": "x", "id": 7, "culture": "Thai", "indoor": False, "share": 0.5}
    left_out = {"boxes": [1], "more": {"a": 1}, "none": None, "empty": "", "nan": float("nan"), "half": "\ud83d"}
    own = {"id": 7, "culture": "Thai", "indoor": False, "share": 0.5}
    assert kept(record | left_out, {"culture": ["two"]}, {"culture": "Korean", "conversations": []}) == (
        [own, {}, {"culture": "Korean"}],
        [],
    )


def test_what_is_too_long_or_too_much_is_named() -> None:
    longest = "n" * NAME_LENGTH
    found, notes = kept({longest: "v" * VALUE_LENGTH, longest + "n": 1, "a=b": 1}, {longest: "v" * (VALUE_LENGTH + 1)})
    assert found == [{longest: "v" * VALUE_LENGTH}, {}]
    assert [note.partition(":")[0] for note in notes] == [
        "Fields with a name of more than 64 characters, or with '=', are not kept",
        f"Field {longest}",
    ]
    assert notes[0].endswith("n…, a=b.") and notes[1].endswith("1 values of more than 200 characters are not kept.")
    found, notes = kept({f"f{at}": at for at in range(MOST + 2)})
    assert list(found[0]) == [f"f{at}" for at in range(MOST)]
    assert notes == ["Of 34 fields the first 32 are kept, without f32, f33 and those that follow."]


def test_they_are_no_part_of_the_datas_identity(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    identities = set()
    for record in ({}, {"culture": "Thai"}, {"culture": "Korean", "x=": 1}):
        (tmp_path / "list.jsonl").write_text(json.dumps({"image": "a.png", "description": "a", **record}))
        data = read_data(str(tmp_path / "list.jsonl"))
        identities.add(data.identity)
    assert len(identities) == 1
    assert data.fields == ("culture",) and data.described({0: "b"}).sources[0].fields == {"culture": "Korean"}
    assert len(data.notes) == 1 and data.without_fields().fields == ()
