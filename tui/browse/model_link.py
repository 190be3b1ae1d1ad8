"""The screen's side of the model process, which is started on first need and never waited for by a key.

Requests have two lanes. What the screen shows: of the requests that wait, the latest wins. Background work: first come,
first served.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Protocol

from vlmscope.core.base.config import Config
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.worker.messages import (
    DescribeAnswer,
    DescribeRequest,
    LensAnswer,
    LensRequest,
    MapAnswer,
    MapRequest,
    ModelSpec,
    ModelStatus,
    Phase,
    PromotedAnswer,
    PromotedRequest,
    SegmentAnswer,
    SegmentRequest,
)


class ModelClient(Protocol):
    """``vlmscope.core.worker.process.ModelProcess``, or a stand-in for it."""

    @property
    def status(self) -> ModelStatus: ...
    async def map(self, request: MapRequest) -> MapAnswer: ...
    async def describe(self, request: DescribeRequest) -> DescribeAnswer: ...
    async def promoted(self, request: PromotedRequest) -> PromotedAnswer: ...
    async def lens(self, request: LensRequest) -> LensAnswer: ...
    async def segment(self, request: SegmentRequest) -> SegmentAnswer: ...
    async def stop(self) -> None: ...
    async def restart(self) -> None: ...
    async def unload(self) -> None: ...
    async def close(self) -> None: ...


ClientFactory = Callable[[ModelSpec, Callable[[ModelStatus], None], float], ModelClient]


class Lane(Enum):
    """Whose request it is."""

    SCREEN = auto()
    BACKGROUND = auto()


def start_process(spec: ModelSpec, on_status: Callable[[ModelStatus], None], idle_unload_s: float) -> ModelClient:
    """The real model process; imported only now, because browsing does not need it."""
    from vlmscope.core.worker.process import ModelProcess

    return ModelProcess(spec, on_status, idle_unload_s)


class ModelLink:
    """Asks the model; loads it if it is off."""

    def __init__(self, manifest: Manifest, config: Config, factory: ClientFactory) -> None:
        """Nothing is started yet."""
        self._spec = ModelSpec(
            name=manifest.model.name,
            revision=manifest.model.revision,
            device=config.device,
            dtype=config.dtype,
            hook=manifest.hook,
        )
        self._idle_unload_s = config.idle_unload_minutes * 60
        self._factory = factory
        self._client: ModelClient | None = None
        self._asked = dict.fromkeys(Lane, 0)
        self._turn = asyncio.Lock()
        self.listeners: list[Callable[[], None]] = []  #: called at each change of ``status``, ``asking`` or ``busy``

    @property
    def status(self) -> ModelStatus:
        """The model process's state; OFF before it was ever needed."""
        return self._client.status if self._client is not None else ModelStatus(Phase.OFF)

    @property
    def asking(self) -> bool:
        """Whether the screen's lane waits for an answer."""
        return self._asked[Lane.SCREEN] > 0

    @property
    def busy(self) -> bool:
        """Whether anybody waits for an answer."""
        return any(self._asked.values())

    async def ask(self, request: Any, lane: Lane = Lane.SCREEN) -> Any:
        """The model's answer to a request.

        Raises:
            VlmscopeError: as the model process's ``map``.
        """
        self._count(lane, 1)
        try:
            if lane is Lane.SCREEN:
                return await self._call(request)
            async with self._turn:
                return await self._call(request)
        finally:
            self._count(lane, -1)

    async def _call(self, request: Any) -> Any:
        client = self.client
        match request:
            case MapRequest():
                return await client.map(request)
            case DescribeRequest():
                return await client.describe(request)
            case PromotedRequest():
                return await client.promoted(request)
            case LensRequest():
                return await client.lens(request)
            case _:
                return await client.segment(request)

    async def map(self, request: MapRequest) -> MapAnswer:
        """A map for background work."""
        answer: MapAnswer = await self.ask(request, Lane.BACKGROUND)
        return answer

    async def lens(self, request: LensRequest) -> LensAnswer:
        """A lens for background work."""
        answer: LensAnswer = await self.ask(request, Lane.BACKGROUND)
        return answer

    async def segment(self, request: SegmentRequest) -> SegmentAnswer:
        """A segmentation for background work."""
        answer: SegmentAnswer = await self.ask(request, Lane.BACKGROUND)
        return answer

    def _count(self, lane: Lane, by: int) -> None:
        self._asked[lane] += by
        self._changed()

    def _changed(self, _status: ModelStatus | None = None) -> None:
        for listener in self.listeners:
            listener()

    @property
    def client(self) -> ModelClient:
        """The model process's client, made now if it was not needed before."""
        if self._client is None:
            self._client = self._factory(self._spec, self._changed, self._idle_unload_s)
        return self._client

    async def stop(self) -> None:
        """Stop what the model is doing for us."""
        if self._client is not None:
            await self._client.stop()

    async def restart(self) -> None:
        """Start the process again and load the model.

        Raises:
            VlmscopeError: if it cannot be started.
        """
        await self.client.restart()

    async def unload(self) -> None:
        """Free the model's memory."""
        if self._client is not None:
            await self._client.unload()

    async def close(self) -> None:
        """End the process; nothing answers any more."""
        self.listeners.clear()
        if self._client is not None:
            await self._client.close()
