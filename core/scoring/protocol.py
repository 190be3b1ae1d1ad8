"""What every simulator is: from an explanation alone it predicts a sample's activations, or says why it cannot.

A simulator never sees true activations: ``HeldOut`` does not carry them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.notebook.explanation import Explanation

__all__ = ["SCALE", "HeldOut", "NoPrediction", "Prediction", "Simulator", "TokenKind"]

SCALE = 10.0  #: predictions and truth are norms, from 0 to this (method.md, "Normalisation")


@dataclass(frozen=True)
class HeldOut:
    """A sample to predict: all that a simulator may look at.

    Attributes:
        sample: its index in the data.
        rank: among the neuron's top samples, from 1; None for a random one.
        picture: where the original picture lies, or None where it does not.
        prompt: the very text before the description, with one image token, as in the manifest.
        tokens: the description's tokens, spelled; joined they are the description.
        grid: rows and columns of patches.
    """

    sample: int
    rank: int | None
    picture: Path | None
    prompt: str
    description: str
    tokens: tuple[str, ...]
    grid: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted activations on the 0-10 scale; None for a kind that was not predicted.

    Attributes:
        visual: float32 (rows, columns), over the patches of the crop that the model sees.
        text: float32 (tokens,), over the description's tokens.
    """

    visual: NDArray[np.float32] | None = None
    text: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class NoPrediction:
    """Why there is none for this sample; it is left out of the score and counted."""

    reason: str


class Simulator(Protocol):
    """One backend.

    Attributes:
        name: as ``--backend`` and the notebook have it.
        kinds: what it predicts.
        independent: false if it asks the inspected model about itself.
        paid: whether it costs money; a paid one gets fewer samples and no baseline.
    """

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> Collection[TokenKind]: ...

    @property
    def independent(self) -> bool: ...

    @property
    def paid(self) -> bool: ...

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        """What of the explanation it can look for, to be shown; empty if it can predict nothing from it."""
        ...

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction | NoPrediction:
        """Predict one sample. It is asked for all explanations of a sample before the next sample.

        Returns:
            NoPrediction for what concerns this sample alone: it cannot be decoded, or the explanation names nothing
            that this backend can look for.

        Raises:
            VlmscopeError: for what ends the run: the model process has gone, it was stopped, a quota is used up.
        """
        ...
