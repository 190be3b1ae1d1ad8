"""The places that the user has been at, to go back and forward through them: a frozen value."""

from dataclasses import dataclass

from vlmscope.core.base.neuron import Neuron
from vlmscope.tui.views.state import Listed, State

PLACES = 100  #: that are kept in either direction


@dataclass(frozen=True)
class Place:
    """A neuron on the page, beside a list; ``left`` as in ``State``."""

    neuron: Neuron
    listed: Listed
    left: Listed | None = None


@dataclass(frozen=True)
class History:
    """Places before the one that is shown, and after it; the nearest of each is the last."""

    back: tuple[Place, ...] = ()
    ahead: tuple[Place, ...] = ()

    def leave(self, place: Place) -> "History":
        """The history after a jump away from ``place``."""
        return self if self.back[-1:] == (place,) else History((*self.back, place)[-PLACES:])

    def step(self, by: int, here: Place) -> "tuple[Place, History] | None":
        """The place before ``here`` (-1) or after it (1), and the history there; None where there is none."""
        before, after = (self.back, self.ahead) if by < 0 else (self.ahead, self.back)
        while before and before[-1] == here:
            before = before[:-1]
        if not before:
            return None
        rest, passed = before[:-1], (*after, here)[-PLACES:]
        return before[-1], History(rest, passed) if by < 0 else History(passed, rest)


def place_of(state: State) -> Place:
    """Where the user is, to be gone back to."""
    return Place(state.neuron, Listed(state.filter, state.order), state.left)
