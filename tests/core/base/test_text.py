"""Hostile text must reach a terminal as text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.base.text import plain, written

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))  # lone surrogates too


@given(ANY_TEXT)
def test_no_control_character_and_no_override_gets_through(text: str) -> None:
    clean = plain(text)
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in clean)
    assert not any(
        unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"} for c in clean
    )
    clean.encode("utf-8")


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[2Jgone", " [2Jgone"),
        ("\x1b]0;title\x07x", " ]0;title x"),
        ("\x9b31mred", " 31mred"),
        ("a\r\nb\tc", "a  b c"),
        ("\u202etxt.exe", " txt.exe"),
        ("[/red][bold]x", "[/red][bold]x"),  # markup is switched off, not escaped
        ("photo\udcff.jpg", "photo?.jpg"),
        ("naïve 火车 🚂", "naïve 火车 🚂"),
    ],
)
def test_what_becomes_of_it(hostile: str, harmless: str) -> None:
    assert plain(hostile) == harmless


@given(ANY_TEXT, st.integers(1, 20))
def test_a_limit_is_kept(text: str, limit: int) -> None:
    cut = plain(text, limit)
    assert len(cut) <= limit
    if len(text) > limit:
        assert cut.endswith("…")
        assert plain(text).startswith(cut[:-1])
    else:
        assert cut == plain(text)


@given(ANY_TEXT)
def test_a_note_keeps_all_but_control_characters(text: str) -> None:
    kept = written(text)
    assert len(kept) == len(text)
    for old, new in zip(text, kept, strict=True):
        assert new == (" " if unicodedata.category(old) == "Cc" and old not in "\t\n\r" else old)
