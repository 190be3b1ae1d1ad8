"""``vlmscope verdict``: into the notebook, and told what changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.report_parts import explanation, open_notebook
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.values import Entry, Verdict
from vlmscope.core.report.schema import NotedPart
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main

AT = Neuron(2, 17)


def decide(scan: Path, *args: str) -> int:
    return main(["verdict", str(scan), *args])


def entry(scan: Path) -> Entry:
    with open_notebook(ScanStore(scan)) as notebook:
        return notebook.entry(AT)


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_verdict_is_set_changed_and_cleared(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        ("keep", Verdict.KEEP, "L2/N17: verdict none -> keep"),
        ("Reject", Verdict.REJECT, "L2/N17: verdict keep -> reject"),
        ("unsure", Verdict.UNSURE, "L2/N17: verdict reject -> unsure"),
        ("unsure", Verdict.UNSURE, "L2/N17: nothing changed, verdict unsure"),
        ("clear", None, "L2/N17: verdict unsure -> none"),
        ("clear", None, "L2/N17: nothing changed, verdict none"),
    ]
    for word, verdict, line in steps:
        assert decide(scan, "2:17", word) == 0
        assert told(capsys) == [line]
        assert entry(scan).verdict == verdict


def test_notes_and_tags_go_with_it(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(scan, "L2/N17", "keep", "--note", "two\nlines", "--tag", "train", "--tag", "Rail") == 0
    assert told(capsys) == [
        "L2/N17: note none -> 'two lines'",
        "L2/N17: tags none -> Rail, train",
        "L2/N17: verdict none -> keep",
    ]
    assert (entry(scan).note, entry(scan).tags) == ("two\nlines", ("Rail", "train"))
    assert decide(scan, "L2/N17", "keep", "--tag", "wheel", "--tag", "RAIL") == 0
    assert told(capsys) == ["L2/N17: tags Rail, train -> RAIL, train, wheel"]
    assert entry(scan).note == "two\nlines"
    assert decide(scan, "L2/N17", "keep", "--note", "", "--tag", "", "--tag", "new") == 0
    assert (entry(scan).note, entry(scan).tags, entry(scan).verdict) == ("", ("new",), Verdict.KEEP)
    assert decide(scan, "L2/N17", "clear", "--tag", "") == 0
    assert entry(scan) == Entry(AT)


def test_it_is_undone_step_by_step_as_on_the_screen(scan: Path) -> None:
    assert decide(scan, "L2/N17", "keep", "--note", "x") == 0
    with open_notebook(ScanStore(scan)) as notebook:
        assert notebook.undo() is not None
        assert (notebook.entry(AT).verdict, notebook.entry(AT).note) == (None, "x")


def test_json_is_the_whole_entry(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_notebook(ScanStore(scan)) as notebook:
        notebook.add_explanation(AT, explanation("tr\x1bains"))
    assert decide(scan, "L2/N17", "keep", "--note", "hö\x1b[2J", "--json") == 0
    captured = capsys.readouterr()
    assert captured.out.isascii() and "\x1b" not in captured.out + captured.err
    found: dict[str, Any] = json.loads(captured.out)
    assert list(found) == list(NotedPart.model_fields)
    assert (found["neuron"], found["verdict"], found["note"]) == ("L2/N17", "keep", "hö [2J")
    assert found["explanations"][0]["text"] == "tr\x1bains"
    assert NotedPart.model_validate(found).tags == ()


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("L2/N17", "yes"), ("'yes'", "keep, reject, unsure, clear")),
        (("L2/N17", ""), ("''", "keep, reject, unsure, clear")),
        (("L2/N99", "keep"), ("L2/N99 lies outside",)),
        (("here", "keep"), ("'here'", "L27/N3900")),
        (("L2/N17", "keep", "--note", "x", "--tag", "t" * 65), ("too long", "64")),
        (("L2/N17", "keep", "--note", "x", "--tag", "a\x1bb"), ("cannot be shown",)),
        (("L2/N17",), ("VERDICT",)),
    ],
)
def test_what_is_typed_wrong_is_named_and_nothing_is_written(
    scan: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], named: tuple[str, ...]
) -> None:
    assert decide(scan, *args) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "\x1b" not in captured.err
    assert all(one in captured.err for one in named)
    assert entry(scan) == Entry(AT)


def test_the_notebook_lies_where_the_settings_say(scan_copy: Path, own_home: Path) -> None:
    (own_home / "config.toml").write_text('notebooks = "beside"\n')
    assert decide(scan_copy, "L2/N17", "keep") == 0
    assert scan_copy.with_name("copy.notebook.sqlite").exists()


def test_no_scan_and_a_damaged_notebook_are_told(
    scan_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(tmp_path / "none", "L2/N17", "keep") == 1
    assert "is not a scan" in capsys.readouterr().err
    scan_copy.with_name("copy.notebook.sqlite").write_bytes(b"no database" * 100)
    assert decide(scan_copy, "L2/N17", "keep") == 1
    assert "notebook" in capsys.readouterr().err


def test_a_notebook_found_beside_the_scan_is_named(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ScanStore(scan_copy)
    with open_notebook(store) as notebook:
        own = notebook.path
        notebook.set_note(AT, "mine")
    assert decide(scan_copy, "L2/N17", "keep") == 0
    assert "beside" not in capsys.readouterr().err
    beside = own.rename(scan_copy.with_name(f"{scan_copy.name}.notebook.sqlite"))
    said = f"The notebook beside the scan is used: {beside}. To use your own, move that file away."
    for command in (["verdict", str(scan_copy), "L2/N17", "reject"], ["show", str(scan_copy), "L2/N17"]):
        assert main(command) == 0
        assert capsys.readouterr().err.splitlines()[0] == said
    own.write_bytes(beside.read_bytes())
    assert decide(scan_copy, "L2/N17", "keep") == 0
    assert f"is used, not yours ({own}): {beside}." in capsys.readouterr().err
