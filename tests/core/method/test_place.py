"""Places of a sample: words by their tokens, patches by theirs."""

import pytest

from vlmscope.core.base.errors import UsageError
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.method.place import patch_place, word_place
from vlmscope.core.method.word_place import word_at, word_tokens
from vlmscope.core.store.synthetic import tiled_layout

TOKENS = (
    "Two",
    " don",
    "uts",
    " and",
    " a",
    " wo",
    "man's",
    " shirt",
    ".",
    " The",
    " shirts",
    " of",
    " caf\u00e9",
    "\n",
)


@pytest.mark.parametrize(
    ("word", "tokens"),
    [
        ("donut", (1, 2)),  # a plural, of several tokens
        ("DONUTS", (1, 2)),
        ("woman", (5, 6)),
        ("women", (5, 6)),  # a plural that is typed
        ("shirt", (7,)),  # the first place
        ("the", (9,)),  # stop words, too
        ("cafe\u0301", (12,)),  # in another normal form
        (" and ", (3,)),
        ("nut", ()),
        ("shir", ()),
        ("", ()),
    ],
)
def test_a_word_is_found_by_its_spelling(word: str, tokens: tuple[int, ...]) -> None:
    assert word_tokens(TOKENS, word) == tokens


def test_a_token_belongs_to_a_word() -> None:
    assert word_at(TOKENS, 2) == ("donuts", (1, 2))
    assert word_at(TOKENS, 8) == (".", (8,))
    assert word_at(TOKENS, 13) == ("", (13,))
    assert word_at(("ab cd", "ef"), 0) == ("ab", (0,))


def test_a_word_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="'boat' is not in this description") as refused:
        word_place(TOKENS, " boat")
    assert refused.value.hint == "It has: two, donuts, woman, shirt, shirts, caf\u00e9."
    assert word_place(TOKENS, "shirt", before=True).before


def test_a_patch_is_its_tokens_and_those_around_it() -> None:
    place = patch_place(VisualLayout.plain(3, 4), 0, 1)
    assert place.visual == (1,)
    assert place.near == (0, 1, 2, 4, 5, 6)
    assert place.name == "patch 0,1"


def test_a_patch_of_a_picture_that_is_covered_twice_has_tokens_of_both() -> None:
    place = patch_place(tiled_layout((2, 2), (4, 4)), 3, 0)
    assert place.visual == (2, 4 + 12)
    assert place.near == (2, 12, 13, 16, 17)  # the thumbnail's patch covers the finer ones around it


def test_another_grid_has_the_tokens_that_lie_on_its_cells() -> None:
    assert patch_place(VisualLayout.plain(4, 4), 1, 0, grid=(2, 2)).visual == (8, 9, 12, 13)


@pytest.mark.parametrize(("row", "column"), [(3, 0), (0, 4), (-1, 0), (0, -1)])
def test_a_patch_outside_the_picture_is_refused_with_the_range(row: int, column: int) -> None:
    with pytest.raises(UsageError, match=f"patch {row},{column} is outside the picture") as refused:
        patch_place(VisualLayout.plain(3, 4), row, column)
    assert refused.value.hint == "Rows go from 0 to 2, columns from 0 to 3."
