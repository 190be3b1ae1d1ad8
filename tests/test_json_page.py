"""The comparison with docs/json.md finds what it should."""

import copy
from typing import Any

import pytest

from tests.support.json_page import command_of, differences, keeping_to_the_page, page

LABELS = {
    "neuron": "L0/N0",
    "label": "text",
    "high_confidence": False,
    "p": {"visual": 0.0, "text": 1, "multimodal": None, "unknown": 0.0},
    "margin": 0.5,
    "sign_p": 0.1,
    "interval": [0.5, 0.8],
    "fragile": False,
}


def changed(*path: str, value: object = None) -> list[dict[str, Any]]:
    """A list with one good and one changed neuron; without the last key of ``path`` where ``value`` is None."""
    found: dict[str, Any] = copy.deepcopy(LABELS)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return [LABELS, found]


def test_what_keeps_to_the_page() -> None:
    node = page()[0]["labels --neurons"]
    assert differences([], node) == [] and differences([LABELS, LABELS | {"interval": None}], node) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (changed("fragile"), "[].fragile is missing"),
        (changed("new", value=1), "docs/json.md lacks [].new"),
        (changed("p", "text"), "[].p.text is missing"),
        (changed("p", "text", value="1"), "[].p.text is 1"),
        (changed("p", value=[1]), "[].p is [1], not an object"),
        (changed("high_confidence", value=1), "[].high_confidence is 1, not boolean"),
        (changed("margin", value=True), "[].margin is True, not number"),
        (changed("interval", value=[0.5, None]), "[].interval"),
        ({}, "is not a list"),
    ],
)
def test_what_does_not(value: object, words: str) -> None:
    found = differences(value, page()[0]["labels --neurons"])
    assert len(found) == 1 and words in found[0]


def test_the_section_with_most_words_counts() -> None:
    assert command_of(["labels", "demo", "--json"]) == "labels"
    assert command_of(["labels", "demo", "--json", "--neurons"]) == "labels --neurons"
    with pytest.raises(AssertionError, match="no section"):
        command_of(["open", "demo", "--json"])


def test_commands_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: list[str]) -> int:
        print('{"neurons": 1}')
        return 0

    assert keeping_to_the_page(run)(["concepts", "demo"]) == 0
    with pytest.raises(AssertionError, match="with_concepts is missing"):
        keeping_to_the_page(run)(["concepts", "demo", "--json"])
    assert capsys.readouterr().out.count("neurons") == 2  # nothing is swallowed
