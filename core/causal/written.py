"""How much every neuron writes on some pictures: what matched neurons are matched by."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.intervention import Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.causal.pictures import Described
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.interventions import SampleRef, WrittenAnswer, WrittenRequest

KEPT = 16  #: pictures whose answers are kept: 4 MB each at 352,256 neurons


@dataclass(frozen=True, eq=False)
class Written:
    """Means over pictures; L: layers, F: FFN units of a layer.

    Attributes:
        size: float32 (L, F), mean of ``sqrt(mean_t z(t)^2) * norm(d)``.
        sign: float32 (L, F), -1 where the mean of z is negative, else 1.
        column: float32 (L, F), ``norm(d)``.
    """

    size: NDArray[np.float32]
    sign: NDArray[np.float32]
    column: NDArray[np.float32]

    @classmethod
    def mean(cls, answers: Sequence[WrittenAnswer]) -> "Written":
        """The mean of answers, one at least."""
        size = np.stack([one.size for one in answers]).mean(axis=0, dtype=np.float64).astype(np.float32)
        z = np.stack([one.mean for one in answers]).sum(axis=0, dtype=np.float64)
        return cls(size, np.where(z < 0, np.float32(-1), np.float32(1)), answers[0].column)

    def total(self, neurons: Sequence[Neuron]) -> float:
        """The sum of these neurons' sizes."""
        return sum(float(self.size[one.layer, one.unit]) for one in neurons)

    def ratio(self, one: Neuron, other: Neuron) -> float:
        """What a z of ``one`` becomes where ``other`` is to write as much, in the sign in which ``other`` writes."""
        a, b = (one.layer, one.unit), (other.layer, other.unit)
        return float(self.column[a] / self.column[b] * self.sign[a] * self.sign[b])


class WrittenSizes:
    """Asks for written sizes, and keeps those of the last pictures: neurons of one word share many."""

    def __init__(self, model: Asks, lane: Lane) -> None:
        self._model = model
        self._lane = lane
        self._kept: OrderedDict[tuple[SampleRef, Positions], WrittenAnswer] = OrderedDict()

    async def of(self, picture: Described, at: Positions) -> WrittenAnswer:
        """The written sizes on one picture. Raises as ``Asks.ask``."""
        key = (picture.ref, at)
        if key not in self._kept:
            self._kept[key] = await self._model.ask(WrittenRequest(picture.ref, at), self._lane)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
