"""A place of a sample: a patch of its picture, or a word of its description."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlmscope.core.base.errors import UsageError
from vlmscope.core.method.layout import VisualLayout
from vlmscope.core.method.word_place import word_tokens
from vlmscope.core.method.words import words_of

NEAR = 1  #: patches around a patch that count as near it
WORDS_NAMED = 20  #: words of a description that a message lists


@dataclass(frozen=True)
class Place:
    """A patch of a picture or a word of a description. Make it with ``patch_place`` or ``word_place``.

    Attributes:
        visual: the visual tokens on the patch; empty for a word. near: those on the patches around it, too.
        text: the word's tokens in the description; empty for a patch.
        before: whether the word is read where it is predicted, one position before its first token.
        name: ``patch 3,4`` or ``word "shirt"``.
    """

    name: str
    visual: tuple[int, ...] = ()
    near: tuple[int, ...] = ()
    text: tuple[int, ...] = ()
    before: bool = False


def patch_place(layout: VisualLayout, row: int, column: int, grid: tuple[int, int] | None = None) -> Place:
    """The patch at a row and a column, from 0.

    Args:
        grid: rows and columns that they count; None for the layout's own.

    Raises:
        UsageError: if it is outside the grid.
    """
    rows, columns = grid or layout.grid
    if not (0 <= row < rows and 0 <= column < columns):
        raise UsageError(
            f"patch {row},{column} is outside the picture: it has {rows} rows and {columns} columns of patches.",
            f"Rows go from 0 to {rows - 1}, columns from 0 to {columns - 1}.",
        )
    tokens, cells = layout.pairs(rows, columns)
    y, x = np.divmod(cells, columns)
    visual = tokens[(y == row) & (x == column)]
    near = tokens[(abs(y - row) <= NEAR) & (abs(x - column) <= NEAR)]
    return Place(f"patch {row},{column}", tuple(visual.tolist()), tuple(np.unique(near).tolist()))


def word_place(tokens: Sequence[str], word: str, *, before: bool = False) -> Place:
    """The first place of a word in a description.

    Args:
        tokens: of the description.
        before: where the model predicts it.

    Raises:
        UsageError: if the description lacks it.
    """
    found = word_tokens(tokens, word)
    if not found:
        has = list(dict.fromkeys(words_of("".join(tokens))))
        more = ", ..." if len(has) > WORDS_NAMED else ""
        raise UsageError(
            f"{word.strip()!r} is not in this description.", f"It has: {', '.join(has[:WORDS_NAMED])}{more}."
        )
    return token_place(found, word.strip(), before=before)


def token_place(tokens: tuple[int, ...], word: str, *, before: bool = False) -> Place:
    """The place of a word whose tokens are known, as spelled."""
    return Place(f'word "{word}"{", where it is predicted" if before else ""}', text=tokens, before=before)
