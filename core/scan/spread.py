"""The running state of a scan and its batches, for a model whose layers are spread over several devices.

Layers that follow each other on one device have a state of their own there, so that no activation moves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.errors import ModelError
from vlmscope.core.scan.reduction import Batch, BatchReduction
from vlmscope.core.scan.state import ScanState
from vlmscope.core.store.arrays import join_layers
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.store.reader import ScanStore


@dataclass(frozen=True)
class SpreadState:
    """The states of all layers: each part's in the order of the layers, with the first layer of each."""

    parts: tuple[ScanState, ...]
    starts: tuple[int, ...]

    @classmethod
    def empty(
        cls, manifest: Manifest, pending: int, devices: Sequence[torch.device], store: ScanStore | None = None
    ) -> Self:
        """An empty state, or that of a checkpoint.

        Args:
            devices: of each layer. pending: as for ``ScanState``.
        """
        parts, starts, start = [], [], 0
        for device, group in groupby(devices):
            layers = range(start, start + len(list(group)))
            parts.append(ScanState.of_layers(manifest, pending, device, layers, store))
            starts.append(start)
            start = layers.stop
        return cls(tuple(parts), tuple(starts))

    @property
    def tokens(self) -> list[int]:
        """How many visual and text tokens have been added."""
        return self.parts[0].totals.tokens

    def flush(self) -> None:
        """Merge what is pending into the top N."""
        for part in self.parts:
            part.flush()

    def restore_maps(self) -> None:
        """Return to the maps' last snapshot, if there is one."""
        for part in self.parts:
            part.restore_maps()

    def arrays(self, manifest: Manifest) -> dict[str, NDArray[Any]]:
        """The arrays of a store with this manifest, without those that have no layers."""
        if len(self.parts) == 1:
            return self.parts[0].arrays(manifest)
        found = [part.arrays(manifest) for part in self.parts]
        return {name: join_layers(name, [one[name] for one in found]) for name in found[0]}


class SpreadReduction:
    """What one batch adds to the state, as ``BatchReduction`` on each device: ``hooks``, ``non_finite``, ``commit``."""

    def __init__(self, state: SpreadState, batch: Batch, fused: bool = False) -> None:
        self._starts = state.starts
        self._parts = [BatchReduction(part, batch, fused) for part in state.parts]

    def hooks(self) -> dict[int, Callable[[Tensor], None]]:
        """By layer, what takes its activation."""
        return {
            start + layer: hook
            for start, part in zip(self._starts, self._parts, strict=True)
            for layer, hook in part.hooks().items()
        }

    def non_finite(self) -> set[int]:
        """The places in the batch of samples with a non-finite activation; if there are any, call ``rollback``."""
        return set().union(*(part.non_finite() for part in self._parts))

    def commit(self) -> None:
        """Add the batch to the state; only for a batch without non-finite activations.

        Raises:
            ModelError: if a layer's activation did not come.
        """
        reached = [found for part in self._parts for found in part.reached]
        if not all(reached):
            raise ModelError(
                f"A pass of the model did not go through the FFN that layer {reached.index(False)} has.",
                "Other models can be scanned: docs/models.md.",
            )
        for part in self._parts:
            part.commit()

    def rollback(self) -> None:
        """Leave the state as it was before the batch."""
        for part in self._parts:
            part.rollback()
