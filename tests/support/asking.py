"""What stand-ins for the model process share: one ``ask``, and a method for each kind of request that they answer."""

from typing import Any

from vlmscope.core.worker.client import A, Lane
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
}


class Answering:
    """Remembers in which lane each request waited; a subclass answers those kinds that it has methods for."""

    def __init__(self) -> None:
        self.status = ModelStatus(Phase.READY)
        self.lanes: list[Lane] = []

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        self.lanes.append(lane)
        answer: A = await getattr(self, METHODS[type(request)])(request)
        return answer
