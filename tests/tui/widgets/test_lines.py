"""What Textual's own widgets draw: the same cells, without what a terminal would obey."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip

from vlmscope.core.base.text import plain
from vlmscope.tui.widgets.lines import PlainLines

BLACK, RED = Color(0, 0, 0), Style(color="red")
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))  # lone surrogates too


@given(ANY_TEXT, ANY_TEXT)
def test_nothing_is_obeyed_and_the_width_stays(one: str, other: str) -> None:
    before = Strip([Segment(one, RED), Segment(other)])
    after = Strip(PlainLines().apply([Segment(one, RED), Segment(other)], BLACK))
    assert after.cell_length == before.cell_length
    assert plain(after.text) == after.text
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in after.text)


def test_what_is_harmless_is_not_copied() -> None:
    segments = [Segment("naïve 火车 🚂 שלום", RED), Segment("")]
    assert PlainLines().apply(segments, BLACK) is segments


def test_sequences_lose_what_makes_them_one() -> None:
    segments = [Segment("a\x1b]52;c;UFdO\x07b\x9b8m\u202ec\ud800", RED)]
    assert PlainLines().apply(segments, BLACK) == [Segment("a]52;c;UFdOb8mc?", RED)]
