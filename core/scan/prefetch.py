"""Threads that prepare the next items while the current one is used."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def prefetch(work: Callable[[int], T], items: Iterable[int], depth: int, threads: int) -> Generator[tuple[int, T]]:
    """Each item with what ``work`` makes of it, in order; ``threads`` threads are at most ``depth`` items ahead."""
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="ahead") as pool:
        try:
            left = iter(items)
            queue: deque[tuple[int, Future[T]]] = deque((item, pool.submit(work, item)) for item in islice(left, depth))
            while queue:
                item, future = queue.popleft()
                result = future.result()
                queue.extend((item, pool.submit(work, item)) for item in islice(left, 1))
                yield item, result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
