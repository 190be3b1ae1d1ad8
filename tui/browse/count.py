"""A count that is typed before a move: ``10j`` goes ten neurons further.

The digits 1 to 4 are verdicts, at once. A 0 shortly after one takes the verdict back, and makes both a count.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from vlmscope.tui.browse.session import Session
from vlmscope.tui.views.scene import Changed

MOST = 1_000_000  #: larger counts are this one: no list is longer
#: Actions that a count belongs to, or that make one.
_TAKES = frozenset({"step", "layer", "sample", "match", "half_page", "scroll_text", "pick", "digit", "verdict", "back"})


@dataclass(eq=False)
class Count:
    """What was typed of a count.

    Attributes:
        show: paints what has changed.
        undecide: takes the last verdict back, as if its key had not been pressed.
        within_s: how long that is possible.
        decided: the digit of the verdict that was given last, and when; None if another key came after it.
    """

    session: Session
    show: Callable[[Changed], None]
    undecide: Callable[[], None]
    within_s: float
    decided: tuple[int, float] | None = None

    def before(self, action: str) -> None:
        """Another action is about to run: a count that it does not take is dropped."""
        name = action.partition("(")[0].rpartition(".")[2]
        if name not in ("verdict", "digit"):
            self.decided = None
        if name not in _TAKES:
            self._set(0)

    def digit(self, number: int) -> None:
        """A digit was typed that is not a verdict."""
        decided, self.decided = self.decided, None
        begun = self.session.scene.count
        if not begun and number == 0:
            if decided is None or time.monotonic() - decided[1] > self.within_s:
                return
            begun = decided[0]
            self.undecide()
        self._set(min(10 * begun + number, MOST))

    def is_verdict(self, number: int) -> bool:
        """Whether the digit of a verdict is one, and not part of a count."""
        if self.session.scene.count:
            self.digit(number)
            return False
        self.decided = number, time.monotonic()
        return True

    def take(self) -> int:
        """How often a move is made."""
        count = self.session.scene.count
        self._set(0)
        return count

    def drop(self) -> bool:
        """Forget the count; False if there is none."""
        had = self.session.scene.count > 0
        self._set(0)
        return had

    def _set(self, count: int) -> None:
        if count != self.session.scene.count:
            self.show(self.session.change(count=count))
