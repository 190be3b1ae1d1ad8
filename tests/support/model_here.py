"""The real engine in the test's own process: what runs a model is checked without a Python that imports torch again.

The model process itself is checked in tests/core/worker, in tests/tui/terminal, and once for each command that has one.
"""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from vlmscope.core.base.callbacks import not_cancelled
from vlmscope.core.base.errors import VlmscopeError, WorkerError
from vlmscope.core.model.engine import VlmEngine
from vlmscope.core.model.load import load
from vlmscope.core.worker.client import Lane
from vlmscope.core.worker.messages import Message, ModelSpec, ModelStatus, Phase, Request

A = TypeVar("A", bound=Message)


@cache
def _engine(name: str) -> VlmEngine:
    spec = ModelSpec(name, device="cpu")
    return VlmEngine(load(spec), spec)


class ModelHere:
    """In the place of ``core.worker.process.ModelProcess``; loads each model once for all tests of a process."""

    def __init__(self, spec: ModelSpec, on_status: Callable[[ModelStatus], None], idle_unload_s: float) -> None:
        self.spec = spec
        self.status = ModelStatus(Phase.READY)

    async def ask(self, request: Request[A], lane: Lane = Lane.SCREEN) -> A:
        engine = _engine(self.spec.name)
        assert engine.spec.hook is self.spec.hook
        try:
            # A handler's answer is of its request's type.
            return await asyncio.to_thread(engine.handlers[type(request)], request, not_cancelled)  # type: ignore[arg-type]
        except VlmscopeError as error:
            raise WorkerError(error.message, error.hint) from error

    async def close(self) -> None:
        """Nothing to end."""
