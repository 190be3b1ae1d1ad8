"""A stand-in for the model process in which the effect of an intervention can be computed by hand."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vlmscope.core.base.errors import WorkerError
from vlmscope.core.base.intervention import Edit
from vlmscope.core.store.reader import ScanStore
from vlmscope.core.worker.client import A, Lane
from vlmscope.core.worker.interventions import (
    CaptionAnswer,
    CaptionRequest,
    InterventionAnswer,
    InterventionRequest,
    PeakAnswer,
    PeakRequest,
    WrittenAnswer,
    WrittenRequest,
)
from vlmscope.core.worker.messages import Message, ModelStatus, Phase, Request


class LinearModel:
    """Neuron i of layer l writes ``z[l, i]`` at every token of every sample; columns have the norm 2.

    The log-odds of token t change by ``weight[l, i] * (z' - z) * picture(sample) / (1 + t)``. p is 0.9; KL is the
    change's square.

    Attributes:
        z, weight: float32 (L, F); F: FFN units.
        picture: by how much a sample's index multiplies the change.
        problem: why a sample cannot be measured; empty if it can.
    """

    def __init__(
        self, store: ScanStore, picture: Callable[[int], float] = lambda _: 1.0, problem: dict[int, str] | None = None
    ) -> None:
        rng = np.random.default_rng(0)
        shape = (store.layers, store.numbering.units)
        self.z: NDArray[np.float32] = (rng.random(shape) + 0.5).astype(np.float32)
        self.weight: NDArray[np.float32] = rng.normal(0, 0.01, shape).astype(np.float32)
        self.picture = picture
        self.problem = problem or {}
        self.tokens = 0
        self.status = ModelStatus(Phase.READY)
        self.requests: list[Message] = []
        self.lanes: list[Lane] = []
        self._store = store

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        self.requests.append(request)
        self.lanes.append(lane)
        answer: Message
        match request:
            case InterventionRequest():
                answer = self._intervene(request)
            case WrittenRequest():
                column = np.full_like(self.z, 2)
                answer = WrittenAnswer(np.abs(self.z) * column, self.z, column)
            case PeakRequest():
                answer = PeakAnswer(3 * float(self.z[request.neuron.layer, request.neuron.unit]))
            case CaptionRequest():
                answer = CaptionAnswer("A dog on a train." if not request.edits else "A cat on a train.")
            case _:
                raise AssertionError(request)
        return answer  # type: ignore[return-value]  # as the request's own

    def _intervene(self, request: InterventionRequest) -> InterventionAnswer:
        sample = request.sample.sample
        if sample is not None and sample in self.problem:
            raise WorkerError(self.problem[sample])
        if self._store is not None and sample is not None:
            self.tokens = len(self._store.sample(sample).tokens)
        all_tokens = np.arange(self.tokens, dtype=np.float32)
        tokens = all_tokens[list(request.tokens)] if request.tokens else all_tokens
        times = 1.0 if sample is None else self.picture(sample)
        moved = np.array([sum(self._moved(edit) for edit in row) for row in request.rows], dtype=np.float32)
        changes = (moved[:, None] * times / (1 + tokens)).astype(np.float32)
        return InterventionAnswer(
            log_odds=np.full(len(tokens), 2.2, np.float32),
            p=np.full(len(tokens), 0.9, np.float32),
            first=np.ones(len(tokens), np.uint8),
            changes=changes,
            p_after=np.clip(0.9 + changes / 10, 0, 1).astype(np.float32),
            first_after=(changes > -1).astype(np.uint8),
            kl=changes**2,
        )

    def _moved(self, edit: Edit) -> float:
        at = (edit.neuron.layer, edit.neuron.unit)
        after = edit.factor * self.z[at] + edit.visual
        if edit.source is not None:
            after += edit.source_factor * self.z[edit.neuron.layer, edit.source]
        return float(self.weight[at] * (after - self.z[at]))
