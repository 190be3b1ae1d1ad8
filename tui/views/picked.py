"""Neurons that the user has picked, to do one thing with all of them: one by one, or as a range of the list's rows."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlmscope.tui.views.selection import Selection


@dataclass(frozen=True, eq=False)
class Picked:
    """The picked neurons.

    Attributes:
        flags: bool (L * F,), by flat number.
        begin: the row at which an open range begins; it ends at the cursor. None where no range is open.
        selection: the list that the row belongs to: another list closes the range.
    """

    flags: NDArray[np.bool_]
    begin: int | None = None
    selection: Selection | None = None

    def rows(self, selection: Selection, cursor: int | None) -> tuple[int, int] | None:
        """First and last row of the open range; None where there is none."""
        if self.begin is None or cursor is None or selection is not self.selection:
            return None
        return min(self.begin, cursor), max(self.begin, cursor)

    def flat(self, selection: Selection, cursor: int | None) -> NDArray[np.int64]:
        """All of them, those of the open range too: sorted flat numbers."""
        found = np.flatnonzero(self.flags).astype(np.int64)
        rows = self.rows(selection, cursor)
        return found if rows is None else np.union1d(found, selection.rows[rows[0] : rows[1] + 1])

    def switched(self, flat: int) -> "Picked":
        """With one neuron more, or less."""
        flags = self.flags.copy()
        flags[flat] ^= True
        return replace(self, flags=flags)

    def closed(self, selection: Selection, cursor: int | None) -> "Picked":
        """With the open range's neurons, and no open range."""
        flags = np.zeros_like(self.flags)
        flags[self.flat(selection, cursor)] = True
        return Picked(flags)
