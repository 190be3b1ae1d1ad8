"""Predictions that no backend makes, to see what a score is made of: constant ones, and others' that are changed."""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.scoring.protocol import SCALE, HeldOut, NoPrediction, Prediction, Simulator


class Constant:
    """Predicts the same value everywhere, for any explanation."""

    name = "constant"
    kinds: Collection[TokenKind] = frozenset({TokenKind.VISUAL})
    independent = True
    paid = False

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        """The whole text."""
        return (explanation.text,)

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction:  # noqa: ARG002 (the protocol's)
        """See ``Simulator``."""
        return Prediction(visual=np.full(sample.grid, SCALE / 2, dtype=np.float32))


class Changed:
    """A simulator whose visual predictions are changed by ``change``."""

    kinds: Collection[TokenKind] = frozenset({TokenKind.VISUAL})
    paid = False

    def __init__(self, name: str, of: Simulator, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.name = name
        self.independent = of.independent
        self._of, self._change = of, change

    def search_phrases(self, explanation: Explanation) -> tuple[str, ...]:
        """See ``Simulator``."""
        return self._of.search_phrases(explanation)

    async def simulate(self, explanation: Explanation, sample: HeldOut) -> Prediction | NoPrediction:
        """See ``Simulator``."""
        found = await self._of.simulate(explanation, sample)
        if isinstance(found, NoPrediction) or found.visual is None:
            return found
        return Prediction(self._change(found.visual))


def rolled(visual: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map moved by half of its rows and columns, what leaves it on one side comes back on the other."""
    rows, columns = visual.shape
    return np.roll(visual, (rows // 2, columns // 2), (0, 1))


def everywhere(visual: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map's largest value in each of its cells."""
    return np.full_like(visual, visual.max())
