"""The columns of the list of neurons: which of them have room, and the value that sorts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vlmscope.core.analysis.preference import Preference
from vlmscope.tui.views.columns import value
from vlmscope.tui.views.ranges import Value
from vlmscope.tui.views.scene import Scene
from vlmscope.tui.views.state import Order
from vlmscope.tui.widgets.numbers import activation, fraction

ADDRESS, SHORT_ADDRESS = 12, 6  #: cells of an address with its layer, and without; the pointer's among them
MARKS = 4
LABEL = 7  #: the letter, and the share of votes
HIGH = 5
NUMBER = 8
LEAST_WORDS = 14  #: cells of concepts: nearly any single one is whole
MOST_WORDS = 48
LEAST_BAR, MOST_BAR = 10, 30
FRACTIONS = 16


@dataclass(frozen=True)
class ListColumns:
    """Cells of each column; 0 for one that has no room. Whole columns are left out, the least important first."""

    address: int
    sorts: int = 0  #: the value that sorts
    maximum: int = 0
    high: int = 0
    bar: int = 0
    fractions: int = 0
    words: int = 0


@lru_cache(maxsize=64)
def list_columns(
    width: int, *, whole: bool, concepts: bool, sorts: bool, maximum_sorts: bool, poled: bool = False
) -> ListColumns:
    """Divide ``width`` cells.

    Args:
        whole: rows of several layers. concepts: the scan has them.
        sorts: another value than index and maximum sorts. maximum_sorts: the maximum does.
        poled: addresses end with a pole.
    """
    address = (ADDRESS if whole else SHORT_ADDRESS) + poled
    room = width - 1 - address - MARKS - LABEL  # the last cell is the scroll bar's

    def take(cells: int, wanted: bool = True) -> int:
        nonlocal room
        if not wanted or cells > room:
            return 0
        room -= cells
        return cells

    number = take(NUMBER, sorts or maximum_sorts)
    words = take(LEAST_WORDS, concepts)
    sorting, maximum = (number, take(NUMBER)) if sorts else (0, number or take(NUMBER))
    high, bar, fractions = take(HIGH), take(LEAST_BAR), take(FRACTIONS)
    if concepts and not words:
        words = take(room, room >= LEAST_WORDS // 2)
    if words:
        words += take(max(min(room, MOST_WORDS - words), 0))
    if bar:
        bar += take(max(min(room, MOST_BAR - bar), 0))
    return ListColumns(address, sorting, maximum, high, bar, fractions, words)


@dataclass(frozen=True)
class SortedBy:
    """The value that sorts the list: its head, and its text of a neuron by its flat number."""

    head: str
    text: Callable[[int], str]


_VALUES = {
    Order.MARGIN: ("margin", Value.MARGIN, fraction),
    Order.SCORE: ("score", Value.SCORE, lambda number: "" if np.isnan(number) else f"{number:.2f}"),
    Order.CLEAREST: ("clear", Value.CLEARNESS, lambda number: f"{number:.3f}"),
    Order.FRAGILE: ("margin", Value.MARGIN, fraction),
    Order.VISUAL: ("visual", Value.VISUAL, fraction),
    Order.TEXT: ("text", Value.TEXT, fraction),
    Order.MULTIMODAL: ("multi", Value.MULTIMODAL, fraction),
    Order.UNKNOWN: ("unknown", Value.UNKNOWN, fraction),
}
_LETTERS = dict(zip(Preference, "VTM·", strict=False))


def sorted_by(view: Scene) -> SortedBy | None:
    """The value that sorts, where it has no column of its own."""
    columns, order = view.columns, view.state.order
    if order in _VALUES:
        head, which, text = _VALUES[order]
        found = value(columns, view.noted, which)
        return SortedBy(head, lambda flat: text(float(found[flat])))
    if order is Order.CONCEPT:
        strength = columns.strength
        return SortedBy("strength", lambda flat: activation(float(strength[flat])))
    if order is Order.PREFERENCE:
        kinds, passes = columns.preference, columns.passes
        return SortedBy("prefers", lambda flat: f"{_LETTERS[Preference(int(kinds[flat]))]} {passes[flat]}")
    if order is Order.MATCH and view.state.filter.words:
        match = columns.strength_of(view.state.filter.words)
        return SortedBy("match", lambda flat: activation(float(match[flat])) if match[flat] > 0 else "text")
    return None
