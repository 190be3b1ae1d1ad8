"""What stand-ins for the model process share: one ``ask``, and a method for each kind of request that they answer.

Requests of ``core/worker/interventions.py`` are answered by ``tests/support/interventions.py``.
"""

from typing import Any

from tests.support import interventions as answers
from vlmscope.core.worker.client import A, Lane
from vlmscope.core.worker.interventions import (
    AttributionAnswer,
    AttributionRequest,
    CaptionAnswer,
    CaptionRequest,
    FiringAnswer,
    FiringRequest,
    InterventionAnswer,
    InterventionRequest,
    PeakAnswer,
    PeakRequest,
    WrittenAnswer,
    WrittenRequest,
)
from vlmscope.core.worker.messages import (
    DescribeRequest,
    LensRequest,
    MapRequest,
    ModelStatus,
    Phase,
    PromotedRequest,
    Request,
    SegmentRequest,
)

METHODS: dict[type[Request[Any]], str] = {
    MapRequest: "map",
    DescribeRequest: "describe",
    PromotedRequest: "promoted",
    LensRequest: "lens",
    SegmentRequest: "segment",
    InterventionRequest: "intervene",
    CaptionRequest: "caption",
    WrittenRequest: "written",
    PeakRequest: "peak",
    AttributionRequest: "attribute",
    FiringRequest: "firing",
}


class Answering:
    """Remembers in which lane each request waited; a subclass answers those kinds that it has methods for.

    Attributes:
        interventions: the requests of interventions, in the order in which they came.
        shape: layers and neurons of the model.
    """

    shape = answers.SHAPE

    def __init__(self) -> None:
        self.status = ModelStatus(Phase.READY)
        self.lanes: list[Lane] = []
        self.interventions: list[Request[Any]] = []

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        self.lanes.append(lane)
        answer: A = await getattr(self, METHODS[type(request)])(request)
        return answer

    async def before(self, request: Request[Any]) -> None:
        """What happens before a request of interventions is answered."""
        self.interventions.append(request)

    async def intervene(self, request: InterventionRequest) -> InterventionAnswer:
        await self.before(request)
        return answers.intervened(request)

    async def caption(self, request: CaptionRequest) -> CaptionAnswer:
        await self.before(request)
        return answers.captioned(request)

    async def written(self, request: WrittenRequest) -> WrittenAnswer:
        await self.before(request)
        return answers.written(self.shape)

    async def peak(self, request: PeakRequest) -> PeakAnswer:
        await self.before(request)
        return answers.peak(request)

    async def attribute(self, request: AttributionRequest) -> AttributionAnswer:
        await self.before(request)
        return answers.attributed(self.shape)

    async def firing(self, request: FiringRequest) -> FiringAnswer:
        await self.before(request)
        return answers.firing(self.shape)
