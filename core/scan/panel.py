"""The panel of a scan in progress: every neuron's largest activations on samples that were drawn before it began.

The reduction has these values already: the first of each sample's order statistics. They are rounded to bfloat16 by
torch; core/method/bfloat16.py reads them without it.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.errors import StoreError
from vlmscope.core.store.arrays import COPY_AGAIN, layers_of
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.panel import PANEL_SAMPLE, PANEL_TEXT, PANEL_VISUAL, draw_panel
from vlmscope.core.store.reader import ScanStore

_NAMES = (PANEL_VISUAL, PANEL_TEXT)


class PanelState:
    """The panel of some layers on one device.

    Attributes:
        values: bfloat16 (2, L, P, F), by kind (0 visual, 1 text); -inf where a sample has no such token, was skipped,
            or was not processed yet. P is 0 where the scan has no panel.
    """

    def __init__(self, manifest: Manifest, layers: int, device: torch.device | str) -> None:
        """Make an empty panel of so many layers of a scan."""
        samples = panel_samples(manifest)
        self._column = {sample: column for column, sample in enumerate(samples)}
        shape = (2, layers, len(samples), manifest.neurons)
        self.values = torch.full(shape, -torch.inf, dtype=torch.bfloat16, device=device)

    def read(self, store: ScanStore, layers: range) -> None:
        """Take these layers of the checkpoint ``store``. Raises StoreError if its panel has other samples."""
        check_panel(store)
        if self._column:
            for values, name in zip(self.values, _NAMES, strict=True):
                stored = np.array(layers_of(name, store.arrays[name], layers)).view(np.int16)
                values.copy_(torch.from_numpy(stored).view(torch.bfloat16).transpose(1, 2))

    def places(self, samples: list[int]) -> dict[int, int]:
        """Those of a batch's samples that the panel has: its place in the batch, and its column."""
        return {place: self._column[one] for place, one in enumerate(samples) if one in self._column}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The panel's arrays of a store that have layers."""
        if not self._column:
            return {}
        # Transposed on the host: the device's memory may be full.
        return {
            name: values.cpu().view(torch.int16).transpose(1, 2).contiguous().numpy().view(np.uint16)
            for name, values in zip(_NAMES, self.values, strict=True)
        }


class PanelOfBatch:
    """What one batch adds to the panel; ``commit`` puts it there."""

    def __init__(self, state: PanelState, samples: list[int]) -> None:
        self._state = state
        places = state.places(samples)
        #: By place in the batch, the row of ``_values``.
        self.row = {place: row for row, place in enumerate(places)}
        device = state.values.device
        self._places, self._columns = (torch.tensor(list(found), device=device) for found in (places, places.values()))
        _, layers, _, neurons = state.values.shape
        shape = (2, layers, len(places), neurons)
        self._values = torch.full(shape, -torch.inf, dtype=torch.bfloat16, device=device)

    def put(self, kind: int, layer: int, place: int, largest: Tensor) -> None:
        """Keep one sample's largest activations over the tokens of one kind, float32 (F,), if the panel has it."""
        if (row := self.row.get(place)) is not None:
            self._values[kind, layer, row] = largest

    def put_batch(self, kind: int, layer: int, largest: Tensor) -> None:
        """The same for all samples of the batch, float32 (B, F), without waiting for the device."""
        if self.row:
            self._values[kind, layer] = largest.index_select(0, self._places)

    def commit(self) -> None:
        """Add the batch to the state."""
        if self.row:
            # After rounding: -0.0 becomes 0.0, as which of two equal zeros is the largest differs between devices.
            self._state.values.index_copy_(2, self._columns, self._values.add_(0.0))


def panel_samples(manifest: Manifest) -> tuple[int, ...]:
    """The samples of a scan's panel, ascending; none where it has no panel."""
    return draw_panel(manifest.panel_data_id, manifest.samples, manifest.panel_drawn)


def check_panel(store: ScanStore) -> None:
    """Raise StoreError if the panel of a scan in progress is not the one that follows from the data."""
    samples = panel_samples(store.manifest)
    if samples and not np.array_equal(store.arrays[PANEL_SAMPLE], samples):
        raise StoreError(f"{store.folder} is damaged: its panel has other samples than the data give.", COPY_AGAIN)


def panel_array(manifest: Manifest) -> dict[str, NDArray[Any]]:
    """The panel's array without layers, for a store."""
    samples = panel_samples(manifest)
    return {PANEL_SAMPLE: np.array(samples, dtype=np.int32)} if samples else {}
