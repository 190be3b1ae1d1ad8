"""Where a word is in a description: the tokens that it is made of."""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from vlmscope.core.method.words import singular, word_pattern


def word_tokens(tokens: Sequence[str], word: str) -> tuple[int, ...]:
    """The tokens of the first place where a description has ``word``; none where it lacks it.

    Case does not matter. A plural finds its singular, and a singular its plural, by the rules of ``words.singular``.
    Unlike ``words_of`` it also finds stop words.

    Args:
        tokens: spelled; joined they are the description.
    """
    wanted = _as_word(word.strip())
    for found, begin, end in _spans("".join(tokens)):
        if same_word(found, wanted):
            return _overlapping(tokens, begin, end)
    return ()


def has_word(text: str, word: str) -> bool:
    """Whether a description has ``word``, by the same rules."""
    wanted, folded = _as_word(word.strip()), _as_word(text)
    # Looking for what both forms begin with is quick: cit-y, cit-ies; kni-fe, kni-ves; child, child-ren.
    shared = wanted[:-3] if wanted.endswith(("s", "ren")) else wanted[:-2]
    if shared not in folded:
        return False
    return any(same_word(_as_word(found), wanted) for found in set(word_pattern().findall(folded)))


def same_word(one: str, other: str) -> bool:
    """Whether two words in lower case are the same, or one is the other's plural."""
    return other in (one, singular(one, {other})) or singular(other, {one}) == one


def words_with_tokens(tokens: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    """The words of a description in order, stop words too, in lower case, each with the tokens that it is made of."""
    return [(word, _overlapping(tokens, begin, end)) for word, begin, end in _spans("".join(tokens))]


def word_at(tokens: Sequence[str], token: int) -> tuple[str, tuple[int, ...]]:
    """The word that a token is part of, as spelled there, and all its tokens; the token alone where it has no letters.

    Of a token with several words it is the first.
    """
    text = "".join(tokens)
    for _, begin, end in _spans(text):
        found = _overlapping(tokens, begin, end)
        if token in found:
            return text[begin:end], found
    return tokens[token].strip(), (token,)


def words_of_tokens(tokens: Sequence[str]) -> list[str]:
    """Of each token ``word_at``'s word, all at once; its own text where it has no letters."""
    ends = list(accumulate(map(len, tokens)))
    text, found, taken = "".join(tokens), [token.strip() for token in tokens], -1
    for _, begin, end in _spans(text):
        first, last = bisect_right(ends, begin), bisect_left(ends, end)
        for at in range(max(first, taken + 1), min(last + 1, len(tokens))):
            found[at], taken = text[begin:end], at
    return found


def _spans(text: str) -> Iterator[tuple[str, int, int]]:
    """The words of a text, stop words too, in the form in which words are compared, with their first and last place."""
    for match in word_pattern().finditer(text.replace("’", "'")):
        word = _as_word(match[0])
        yield word, match.start(), match.end()


def _as_word(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower().replace("’", "'").removesuffix("'s")


def _overlapping(tokens: Sequence[str], begin: int, end: int) -> tuple[int, ...]:
    found, at = [], 0
    for number, token in enumerate(tokens):
        if at < end and at + len(token) > begin:
            found.append(number)
        at += len(token)
    return tuple(found)
