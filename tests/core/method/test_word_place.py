"""The words that tokens are part of."""

from hypothesis import given
from hypothesis import strategies as st

from vlmscope.core.method.word_place import word_at, words_of_tokens

TOKENS = [" a", "pple", "s", " It's", "-", " ", ".", " big red", "", " 12", " Ox"]


@given(st.lists(st.sampled_from(TOKENS), max_size=8))
def test_the_words_of_all_tokens_are_those_of_each(tokens: list[str]) -> None:
    assert words_of_tokens(tokens) == [word_at(tokens, at)[0] for at in range(len(tokens))]


def test_a_word_is_spelled_as_it_stands() -> None:
    assert words_of_tokens([" Ze", "bra", "s", ".", " two"]) == ["Zebras", "Zebras", "Zebras", ".", "two"]
