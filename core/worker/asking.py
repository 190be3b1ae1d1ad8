"""Asking the model process again when a later request took the place of one that waited."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from vlmscope.core.worker.process import Superseded

AGAIN_S = 0.25  #: the screen's own request is answered first

Request = TypeVar("Request")
Answer = TypeVar("Answer")


async def ask(call: Callable[[Request], Awaitable[Answer]], request: Request) -> Answer:
    """``call(request)``, as often as it is superseded. Raises what else it raises."""
    while True:
        try:
            return await call(request)
        except Superseded:
            await asyncio.sleep(AGAIN_S)
