"""Number ranges that the list is filtered by: which of a neuron's numbers, and how it is compared."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.labels import Label


class Value(StrEnum):
    """A number of each neuron. A neuron that lacks it is in no range."""

    MAXIMUM = "max"
    PURITY = "purity"  #: share of the first top samples that have the leading concept
    STRENGTH = "strength"  #: of the leading concept, as the page shows it
    SCORE = "score"  #: of its explanation
    MARGIN = "margin"  #: of the leading fraction
    CLEARNESS = "clearness"
    VISUAL = "visual"  #: the fraction of the votes, as the next three
    TEXT = "text"
    MULTIMODAL = "multimodal"
    UNKNOWN = "unknown"

    @property
    def label(self) -> Label | None:
        """The label whose fraction it is, if it is one."""
        return Label[self.name] if self.name in Label.__members__ else None


_COMPARE: dict[str, Callable[[Any, float], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}
COMPARISONS = tuple(_COMPARE)


@dataclass(frozen=True)
class Range:
    """``purity>0.5``: a comparison is one of ``COMPARISONS``, the number is finite."""

    value: Value
    comparison: str
    number: float

    def holds(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Where ``values`` are in the range; never where they are nan."""
        found: NDArray[np.bool_] = _COMPARE[self.comparison](values.astype(np.float64), self.number)
        return found

    def __str__(self) -> str:
        number = str(int(self.number)) if self.number.is_integer() and abs(self.number) < 1e15 else repr(self.number)
        return f"{self.value}{self.comparison}{number}"


def number_of(text: str) -> float | None:
    """The finite number that ``text`` is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
