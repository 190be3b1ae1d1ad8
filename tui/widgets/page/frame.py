"""How the page's room is divided."""

from dataclasses import dataclass
from functools import lru_cache

from vlmscope.tui.views.state import Mode

SCALE = 5  #: cells of the 0-10 scale: a number, a blank, two cells of colour
GAP = 1
LEAST_BESIDE = 20  #: cells that facts need beside the pictures


@dataclass(frozen=True)
class PageFrame:
    """How many cells each part gets. ``picture``: width and height of each of the two boxes."""

    width: int
    height: int
    picture: tuple[int, int]
    beside: int  #: width of the facts beside the pictures, 0 if they are below
    words: int  #: lines of the description
    facts: int  #: lines of the facts below


HEAD = 5  #: lines above the pictures: neuron, votes, sample, vote, captions
LEAST_WORDS = 4
FACTS = 4  #: least lines of the facts below: a blank, the concepts, the explanation, the peaks
FACTS_WANTED = 8  #: the same with what it writes, both distributions and a second line of explanation


def words_lines(tokens: int, width: int) -> int:
    """Lines that a description of ``tokens`` tokens takes: English has five and a half letters to a token."""
    return max(LEAST_WORDS, -(-tokens * 11 // (2 * max(width, 1))) + 1)


@lru_cache(maxsize=64)
def frame(width: int, height: int, mode: Mode, tokens: int) -> PageFrame:
    """Divide the page: pictures as large as they can be, but never at the cost of the words.

    Args:
        tokens: of the scan's longest description; the same for all samples, so that nothing jumps between them.
    """
    widest = max((width - SCALE - 2 * GAP) // 2, 2)
    if mode is Mode.ZOOM:
        rows = max(min((widest + 1) // 2, height - HEAD - 2), 1)
        size = (min(widest, 2 * rows), rows)
        return PageFrame(width, height, size, 0, max(height - HEAD - rows, 0), 0)
    rows = max(min(widest // 2, height - HEAD - LEAST_WORDS), 1)
    beside = width - 2 * 2 * rows - SCALE - 3 * GAP
    if beside >= LEAST_BESIDE:
        return PageFrame(width, height, (2 * rows, rows), beside, max(height - HEAD - rows, 0), 0)
    rows = max(min(widest // 2, height - HEAD - LEAST_WORDS - FACTS), 1)
    rest = max(height - HEAD - rows, 0)
    facts = min(rest - LEAST_WORDS, FACTS_WANTED) if rest >= FACTS + LEAST_WORDS else 0
    words = min(rest - facts, words_lines(tokens, width - 4))
    return PageFrame(width, height, (min(widest, 2 * rows), rows), 0, words, rest - words)
