"""The same work for each of many items: several at once, each result reported as it comes, all in the given order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vlmscope.core.base.errors import VlmscopeError

I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R")


@dataclass(frozen=True)
class BatchEnd(Generic[R]):
    """The results, in the order of the items, and the error that ended the work early, if one did."""

    results: tuple[R, ...]
    stopped: VlmscopeError | None = None


async def run_batch(
    items: Sequence[I],
    work: Callable[[I], Awaitable[R]],
    missed: Callable[[I, VlmscopeError | None], R],
    *,
    ends: tuple[type[VlmscopeError], ...],
    at_once: int = 1,
    on_result: Callable[[R], None] = lambda _: None,
) -> BatchEnd[R]:
    """Do ``work`` for each item.

    After an error of ``ends`` no further item is started; started ones finish. If the task is cancelled, they are
    dropped.

    Args:
        missed: the result of an item that failed with such an error, or, with None, of one that was not started.
        ends: the errors that end the batch; others are raised.
        at_once: items that are worked on at the same time.
        on_result: called for each result as it comes.
    """
    results: dict[int, R] = {}
    waiting = iter(enumerate(items))
    stopped: list[VlmscopeError] = []

    async def worker() -> None:
        for at, item in waiting:
            if stopped:
                return
            try:
                results[at] = await work(item)
            except ends as error:
                stopped.append(error)
                results[at] = missed(item, error)
            on_result(results[at])

    tasks = [asyncio.create_task(worker()) for _ in range(min(at_once, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    found = [results[at] if at in results else missed(item, None) for at, item in enumerate(items)]
    return BatchEnd(tuple(found), stopped[0] if stopped else None)
