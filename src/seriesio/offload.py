"""Bounded worker threads: one hop for many pieces of work.

Work runs in anyio's worker threads, at most as many at a time as the limiter has tokens. A
cancelled call waits for the pieces that run (they are short) and starts no further ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

__all__ = ["Workers", "default_threads"]

T = TypeVar("T")
R = TypeVar("R")


def default_threads() -> int:
    """As many threads as processors that this process may use, at least two, at most 16."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # no affinity on this platform
        count = os.cpu_count() or 2
    return min(max(count, 2), 16)


class Workers:
    """A limit on threads, and the ways to use them."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or default_threads()
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def limiter(self) -> anyio.CapacityLimiter:
        # Made late: a limiter belongs to the running event loop.
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self.threads)
        return self._limiter

    async def run(self, function: Callable[..., R], *args: object) -> R:
        """Run one blocking function in a worker thread."""
        return await anyio.to_thread.run_sync(partial(function, *args), limiter=self.limiter)

    async def map(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        done: Callable[[T], object] | None = None,
    ) -> list[R]:
        """Run a blocking function over items side by side; results in the items' order.

        ``done`` is called in the event loop after each item. The first error keeps what has
        not begun from beginning and is raised as it is, not in a group.
        """
        results: dict[int, R] = {}
        failures: dict[int, BaseException] = {}
        pending = iter(enumerate(items))

        async def work() -> None:
            for index, item in pending:
                try:
                    results[index] = await self.run(function, item)
                    if done is not None and not failures:
                        done(item)
                except Exception as error:
                    failures[index] = error
                if failures:
                    return

        if len(items) <= 1:
            await work()
        else:
            async with anyio.create_task_group() as group:
                for _ in range(min(self.threads, len(items))):
                    group.start_soon(work)
        if failures:
            raise failures[min(failures)]
        return [results[index] for index in range(len(items))]
