"""What edits of one layer make of a clean pass, by that layer's FFN alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmscope.core.model.clean import CleanPass, Written, stream
from vlmscope.core.model.edits import Entries, Places, Row
from vlmscope.core.model.vlm import Vlm

_ROWS = 64  #: whose entries are in memory at a time


class Changed:
    """Edits at some positions of one sample; z of the last layer is kept, so ask layer by layer."""

    def __init__(self, vlm: Vlm, clean: CleanPass, places: Places) -> None:
        self._vlm, self._clean, self._places = vlm, clean, places
        self._last: tuple[int, Written] | None = None

    def active(self, rows: Sequence[Row]) -> list[int]:
        """The rows whose edits change something, by their number; the others need no pass."""
        found: list[int] = []
        left = list(range(len(rows)))
        for layer in sorted({edit.neuron.layer for row in rows for edit in row}):
            norms = torch.from_numpy(self._vlm.column_norms[layer])
            for first in range(0, len(left), _ROWS):
                numbers = left[first : first + _ROWS]
                entries = Entries([rows[number] for number in numbers], layer)
                if len(entries.index):
                    moved = self._moved(entries, layer).any(dim=1).cpu() & (norms[entries.index] > 0)
                    found += [numbers[at] for at in set(entries.row[moved].tolist())]
            left = sorted(set(left) - set(found))
        return sorted(found)

    def stream(self, layer: int, rows: Sequence[Row], first: int = 0) -> Tensor:
        """The stream that a layer gives whose FFN's output is added to it, with the edits of that layer.

        Returns:
            (B, T - first, H), from position ``first`` on.
        """
        left = stream(self._clean.left[layer])[:, first:]
        entries = Entries(rows, layer)
        moved = self._moved(entries, layer)[:, first:].to(left.device)
        columns = self._vlm.ffns[layer].down_columns(entries.index).to(left.device, torch.float32)
        changed = left.float().repeat(len(rows), 1, 1)
        for row in range(len(rows)):
            own = entries.row == row
            changed[row] += moved[own].T @ columns[own]
        return changed.to(left.dtype)

    def _moved(self, entries: Entries, layer: int) -> Tensor:
        """How much each entry changes its neuron's z, float32 (E, T)."""
        if self._last is None or self._last[0] != layer:
            self._last = layer, self._clean.written(self._vlm.ffns[layer], layer)
        written = self._last[1]
        own, new = entries.values(written.z, written.up, self._places.visual)
        return (new.to(written.z.dtype).float() - own) * self._places.edited.to(own.device)
