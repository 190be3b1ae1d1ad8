"""What boxes of a sample's objects add to a score: which samples hold the concept, and how well any words could do."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.method.correlation import ScoredSample, correlation
from vlmscope.core.notebook.explanation import Explanation
from vlmscope.core.scoring.protocol import HeldOut, Simulator
from vlmscope.core.scoring.search_phrases import known_words, wanted_words


@runtime_checkable
class KnowsBoxes(Protocol):
    """A simulator of samples whose objects are known."""

    def holds(self, explanation: Explanation, sample: HeldOut) -> bool:
        """Whether an object that the explanation names is in the sample's picture."""
        ...

    def maps_of_all(self, sample: HeldOut) -> NDArray[np.float32] | None:
        """Each nameable object's prediction: float32 (names, rows, columns), the names in one order for all samples.

        None if there is no prediction for the sample.
        """
        ...


def holding(
    explanation: Explanation, simulator: Simulator, words: Collection[str], samples: Sequence[HeldOut]
) -> frozenset[int]:
    """The samples that hold the concept, by their index in the data.

    Where boxes are known, an object that the explanation names is in the picture. Elsewhere the description names one
    of the words that the explanation asks for.

    Args:
        words: the scan's concept words.
    """
    if isinstance(simulator, KnowsBoxes):
        return frozenset(one.sample for one in samples if simulator.holds(explanation, one))
    wanted = wanted_words(explanation, words)
    return frozenset(one.sample for one in samples if known_words(one.description, wanted))


def ceiling(samples: Sequence[ScoredSample], maps: Mapping[int, NDArray[np.float32]]) -> float | None:
    """The pooled correlation that the best weighted sum of all objects reaches on these samples.

    The weights are those of least squares. They are fitted to the truth of the same samples, so that the ceiling is on
    the high side: no weighted sum does better there.

    Args:
        samples: those of one group.
        maps: of each sample, by its index in the data, as ``KnowsBoxes.maps_of_all`` gives them.

    Returns:
        None without samples, if one has no maps, or if the truth is constant.
    """
    if not samples or any(one.sample not in maps for one in samples):
        return None
    columns = np.concatenate([maps[one.sample].reshape(len(maps[one.sample]), -1) for one in samples], axis=1)
    table = np.vstack([columns, np.ones(columns.shape[1])]).T.astype(np.float64)
    truth = np.concatenate([np.asarray(one.truth, dtype=np.float64).ravel() for one in samples])
    weights = np.linalg.lstsq(table, truth, rcond=None)[0]
    return correlation(truth, table @ weights).value
