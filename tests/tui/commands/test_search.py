"""``vlmscope search`` and ``vlmscope concepts``, and the concepts in ``vlmscope show``."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmscope.core.method.concepts import KEPT, Concepts
from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.method.words import NO_WORD
from vlmscope.core.store.concept_files import FOLDER, replace_concepts
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.__main__ import main

WORDS = ("boat", "cat", "dog", "train")


def put(scan: Path, words: tuple[str, ...] = WORDS) -> Concepts:
    """Concepts of the small scan: neuron n of every layer has the words n % 4 and n % 3, and every eighth has none."""
    shape = (4, 32)
    index = np.broadcast_to(np.arange(32), shape)
    layer = np.broadcast_to(np.arange(4)[:, None], shape)
    word = np.full((*shape, KEPT), NO_WORD, dtype=np.uint16)
    strength = np.zeros((*shape, KEPT), dtype=np.float16)
    word[..., 0], strength[..., 0] = index % 4, 20 + index % 5 + layer / 4
    other = (index % 3 != index % 4) & (index % 8 != 0)
    word[..., 1][other], strength[..., 1][other] = (index % 3)[other], (3 + index % 2)[other]
    word[:, ::8], strength[:, ::8] = NO_WORD, 0
    hits = np.where(index % 8 == 0, 0, index % 9).astype(np.uint8)
    concepts = Concepts(words, np.array([1, 2, 3, 4], dtype=np.int64), 12, 8, word, strength, hits)
    replace_concepts(scan, concepts, ScanStore(scan).manifest)
    return concepts


def run_json(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def refused(capsys: pytest.CaptureFixture[str], code: int, *args: str) -> str:
    assert main(args) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def strength_of(entry: dict[str, Any], word: str) -> float:
    return max(float(c["strength"]) for c in entry["concepts"] if c["word"] == word)


def test_every_neuron_that_has_the_word_is_found_the_strongest_first(
    scan_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(scan_copy)
    found = run_json(capsys, "search", str(scan_copy), "cats", "--limit", "1000")
    expected = {f"L{layer}/N{n}" for layer in range(4) for n in range(32) if n % 8 and 1 in (n % 4, n % 3)}
    assert {entry["neuron"] for entry in found} == expected
    strengths = [strength_of(entry, "cat") for entry in found]
    assert strengths == sorted(strengths, reverse=True)
    equal = [entry["neuron"] for entry, s in zip(found, strengths, strict=True) if s == strengths[-1]]
    places = [tuple(int(part[1:]) for part in name.split("/")) for name in equal]
    assert len(places) > 2 and places == sorted(places)


def test_an_entry_says_what_the_scan_holds(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(scan_copy)
    store = ScanStore(scan_copy)
    labels = store.stored_labels()
    first = run_json(capsys, "search", str(scan_copy), "dog", "--limit", "1")
    assert len(first) == 1
    entry = first[0]
    assert list(entry) == ["neuron", "label", "high_confidence", "concepts", "purity", "base_rate"]
    assert entry["neuron"] == "L3/N14"  # 14 % 4 is dog, 14 % 5 the most, layer 3 adds most
    assert entry["label"] == Label(int(labels.label[3, 14])).word
    assert entry["high_confidence"] == bool(labels.high_confidence[3, 14])
    assert entry["concepts"] == [{"word": "dog", "strength": 24.75}]
    assert (entry["purity"], entry["base_rate"]) == (5 / 8, 3 / 12)


@pytest.mark.parametrize("label", [which.word for which in Label])
def test_labels_narrow_the_search_at_any_thresholds(
    scan_copy: Path, capsys: pytest.CaptureFixture[str], label: str
) -> None:
    put(scan_copy)
    thresholds = Thresholds(T_v=6.5, n_v=2, T_t=5, n_t=1)
    labels = ScanStore(scan_copy).labels(thresholds)
    typed = ["--Tv", "6.5", "--nv", "2", "--Tt", "5", "--nt", "1", "--limit", "1000"]
    everything = run_json(capsys, "search", str(scan_copy), "train", *typed)
    assert main(["search", str(scan_copy), "train", "--label", label, *typed, "--json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert found == [entry for entry in everything if entry["label"] == label]
    for entry in everything:
        at = tuple(int(part[1:]) for part in entry["neuron"].split("/"))
        assert entry["label"] == Label(int(labels.label[at])).word


def test_of_several_words_a_neuron_has_all(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(scan_copy)
    found = run_json(capsys, "search", str(scan_copy), "Dog", "boats", "--limit", "1000")
    assert found
    assert all({"dog", "boat"} == {c["word"] for c in entry["concepts"]} for entry in found)


def test_the_table_holds_the_same(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(scan_copy)
    found = run_json(capsys, "search", str(scan_copy), "cat", "--limit", "7")
    assert main(["search", str(scan_copy), "cat", "--limit", "7"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["neuron", "label", "strength", "purity", "base", "concepts"]
    assert len(lines) == 8
    for entry, line in zip(found, lines[1:], strict=True):
        cells = line.split()
        assert cells[0] == entry["neuron"]
        assert cells[2] == entry["label"] and (cells[3] == "high") == entry["high_confidence"]
        cells = [cell for cell in cells if cell != "high"]
        assert cells[3] == f"{strength_of(entry, 'cat'):.1f}"
        assert [float(cells[4]), float(cells[5])] == [round(entry["purity"], 2), round(entry["base_rate"], 2)]
        assert line.endswith(", ".join(f"{c['word']} {c['strength']:.1f}" for c in entry["concepts"]))
    assert "more: --limit" in captured.err
    assert "\x1b" not in captured.out


def test_nothing_found_exits_with_1_and_says_what_is_like_it(
    scan_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(scan_copy)
    assert main(["search", str(scan_copy), "trian", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert "train" in captured.err
    assert main(["search", str(scan_copy), "zebra"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No neuron has 'zebra'" in captured.err
    assert "imilar" not in captured.err


def test_a_word_of_other_labels_only_says_so(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(scan_copy)
    assert main(["search", str(scan_copy), "cat", "--label", "visual", "--Tv", "10", "--Tt", "10"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "of other labels" in captured.err


def test_a_scan_without_concepts_says_how_to_find_them(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, 1, "search", str(scan_copy), "dog")
    assert f"vlmscope concepts {scan_copy}" in error


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("dog", "--label", "red"), "'red'"),
        (("the",), "'the'"),
        (("42",), "'42'"),
        (("",), "''"),
        (("dog", "--limit", "0"), "--limit"),
        (("dog", "--Tv", "11"), "11"),
    ],
)
def test_what_is_typed_wrong_is_named(
    scan_copy: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], named: str
) -> None:
    put(scan_copy)
    assert named in refused(capsys, 2, "search", str(scan_copy), *args)


def test_damaged_concepts_are_explained(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(scan_copy)
    (scan_copy / FOLDER / "word.npy").write_bytes(b"")
    for command in (("search", "dog"), ("show", "L0/N1")):
        error = refused(capsys, 1, command[0], str(scan_copy), *command[1:])
        assert "word.npy" in error and "--again" in error
    assert main(["concepts", str(scan_copy), "--again"]) == 0
    assert ScanStore(scan_copy).concepts is not None


def test_hostile_words_reach_no_terminal(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(scan_copy, ("boat[/red]", "cat\x1b[2J", "dog\u202e", "dot\x07"))
    for args in (
        ["search", str(scan_copy), "cat"],
        ["search", str(scan_copy), "boa"],
        ["show", str(scan_copy), "L0/N1"],
    ):
        for json_too in ([], ["--json"]):
            assert main([*args, *json_too]) == 0
            out = capsys.readouterr().out
            assert out
            assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert main(["search", str(scan_copy), "boat"]) == 0
    assert "boat[/red]" in capsys.readouterr().out
    assert main(["search", str(scan_copy), "x\x1b[2Jqq\u202e"]) == 1
    assert not {"\x1b", "\u202e"} & set(capsys.readouterr().err)


def test_show_has_the_concepts(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_json(capsys, "show", str(scan_copy), "L1/N2")["concepts"] is None
    assert main(["show", str(scan_copy), "L1/N2"]) == 0
    assert "concepts" not in capsys.readouterr().out
    put(scan_copy)
    found = run_json(capsys, "show", str(scan_copy), "L1/N7")
    assert found["concepts"] == [{"word": "train", "strength": 22.25}, {"word": "cat", "strength": 4.0}]
    assert (found["purity"], found["base_rate"]) == (7 / 8, 4 / 12)
    assert main(["show", str(scan_copy), "L1/N7"]) == 0
    assert "concepts: train 22.2, cat 4.0  purity .88 (base .33)\n" in capsys.readouterr().out
    assert main(["show", str(scan_copy), "L1/N8"]) == 0
    assert "concepts: no word stands out\n" in capsys.readouterr().out
    assert run_json(capsys, "show", str(scan_copy), "L1/N8")["concepts"] == []


def test_concepts_are_found_once(scan_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = run_json(capsys, "concepts", str(scan_copy))
    assert list(summary) == ["neurons", "with_concepts", "pure", "words", "descriptions", "seconds"]
    assert (summary["neurons"], summary["descriptions"]) == (128, 12)
    stored = ScanStore(scan_copy).concepts
    assert stored is not None
    assert summary["words"] == len(stored.words)
    mine = put(scan_copy)
    assert main(["concepts", str(scan_copy)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "already" in captured.err
    stored = ScanStore(scan_copy).concepts
    assert stored is not None and stored.words == mine.words
    assert run_json(capsys, "concepts", str(scan_copy), "--again")["words"] == summary["words"]


def test_concepts_of_a_folder_that_cannot_be_written_are_refused_at_once(
    scan_copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmscope.core.store.concept_files.os.access", lambda *_: False)
    assert str(scan_copy) in refused(capsys, 1, "concepts", str(scan_copy))


def test_the_help_says_what_concepts_are(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("search", "concepts"):
        assert main([command, "--help"]) == 0
        assert "not an explanation by a model" in " ".join(capsys.readouterr().out.split())


def test_the_demo_is_searched(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "search", "demo", "helicopters")
    assert found[0]["concepts"][0]["word"] == "helicopter"
    assert found[0]["purity"] > 0.8 > 0.1 > found[0]["base_rate"]
