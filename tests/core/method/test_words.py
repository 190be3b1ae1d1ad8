"""Words of descriptions: what counts as one, plurals, and in how many descriptions each is."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.base.text import plain
from vlmscope.core.method.words import LONGEST_WORD, NO_WORD, RUNNING_WORDS, WordCounts, count_words, singular, words_of


def counted(descriptions: list[str | None], at_least: int = 1) -> dict[str, int]:
    found = count_words(descriptions, at_least)
    return dict(zip(found.words, found.frequency.tolist(), strict=True))


def has(found: WordCounts, description: int) -> set[str]:
    return {found.words[i] for i in found.ids[description].tolist() if i != NO_WORD}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Dog's red T-shirt, and the dog’s ball.", ["dog", "red", "t-shirt", "dog", "ball"]),
        ("it's isn't the one of them", []),
        ("x 7 42 b2b 3D route66", ["route"]),
        ("rock'n'roll -dash- 'quoted'", ["rock'n'roll", "dash", "quoted"]),
        ("Собака на траве", ["собака", "на", "траве"]),
        ("कुत्ता और बिल्ली", ["कुत्ता", "और", "बिल्ली"]),
        ("火车 كلب ΣΚΎΛΟΣ", ["火车", "كلب", "σκύλος"]),
        ("cafe\u0301", ["café"]),
        ("\x1b[31mred\x1b[0m [bold]fish[/bold]", ["mred", "bold", "fish", "bold"]),
        ("snake_case", ["snake", "case"]),
        ("w" * LONGEST_WORD + " " + "v" * (LONGEST_WORD + 1), ["w" * LONGEST_WORD]),
        ("", []),
    ],
)
def test_the_words_of_a_text(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text(st.characters(codec="ascii")))
def test_ascii_has_the_same_words_by_its_own_pattern(text: str) -> None:
    assert words_of(text) == words_of(f"{text} é")


@given(st.text())
def test_a_word_is_harmless_whatever_the_text(text: str) -> None:
    for word in words_of(text):
        assert plain(word) == word
        assert all(unicodedata.category(c)[0] in "LM" or c in "'-" for c in word)


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("dogs", "dog", "dog"),
        ("dogs", "cat", "dogs"),
        ("planes", "plane plan", "plane"),
        ("buses", "bus", "bus"),
        ("glasses", "glass", "glass"),
        ("glass", "glas", "glass"),
        ("watches", "watch", "watch"),
        ("tomatoes", "tomato", "tomato"),
        ("cities", "city", "city"),
        ("leaves", "leaf", "leaf"),
        ("knives", "knife", "knife"),
        ("women", "woman", "woman"),
        ("news", "new", "news"),
        ("bus", "bu", "bus"),
        ("planes", "plan", "planes"),
    ],
)
def test_a_plural_is_its_singular_where_there_is_one(word: str, known: str, expected: str) -> None:
    assert singular(word, known.split()) == expected


def test_descriptions_are_counted_not_words() -> None:
    descriptions: list[str | None] = ["dog dog dogs", "a dog", None, "cat", "fish", "42", "the cats"]
    assert counted(descriptions) == {"cat": 2, "dog": 2, "fish": 1}
    found = count_words(descriptions)
    assert found.descriptions == 6
    assert [has(found, i) for i in range(7)] == [{"dog"}, {"dog"}, set(), {"cat"}, {"fish"}, set(), {"cat"}]
    assert found.words == ("cat", "dog", "fish"), "alphabetical"


def test_words_of_more_than_half_the_descriptions_are_their_template() -> None:
    assert counted(["image dog red", "image cat red", "image fish", "image bird"]) == {
        "bird": 1,
        "cat": 1,
        "dog": 1,
        "fish": 1,
        "red": 2,
    }


def test_rare_words_are_left_out_when_asked() -> None:
    assert counted(["dog cat", "dog bird", "cats", "fish", "", ""], at_least=2) == {"cat": 2, "dog": 2}


def test_of_too_many_words_the_most_frequent_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmscope.core.method.words.NO_WORD", 2)
    assert counted(["zebra ant", "zebra bee", "cat", "dog", "", ""]) == {"ant": 1, "zebra": 2}


def test_only_the_first_words_of_a_long_description_count() -> None:
    assert counted(["dog " * RUNNING_WORDS + "cat", "fish", ""]) == {"dog": 1, "fish": 1}


@pytest.mark.parametrize("descriptions", [[], [None], ["the of and", "is it"], ["", "7 8 9"]])
def test_there_may_be_no_words(descriptions: list[str | None]) -> None:
    found = count_words(descriptions)
    assert found.words == ()
    assert found.ids.shape == (len(descriptions), 0)
    assert found.frequency.dtype == np.int64
