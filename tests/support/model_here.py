"""The real engine in the test's own process, with requests and answers packed and unpacked as on their way to another.

What runs a model is checked without a Python that imports torch again. The model process itself is checked in
tests/core/worker, tests/core/model/test_engine.py and tests/tui/terminal, and once for each command that has one.
"""

import asyncio
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import TypeVar, cast

from vlmscope.core.base.callbacks import not_cancelled
from vlmscope.core.base.errors import WorkerError
from vlmscope.core.model.engine import VlmEngine
from vlmscope.core.model.load import load
from vlmscope.core.model.server import failure
from vlmscope.core.worker import wire
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.messages import Failed, Message, ModelSpec, ModelStatus, Phase, Request

A = TypeVar("A", bound=Message)


@cache
def engine_of(name: str) -> VlmEngine:
    """The engine of a model, loaded once. A test that changes weights restores them, and calls ``free`` each time."""
    spec = ModelSpec(name, device="cpu")
    return VlmEngine(load(spec), spec)


def _sent(message: Message, *kinds: type[Message]) -> Message:
    frame = wire.read(BytesIO(wire.pack(message, 1)))
    assert frame is not None
    return wire.unpack(frame, *kinds)


class ModelHere:
    """In the place of ``core.worker.process.ModelProcess``; loads each model once for all tests of a process."""

    def __init__(
        self, spec: ModelSpec, on_status: Callable[[ModelStatus], None] = lambda _: None, idle_unload_s: float = 0
    ) -> None:
        self.spec = spec
        self.status = ModelStatus(Phase.OFF)

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        engine = engine_of(self.spec.name)
        assert engine.spec.hook is self.spec.hook
        self.status = ModelStatus(Phase.READY)
        answer = await asyncio.to_thread(_answer, engine, cast(Message, request))
        found = _sent(answer, Failed, request.answer_type())
        if isinstance(found, Failed):
            error = WorkerError(found.message, found.hint)
            error.title = found.title
            raise error
        return cast(A, found)

    async def unload(self) -> None:
        engine_of(self.spec.name).free()
        self.status = ModelStatus(Phase.OFF)

    async def close(self) -> None:
        """Nothing to end."""


def _answer(engine: VlmEngine, request: Message) -> Message:
    received = _sent(request, *engine.handlers)
    try:
        return engine.handlers[type(received)](received, not_cancelled)  # type: ignore[index]  # it is a request
    except Exception as error:  # noqa: BLE001  # as the model process does
        return failure(error)
