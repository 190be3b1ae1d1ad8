"""The interface of simulators: from an explanation alone, one predicts a sample's activations or gives a reason.

A simulator never sees true activations: ``HeldOut`` does not carry them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.method.layout import WHOLE, Box, VisualLayout
from vlmscope.core.notebook.explanation import Explanation

SCALE = 10.0  #: predictions and truth are norms, from 0 to this (method.md, "Normalisation")


@dataclass(frozen=True)
class HeldOut:
    """A sample to predict: all that a simulator may look at."""

    sample: int  #: its index in the data
    rank: int | None  #: among the neuron's top samples, from 1; None for a random one
    picture: Path | None  #: where the original picture is, or None if it is missing or another's
    prompt: str  #: the exact text before the description, with one image token, as in the manifest
    description: str
    tokens: tuple[str, ...]  #: the description's tokens, spelled; joined they are the description
    layout: VisualLayout  #: where its visual tokens look, in the part of the picture that the model sees
    seen: Box = WHOLE  #: that part, as shares of the picture; the whole where the scan does not name it
    picture_problem: str = "its picture is not here"  #: why ``picture`` is None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns that visual predictions and true activations are compared on."""
        return self.layout.grid


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted activations on the 0-10 scale; None for a kind that was not predicted.

    Attributes:
        visual: float32 (rows, columns), on the sample's grid.
        text: float32 (tokens,), over the description's tokens.
    """

    visual: NDArray[np.float32] | None = None
    text: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class NoPrediction:
    """Why there is none for this sample; it is left out of the score and counted."""

    reason: str


class Simulator(Protocol):
    """One backend."""

    name: str  #: as ``--backend`` and the notebook have it
    kinds: Collection[TokenKind]  #: that it predicts
    independent: bool  #: false if it asks the inspected model about itself
    paid: bool  #: whether it costs money; a paid one gets fewer samples and no baseline

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        """The parts of the explanation that it can look for, to be shown; empty if it can predict nothing from it."""
        ...

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction | NoPrediction:
        """Predict one sample. It is called for all explanations of a sample before the next sample.

        Returns:
            NoPrediction if the reason concerns this sample alone: it cannot be decoded, or the explanation names
            nothing that this backend can look for.

        Raises:
            VlmscopeError: if the run must end: the model process has gone, it was stopped, a quota is used up.
        """
        ...
