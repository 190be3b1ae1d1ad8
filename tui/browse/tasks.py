"""Work in the background."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

from vlmscope.core.base.errors import VlmscopeError


class UnexpectedError(VlmscopeError):
    title = "Something unexpected went wrong"


class Tasks:
    """The background tasks of one screen."""

    def __init__(self, guard: Callable[[], AbstractContextManager[None]]) -> None:
        """``guard`` notifies the user of failures."""
        self._guard = guard
        self._running: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing is running."""
        return not self._running

    def run_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do ``work`` in the background; the user is notified of a failure."""
        task = asyncio.create_task(self._guarded(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: work.close())  # if it was cancelled before it began, Python would warn
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        with self._guard():
            await work

    def cancel(self) -> None:
        """Stop all of them."""
        for task in self._running:
            task.cancel()

    async def finish(self) -> None:
        """Wait until all of them are done."""
        await asyncio.gather(*self._running, return_exceptions=True)
