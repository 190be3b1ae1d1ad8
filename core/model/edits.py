"""Edits of neurons during any pass: what replaces z, the input of each concerned layer's down projection.

The hooks change selected entries alone, so that a pass with edits costs about as much as one without. They know no
family: whatever runs the decoder's layers may run inside the block, ``generate`` too.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.model.encode import Encoded
from vlmscope.core.model.ffn import Ffn

Row = Sequence[Edit]  #: the edits of one row of a batch; each neuron once


@dataclass(frozen=True, eq=False)
class Places:
    """Where z is replaced in a pass over T positions, and in the steps of one position that generation makes after it.

    Attributes:
        edited: bool (T,), on the host.
        visual: bool (T,), on the host: the visual tokens.
        steps: whether it is replaced in each later step.
    """

    edited: Tensor
    visual: Tensor
    steps: bool

    @classmethod
    def of(cls, at: Positions, length: int, visual: NDArray[np.int64], answer: int) -> "Places":
        """The positions ``at`` of a sequence.

        Args:
            length: T. visual: int64 (V,), positions of the visual tokens. answer: the position that predicts the first
                token of the answer: of a prompt that is to be continued the last one.
        """
        pictured = torch.zeros(length, dtype=torch.bool)
        pictured[torch.from_numpy(visual)] = True
        if at is Positions.ALL:
            edited = torch.ones(length, dtype=torch.bool)
        elif at is Positions.ANSWER:
            edited = torch.arange(length) >= answer
        else:
            edited = pictured
        return cls(edited, pictured, at is not Positions.PICTURE)

    @classmethod
    def of_sample(cls, at: Positions, encoded: Encoded) -> "Places":
        """The positions ``at`` of a sample with its description."""
        return cls.of(at, len(encoded.input_ids), encoded.visual, encoded.text.start - 1)

    def at(self, positions: Sequence[int]) -> "Places":
        """Of some of the positions alone."""
        return Places(self.edited[list(positions)], self.visual[list(positions)], self.steps)


def lowest(rows: Sequence[Row]) -> int | None:
    """The lowest layer that has edits; None without edits."""
    return min((edit.neuron.layer for row in rows for edit in row), default=None)


@contextmanager
def edited(ffns: Sequence[Ffn], rows: Sequence[Row], places: Places) -> Iterator[None]:
    """Replace z in every pass while the block runs.

    Args:
        ffns: of the layers. rows: of a batch of B, the edits of each row.
        places: a pass whose length is that of ``places`` takes its positions; one of length 1 is a step of generation.

    Raises:
        ValueError: inside, if a pass has another batch or another length; at once, if a row has a neuron twice.
    """
    with ExitStack() as hooks:
        for layer in sorted({edit.neuron.layer for row in rows for edit in row}):
            hooks.enter_context(_layer(ffns[layer], layer, rows, places))
        yield


@contextmanager
def _layer(ffn: Ffn, layer: int, rows: Sequence[Row], places: Places) -> Iterator[None]:
    edits = Entries(rows, layer)
    upped: list[Tensor] = []

    def keep(_module: Any, _args: Any, out: Tensor) -> None:
        upped[:] = [out]

    def replace(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        z = args[0]
        if z.shape[0] != len(rows):
            raise ValueError(f"a batch of {z.shape[0]} has edits for {len(rows)} rows")
        changed = edits.replaced(z, ffn.up_branch(upped.pop()) if upped else None, *_at(places, z.shape[1]))
        return (changed, *args[1:])

    with ExitStack() as hooks:
        source = ffn.up_source
        if edits.times_up.any() and source is not None:
            hooks.enter_context(source.register_forward_hook(keep))
        hooks.enter_context(ffn.down.register_forward_pre_hook(replace))
        yield


def _at(places: Places, length: int) -> tuple[Tensor, Tensor]:
    """Of a pass of so many positions: bool (T,) where z is replaced, and bool (T,) the visual tokens."""
    if length == len(places.edited):
        return places.edited, places.visual
    if length == 1:
        return torch.tensor([places.steps]), torch.tensor([False])
    raise ValueError(f"a pass of {length} positions has edits for {len(places.edited)}")


class Entries:
    """The edits of one layer, as columns: one entry for each edit of each row. E: entries."""

    def __init__(self, rows: Sequence[Row], layer: int) -> None:
        """Take those of ``layer``.

        Raises:
            ValueError: if a row has a neuron twice.
        """
        found = [(at, edit) for at, row in enumerate(rows) for edit in row if edit.neuron.layer == layer]
        if len({(at, edit.neuron.unit) for at, edit in found}) < len(found):
            raise ValueError("a row of edits has a neuron twice")
        edits = [edit for _, edit in found]
        self.row = torch.tensor([at for at, _ in found], dtype=torch.int64)
        self.index = torch.tensor([edit.neuron.unit for edit in edits], dtype=torch.int64)
        self.factor = torch.tensor([[edit.factor] for edit in edits], dtype=torch.float32)
        self.visual = torch.tensor([[edit.visual] for edit in edits], dtype=torch.float32)
        self.text = torch.tensor([[edit.text] for edit in edits], dtype=torch.float32)
        self.times_up = torch.tensor([[edit.times_up] for edit in edits], dtype=torch.bool)
        sources = [edit.neuron.unit if edit.source is None else edit.source for edit in edits]
        self.source = torch.tensor(sources, dtype=torch.int64)
        factors = [[0.0 if edit.source is None else edit.source_factor] for edit in edits]
        self.source_factor = torch.tensor(factors, dtype=torch.float32)

    def replaced(self, z: Tensor, up: Tensor | None, edited: Tensor, visual: Tensor) -> Tensor:
        """z with its entries replaced at the positions ``edited``; computed in float32.

        Args:
            z: (B, T, F). up: the up branch (B, T, F), if an entry needs it and the FFN has one.
            edited, visual: bool (T,).
        """
        own, new = self.values(z, up, visual)
        row, index = self.row.to(z.device), self.index.to(z.device)
        changed = z.clone()
        changed[row, :, index] = torch.where(edited.to(z.device), new, own).to(z.dtype)
        return changed

    def values(self, z: Tensor, up: Tensor | None, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Each entry's z as it is, and what replaces it: float32 (E, T) both. Arguments as for ``replaced``.

        A batch of one is taken for every row.
        """
        device = z.device
        row = self.row.to(device) if len(z) > 1 else torch.zeros(len(self.row), dtype=torch.int64, device=device)
        own = z[row, :, self.index.to(device)].float()
        constant = torch.where(visual.to(device), self.visual.to(device), self.text.to(device))
        if up is not None:
            branch = up[row, :, self.index.to(device)].float()
            constant = torch.where(self.times_up.to(device), constant * branch, constant)
        new = self.factor.to(device) * own + constant
        if bool(self.source_factor.any()):
            new = new + self.source_factor.to(device) * z[row, :, self.source.to(device)].float()
        return own, new
