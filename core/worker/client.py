"""What asks the model: the protocol of ``core.worker.process.ModelProcess`` and of everything that stands in for it."""

from enum import Enum, auto
from typing import Protocol, TypeVar

from vlmscope.core.base.errors import WorkerError
from vlmscope.core.worker.messages import Message, ModelStatus, Request

A = TypeVar("A", bound=Message)


class Lane(Enum):
    """Where a request waits. One request runs at a time; when both lanes wait, the screen's goes first."""

    SCREEN = auto()  #: one waits at most: a later one replaces it
    BACKGROUND = auto()  #: any number wait, and run in the order in which they came


class Superseded(WorkerError):  # noqa: N818  # as Cancelled
    """Raised to a request that waited in the screen's lane and was replaced by a later one."""

    title = "Superseded"


class Asks(Protocol):
    """Answers requests."""

    @property
    def status(self) -> ModelStatus: ...

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        """The answer to ``request``; loads the model if it is off.

        Raises:
            Superseded: if a later request took its place in the screen's lane.
            Cancelled: if it was stopped.
            WorkerError: if the request or the process failed; ``title`` is the failure's own.
        """
        ...


class ModelClient(Asks, Protocol):
    """Answers requests, and can be stopped, loaded and unloaded."""

    async def stop(self) -> None: ...
    async def restart(self) -> None: ...
    async def unload(self) -> None: ...
    async def close(self) -> None: ...
