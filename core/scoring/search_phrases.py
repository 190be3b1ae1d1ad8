"""What to look for, from an explanation: words that a simulator can look for, found in its phrases or its text."""

from collections.abc import Collection, Sequence

from vlmscope.core.method.words import singular, words_of
from vlmscope.core.notebook.explanation import Explanation


def known_words(text: str, known: Collection[str]) -> tuple[str, ...]:
    """The words of ``text`` that are ``known``, or whose singular is, each once, in their order."""
    found = (word if word in known else singular(word, known) for word in words_of(text))
    return tuple(dict.fromkeys(word for word in found if word in known))


def wanted_words(explanation: Explanation, known: Collection[str]) -> tuple[str, ...]:
    """What a simulator of the words ``known`` looks for.

    Of each visual phrase the last known word, which in English is the noun: "a red train" asks for trains, not for red.
    Where no phrase has one, all known words of the text cue, or else of the text.
    """
    return (
        last_known(explanation.visual_phrases, known)
        or known_words(explanation.text_cue, known)
        or known_words(explanation.text, known)
    )


def last_known(phrases: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Of each phrase the last known word, each once."""
    return tuple(dict.fromkeys(words[-1] for words in (known_words(phrase, known) for phrase in phrases) if words))
