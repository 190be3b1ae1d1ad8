"""The true activations of a neuron over a sample, computed exactly by the model: stored maps have 8 bits and few."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import Cancelled, WorkerError
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.base.text import plain
from vlmscope.core.method.correlation import TokenKind
from vlmscope.core.method.norm import norm
from vlmscope.core.scoring.protocol import HeldOut
from vlmscope.core.worker.client import Asks, Lane
from vlmscope.core.worker.messages import MapRequest, Phase

REASON_LENGTH = 300


@dataclass(frozen=True, eq=False)
class Truth:
    """Norms, 0 to 10."""

    visual: NDArray[np.float32]  #: (rows, columns), on the sample's grid
    text: NDArray[np.float32]  #: (tokens,)

    def of(self, kind: TokenKind) -> NDArray[np.float32]:
        return self.visual if kind is TokenKind.VISUAL else self.text


async def true_norms(model: Asks, neuron: Neuron, maximum: float, sample: HeldOut) -> Truth | str:
    """The sample's exact norms, or why it has none (it cannot be decoded, the model does not fit the scan).

    Args:
        maximum: gmax, the activation whose norm is 10.

    Raises:
        Cancelled: if the model was stopped.
        WorkerError: if the model process has gone: all other samples would fail, too.
    """
    if sample.picture is None:
        return sample.picture_problem
    request = MapRequest(neuron, str(sample.picture), sample.prompt, sample.description, sample.sample)
    try:
        answer = await model.ask(request, Lane.BACKGROUND)
    except Cancelled:
        raise
    except WorkerError as error:
        if model.status.phase is Phase.FAILED:
            raise
        return plain(error.message, REASON_LENGTH)
    if not answer.fits(sample.layout, len(sample.tokens)):
        return "the model's map does not fit the scan: another model made it"
    if not (np.isfinite(answer.visual).all() and np.isfinite(answer.text).all()):
        return "an activation is not finite"
    visual = sample.layout.cells(answer.visual, *sample.grid)
    return Truth(norm(visual, maximum), norm(answer.text, maximum))
