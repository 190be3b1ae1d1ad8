"""The model as work asks it that runs in the background: one request after the other, each waited for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from vlmscope.core.worker.messages import (
    LensAnswer,
    LensRequest,
    MapAnswer,
    MapRequest,
    ModelStatus,
    SegmentAnswer,
    SegmentRequest,
)
from vlmscope.tui.browse.model_link import ModelClient, ModelLink

Answer = TypeVar("Answer")


class BackgroundModel:
    """``core.scoring.protocol.ModelSide`` and ``core.explain.evidence.Maps``, through the screen's own link.

    Of the requests that wait for the model process the last one wins, so those of one screen take turns here.
    """

    def __init__(self, link: ModelLink) -> None:
        self._link = link
        self._turn = asyncio.Lock()

    @property
    def status(self) -> ModelStatus:
        return self._link.status

    async def map(self, request: MapRequest) -> MapAnswer:
        return await self._ask(lambda client: client.map(request))

    async def lens(self, request: LensRequest) -> LensAnswer:
        return await self._ask(lambda client: client.lens(request))

    async def segment(self, request: SegmentRequest) -> SegmentAnswer:
        return await self._ask(lambda client: client.segment(request))

    async def _ask(self, call: Callable[[ModelClient], Awaitable[Answer]]) -> Answer:
        async with self._turn:
            return await self._link.waited_for(call)
