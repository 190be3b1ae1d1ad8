"""What stand-ins for the model process answer to requests of interventions: simple numbers that tests can foresee.

A row changes every token by ``-(index of its first neuron % 5) / 2``. Neurons 15, 31, ... are silent.
"""

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.worker.interventions import (
    AttributionAnswer,
    CaptionAnswer,
    CaptionRequest,
    FiringAnswer,
    InterventionAnswer,
    InterventionRequest,
    PeakAnswer,
    PeakRequest,
    WrittenAnswer,
)

SHAPE = (4, 32)  #: layers and neurons of the scan that most tests read
CAPTION, CHANGED_CAPTION = "A zebra stands.", "A horse stands."


def change(index: int) -> float:
    """Of the log-odds of every token, where this is the index of a row's first neuron."""
    return -(index % 5) / 2


def intervened(request: InterventionRequest) -> InterventionAnswer:
    """Log-odds 2 and p 0.9 without edits; p falls by a twentieth of the change, the first choice is lost at -2."""
    tokens = len(request.tokens) or len(request.sample.description.split())
    of_rows = [change(row[0].neuron.index) if row else 0.0 for row in request.rows]
    changes = np.repeat(np.array(of_rows, np.float32)[:, None], tokens, axis=1)
    return InterventionAnswer(
        log_odds=np.full(tokens, 2, np.float32),
        p=np.full(tokens, 0.9, np.float32),
        first=np.ones(tokens, np.uint8),
        changes=changes,
        p_after=(0.9 + changes / 20).astype(np.float32),
        first_after=(changes > -2).astype(np.uint8),
        kl=(changes**2 / 10).astype(np.float32),
    )


def captioned(request: CaptionRequest) -> CaptionAnswer:
    """Another caption where there are edits."""
    return CaptionAnswer(CHANGED_CAPTION if request.edits else CAPTION)


def _indices(shape: tuple[int, int]) -> NDArray[np.int64]:
    return np.broadcast_to(np.arange(shape[1]), shape)


def written(shape: tuple[int, int] = SHAPE) -> WrittenAnswer:
    """Sizes 1 to 7 in turns, 0 of the silent; columns of norm 1."""
    index = _indices(shape)
    silent = index % 16 == 15
    size = np.where(silent, 0, 1 + index % 7).astype(np.float32)
    return WrittenAnswer(size, np.where(silent, 0, index % 3 / 10).astype(np.float32), np.ones(shape, np.float32))


def peak(request: PeakRequest) -> PeakAnswer:
    """The layer plus one; negative for an odd index."""
    return PeakAnswer((request.neuron.layer + 1) * (-1.0) ** request.neuron.index)


def attributed(shape: tuple[int, int] = SHAPE) -> AttributionAnswer:
    """The same as ``change``."""
    return AttributionAnswer((-(_indices(shape) % 5) / 2).astype(np.float32))


def firing(shape: tuple[int, int] = SHAPE) -> FiringAnswer:
    """Activations that grow with the layer."""
    layer, index = np.arange(shape[0])[:, None], _indices(shape)
    activation = ((layer + 1) * (index % 7)).astype(np.float32)
    return FiringAnswer(activation, activation, (index % 5).astype(np.float32))
