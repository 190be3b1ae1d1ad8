"""Causal checks of a neuron, or of sets, as the page shows them: one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmscope.core.notebook.check import CausalCheck
    from vlmscope.core.notebook.values import SavedCheck


@dataclass(frozen=True, eq=False)
class CheckView:
    """One of several checks.

    Attributes:
        check: None if there is none yet.
        place: from 0, the newest first. count: how many checks there are.
        doing: the background work on the neuron; empty without any.
        check_key: the key that begins a check, as the user has mapped it.
    """

    check: "CausalCheck | None" = None
    place: int = 0
    count: int = 0
    doing: str = ""
    check_key: str = "C"


def check_view(saved: "Sequence[SavedCheck]", place: int, doing: str = "", check_key: str = "C") -> CheckView:
    """One of several checks; the last one for a larger ``place``, the first one for a negative."""
    if not saved:
        return CheckView(doing=doing, check_key=check_key)
    place = min(max(place, 0), len(saved) - 1)
    return CheckView(saved[place].check, place, len(saved), doing, check_key)
