"""Work beside the keys, and the one place where whatever goes wrong, in it or in an action, is caught and told."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any

from vlmscope.core.base.errors import VlmscopeError
from vlmscope.tui.messages import Failure, Post


class UnexpectedError(VlmscopeError):
    title = "Something unexpected went wrong"


@contextlib.contextmanager
def told(post: Post) -> Iterator[None]:
    """Tell the user of any failure of what is done inside; the screen goes on."""
    try:
        yield
    except VlmscopeError as error:
        post(Failure(error))
    except Exception as error:  # noqa: BLE001 (data, settings and libraries fail in ways that nobody has listed)
        post(Failure(UnexpectedError(f"{type(error).__name__}: {error}", "The screen goes on; please report it.")))


class Tasks:
    """The background tasks of one screen."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._running: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing is running."""
        return not self._running

    def run_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do ``work`` beside everything else; what goes wrong in it is told."""
        task = asyncio.create_task(self._guarded(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        with told(self._post):
            await work

    def cancel(self) -> None:
        """Stop all of them."""
        for task in self._running:
            task.cancel()

    async def finish(self) -> None:
        """Wait until all of them are done."""
        await asyncio.gather(*self._running, return_exceptions=True)
