"""Words of a description whose log-odds are read: which one a check is about, and which of its tokens that is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.errors import UsageError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.concepts import Concepts
from vlmscope.core.method.word_place import same_word, word_tokens, words_with_tokens
from vlmscope.core.method.words import NO_WORD, singular, words_of

LISTED = 12  #: words of a description that a message names


@dataclass(frozen=True)
class WordPlace:
    """Where a word first occurs in a description.

    Attributes:
        token: its first token, by its number: the one whose log-odds are read.
        tokens: how many tokens it takes.
        spelled: its first token.
    """

    token: int
    tokens: int
    spelled: str


def place_of(tokens: Sequence[str], word: str) -> WordPlace | None:
    """The first occurrence of ``word``, or of its plural or singular, in a description; None where there is none."""
    found = word_tokens(tokens, word)
    return _place(tokens, found) if found else None


def one_word(typed: str, concepts: Concepts | None) -> str:
    """The word that a user typed, as concepts spell it.

    Raises:
        UsageError: if it is not exactly one word, or a stop word.
    """
    words = words_of(typed)
    if len(words) != 1:
        raise UsageError(
            f"{plain(typed, 60)!r} is not a word to check.",
            "Name one word of the description; numbers, single letters and stop words do not count.",
        )
    known = frozenset(() if concepts is None else concepts.words)
    return words[0] if words[0] in known else singular(words[0], known)


def default_word(concepts: Concepts | None, neurons: Sequence[Neuron]) -> str:
    """The word that leads most of the neurons' concepts, of equally frequent ones the first; empty where none leads."""
    if concepts is None:
        return ""
    leading = (concepts.leading(neuron.layer, neuron.index) for neuron in neurons)
    found = Counter(word for word in leading if word)
    return max(found, key=lambda word: found[word], default="")


def leading_words(concepts: Concepts | None) -> frozenset[str]:
    """The words that lead the concepts of any neuron."""
    if concepts is None:
        return frozenset()
    return frozenset(concepts.words[at] for at in np.unique(concepts.word[..., 0]).tolist() if at != NO_WORD)


def other_words(tokens: Sequence[str], known: frozenset[str], word: str) -> dict[str, WordPlace]:
    """The words of a description that are ``known``, each at its first occurrence, without ``word``."""
    found: dict[str, WordPlace] = {}
    for each, of_word in words_with_tokens(tokens):
        folded = each if each in known else singular(each, known)
        if folded in known and not same_word(folded, word):
            found.setdefault(folded, _place(tokens, of_word))
    return found


def check_present(word: str, descriptions: Sequence[Sequence[str]]) -> None:
    """Raise UsageError if none of the descriptions, each as its tokens, has ``word``."""
    if any(place_of(tokens, word) is not None for tokens in descriptions):
        return
    there = dict.fromkeys(each for tokens in descriptions for each in words_of("".join(tokens)))
    listed = ", ".join(list(there)[:LISTED]) or "no words"
    more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
    which = "this description; it has" if len(descriptions) == 1 else "these descriptions; they have"
    raise UsageError(f"{word} is not in {which}: {plain(listed)}{more}.", "Name one of these with --word.")


def _place(tokens: Sequence[str], of_word: tuple[int, ...]) -> WordPlace:
    return WordPlace(of_word[0], len(of_word), tokens[of_word[0]])
