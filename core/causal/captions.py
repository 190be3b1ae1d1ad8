"""Two captions of one picture, without and with an intervention: which words differ, and which objects are lost."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from difflib import SequenceMatcher

from vlmscope.core.causal.words import other_words, place_of


@dataclass(frozen=True)
class CaptionWord:
    """A run of letters between spaces. ``differs``: whether the other caption lacks it at this place."""

    text: str
    differs: bool


@dataclass(frozen=True)
class CaptionChange:
    """The model's own caption, written greedily.

    Attributes:
        before, after: without and with the intervention.
        had_word, has_word: whether each names the word; both False where no word is asked for.
        others: other concept words of ``before``. lost: those that ``after`` lacks.
    """

    before: str
    after: str
    had_word: bool
    has_word: bool
    others: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def unchanged(self) -> bool:
        return self.before == self.after

    @property
    def words(self) -> tuple[CaptionWord, ...]:
        """The words of ``after``, those marked that ``before`` lacks at their place."""
        return differing_words(self.before, self.after)


def caption_change(before: str, after: str, known: AbstractSet[str], word: str) -> CaptionChange:
    """Compare two captions.

    Args:
        known: the words that count as objects. word: the one that is looked for; may be empty.
    """
    others = tuple(other_words((before,), frozenset(known), word))
    return CaptionChange(
        before=before,
        after=after,
        had_word=bool(word) and place_of((before,), word) is not None,
        has_word=bool(word) and place_of((after,), word) is not None,
        others=others,
        lost=tuple(other for other in others if place_of((after,), other) is None),
    )


def differing_words(before: str, after: str) -> tuple[CaptionWord, ...]:
    """The words of ``after`` in order, those marked that an alignment with ``before`` does not pair."""
    left, right = before.split(), after.split()
    same = {
        block.b + at
        for block in SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
        for at in range(block.size)
    }
    return tuple(CaptionWord(text, at not in same) for at, text in enumerate(right))
