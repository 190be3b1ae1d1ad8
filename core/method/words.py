"""The words of descriptions: which exist, in how many descriptions each is, and which each description has.

A word is letters of any script, with apostrophes and hyphens between them, in lower case. Words of one letter, numbers
and English stop words are left out, and so are words of more than half of all descriptions (their template: "image",
"shows"). Only the first ``RUNNING_WORDS`` of a description count. In a script without spaces a clause is one word.
"""

import re
import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.stop_words import STOP_WORDS

NO_WORD = 0xFFFF  #: fills the place of an id where there is no word
LONGEST_WORD = 40  #: letters; anything longer is not a word
RUNNING_WORDS = 300  #: words of one description that count
TEMPLATE_SHARE = 0.5  #: a word of more descriptions than this share is part of their template

_ASCII = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_IRREGULAR = {"men": "man", "women": "woman", "children": "child"}
_NO_PLURALS = frozenset({"news"})
_SINGULARS = (  # endings: of the plural, of the singular, and what must stand before them
    ("s", "", r"[^s]"),  # dogs
    ("es", "", r"s|x|z|ch|sh|o"),  # buses, boxes, tomatoes; glasses too
    ("ies", "y", r""),  # cities
    ("ves", "f", r""),  # leaves
    ("ves", "fe", r""),  # knives
)


@dataclass(frozen=True)
class WordCounts:
    """The words of a scan's descriptions.

    Attributes:
        words: W words, alphabetically; a word's place is its id.
        frequency: int64 (W,), how many descriptions have it.
        ids: uint16 (samples, longest), the words that each description has, each once, padded with ``NO_WORD``.
        descriptions: how many descriptions were counted.
    """

    words: tuple[str, ...]
    frequency: NDArray[np.int64]
    ids: NDArray[np.uint16]
    descriptions: int


def words_of(text: str) -> list[str]:
    """The words of ``text`` in their order, without stop words, plurals as they stand."""
    found = []
    pattern = _ASCII if text.isascii() else word_pattern()  # the same words, in a twentieth of the time
    for match in pattern.finditer(unicodedata.normalize("NFC", text).lower().replace("’", "'")):
        word = match[0].removesuffix("'s") if match[0] not in STOP_WORDS else ""
        if 1 < len(word) <= LONGEST_WORD and word not in STOP_WORDS:
            found.append(word)
    return found


def singular(word: str, known: Container[str]) -> str:
    """The singular of ``word``, if ``word`` looks like a plural and its singular is ``known``; else ``word`` itself.

    The rules are of spelling alone and can err. So a word only becomes a singular that the same data has.
    """
    if word in _IRREGULAR and _IRREGULAR[word] in known:
        return _IRREGULAR[word]
    if word in _NO_PLURALS:
        return word
    for plural_end, singular_end, before in _SINGULARS:
        stem = word.removesuffix(plural_end)
        if stem == word or len(stem) + len(singular_end) < 3 or not re.search(f"(?:{before})$", stem):
            continue
        if stem + singular_end in known:
            return stem + singular_end
    return word


def count_words(descriptions: Sequence[str | None], at_least: int = 1) -> WordCounts:
    """Count the words of ``descriptions`` by presence; None stands for a skipped sample, which does not count.

    Args:
        at_least: leave out words of fewer descriptions than this. Of the rest, the 65,535 most frequent are kept.
    """
    known: dict[str, int] = {}
    rows = []
    for text in descriptions:
        words = [] if text is None else words_of(text)[:RUNNING_WORDS]
        rows.append(np.array([known.setdefault(word, len(known)) for word in words], dtype=np.int64))
    folded: dict[str, int] = {}
    fold = np.array([folded.setdefault(singular(word, known), len(folded)) for word in known], dtype=np.int64)
    rows = [np.unique(fold[row]) for row in rows]
    everything = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
    frequency = np.bincount(everything, minlength=len(folded))
    counted = sum(text is not None for text in descriptions)
    spelled = list(folded)
    kept = [i for i, n in enumerate(frequency.tolist()) if at_least <= n <= TEMPLATE_SHARE * counted]
    kept = sorted(kept, key=lambda i: (-frequency[i], spelled[i]))[:NO_WORD]
    kept.sort(key=lambda i: spelled[i])
    place = np.full(len(folded), NO_WORD, dtype=np.uint16)
    place[kept] = np.arange(len(kept))
    found = [ids[ids != NO_WORD] for ids in (place[row] for row in rows)]
    ids = np.full((len(rows), max((len(row) for row in found), default=0)), NO_WORD, dtype=np.uint16)
    for row, words_found in enumerate(found):
        ids[row, : len(words_found)] = words_found
    return WordCounts(tuple(spelled[i] for i in kept), frequency[kept], ids, counted)


@cache
def word_pattern() -> re.Pattern[str]:
    """Letters and their marks (vowel signs, accents), by Unicode's categories: ``\\w`` has digits and lacks marks."""
    kinds: dict[str, str] = {"M": "", "N": ""}
    for character in map(chr, range(0x20000)):
        kind = unicodedata.category(character)[0]
        if kind in kinds:
            kinds[kind] += character
    letter, marks = rf"[^\W_{kinds['N']}]", kinds["M"]
    letters = rf"{letter}(?:{letter}|[{marks}])*"
    return re.compile(rf"{letters}(?:['-]{letters})*")
