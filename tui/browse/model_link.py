"""The screen's talk with the model process: started on first need, never waited for.

Every request becomes a task of its own; its answer, or its failure, comes back as one message that says what it is
for, so that the screen can drop what it no longer shows.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from textual.message import Message

from vlmscope.core.base.config import Config
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.store.manifest import Manifest
from vlmscope.core.worker.client import A, Lane, ModelClient
from vlmscope.core.worker.messages import (
    DescribeRequest,
    MapRequest,
    ModelSpec,
    ModelStatus,
    Phase,
    PromotedRequest,
    Request,
)
from vlmscope.tui.messages import (
    Described,
    DescribeFailed,
    MapArrived,
    MapFailed,
    PromotedArrived,
    PromotedFailed,
    StatusChanged,
)
from vlmscope.tui.views.state import OwnPicture

if TYPE_CHECKING:
    from vlmscope.core.base.neuron import Neuron


ClientFactory = Callable[[ModelSpec, Callable[[ModelStatus], None], float], ModelClient]


def start_process(spec: ModelSpec, on_status: Callable[[ModelStatus], None], idle_unload_s: float) -> ModelClient:
    """The real model process; imported only now, because browsing does not need it."""
    from vlmscope.core.worker.process import ModelProcess

    return ModelProcess(spec, on_status, idle_unload_s)


class ModelLink:
    """Asks the model on behalf of the screen."""

    def __init__(
        self, manifest: Manifest, config: Config, post: Callable[[Message], object], factory: ClientFactory
    ) -> None:
        self._spec = ModelSpec(
            name=manifest.model.name,
            revision=manifest.model.revision,
            device=config.device,
            dtype=config.dtype,
            hook=manifest.hook,
        )
        self._idle_unload_s = config.idle_unload_minutes * 60
        self._post = post
        self._factory = factory
        self._client: ModelClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked = 0

    @property
    def status(self) -> ModelStatus:
        """The model process's state; OFF before it was ever needed."""
        return self._client.status if self._client is not None else ModelStatus(Phase.OFF)

    @property
    def working(self) -> bool:
        """Whether a request is on its way."""
        return self._asked > 0

    def _process(self) -> ModelClient:
        if self._client is None:
            self._client = self._factory(self._spec, self._say, self._idle_unload_s)
        return self._client

    def _say(self, status: ModelStatus) -> None:
        self._post(StatusChanged(status))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def map(self, neuron: "Neuron", image: str, prompt: str, description: str, sample: int | None) -> None:
        """Ask for a map; ``MapArrived`` or ``MapFailed`` follows."""
        self._run(self._map(MapRequest(neuron, image, prompt, description, sample)))

    async def _map(self, request: MapRequest) -> None:
        message: Message
        self._asked += 1
        try:
            message = MapArrived(await self._process().ask(request))
        except VlmscopeError as error:
            message = MapFailed(request.neuron, request.sample, request.image, error)
        finally:
            self._asked -= 1
        self._post(message)

    def describe(self, own: OwnPicture) -> None:
        """Let the model describe a picture; ``Described`` or ``DescribeFailed`` follows."""
        self._run(self._describe(own))

    async def _describe(self, own: OwnPicture) -> None:
        message: Message
        self._asked += 1
        try:
            message = Described(own, await self._process().ask(DescribeRequest(own.image, own.question)))
        except VlmscopeError as error:
            message = DescribeFailed(own, error)
        finally:
            self._asked -= 1
        self._post(message)

    def promoted(self, neuron: "Neuron", count: int) -> None:
        """Ask what a neuron writes; ``PromotedArrived`` or ``PromotedFailed`` follows."""
        self._run(self._promoted(PromotedRequest(neuron, count)))

    async def _promoted(self, request: PromotedRequest) -> None:
        message: Message
        self._asked += 1
        try:
            message = PromotedArrived(await self._process().ask(request))
        except VlmscopeError as error:
            message = PromotedFailed(request.neuron, error)
        finally:
            self._asked -= 1
        self._post(message)

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        """As ``core.worker.client.Asks``: for background work, which awaits its answer."""
        self._asked += 1
        try:
            return await self._process().ask(request, lane)
        finally:
            self._asked -= 1

    async def stop(self) -> None:
        """Stop what the model is doing for us."""
        if self._client is not None:
            await self._client.stop()

    async def restart(self) -> None:
        """Start the process again and load the model.

        Raises:
            VlmscopeError: if it cannot be started.
        """
        await self._process().restart()

    async def unload(self) -> None:
        """Free the model's memory."""
        if self._client is not None:
            await self._client.unload()

    async def close(self) -> None:
        """End the process; nothing answers any more."""
        for task in set(self._tasks):
            task.cancel()
        if self._client is not None:
            await self._client.close()
