"""Bounded worker threads: one hop for many pieces of work.

Work runs in anyio's worker threads, at most as many at a time as the limiter has tokens. A
cancelled call, whether by anyio's scope or asyncio's task, waits for the pieces that run (they are
short) and starts no further ones: memory and files that they use may be given back then.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar, cast

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from .endings import ended

__all__ = ["Workers", "alone", "default_threads", "shares"]

T = TypeVar("T")
R = TypeVar("R")

# Seconds of work that one hop to a thread takes along: enough to make the hop itself cheap,
# little enough for a cancelled call to end soon.
_HOP: Final = 0.01
_SHARED: Final = 6  # shares that what is left is worth: twice the usual number of threads

_mostly_python = threading.Lock()
_shared: RunVar[anyio.CapacityLimiter] = RunVar("seriesio_workers")
_turn: RunVar[anyio.Lock] = RunVar("seriesio_turn")


def default_threads() -> int:
    """One more than the processors that this process may use, from 3 to 16.

    While one thread waits for the interpreter's lock, there are as many left as can run.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # no affinity on this platform
        count = os.cpu_count() or 2
    return min(max(count, 2) + 1, 16)


def shares(count: int, most: int, least: int) -> list[range]:
    """Items shared out for :meth:`Workers.map`: large shares first, small ones at the end.

    Each share costs something; who takes a large one last keeps the others waiting.
    """
    found, start = [], 0
    while start < count:
        size = max(min(most, (count - start) // _SHARED), least, 1)
        found.append(range(start, min(start + size, count)))
        start += size
    return found


def alone(function: Callable[..., R], *args: object) -> R:
    """Call a function that is mostly Python while no other thread of ours does the same.

    Two such threads would only take the interpreter's lock from each other, and both from the
    event loop. Reading, decoding and inflating let go of that lock: they need no turn.
    """
    with _mostly_python:
        return function(*args)


def _new_limiter(threads: int) -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(threads)


def _shared_limiter() -> anyio.CapacityLimiter:
    """The limiter of this event loop."""
    try:
        return _shared.get()
    except LookupError:
        limiter = _new_limiter(default_threads())
        _shared.set(limiter)
        return limiter


def _whose_turn() -> anyio.Lock:
    """The lock of this event loop: who waits for a turn takes no thread meanwhile."""
    try:
        return _turn.get()
    except LookupError:
        lock = anyio.Lock()
        _turn.set(lock)
        return lock


class _Call(Generic[R]):
    """A call in a thread, and whether it still runs; asyncio's cancelling would not wait for it."""

    def __init__(self, function: Callable[..., R], args: tuple[object, ...]) -> None:
        self._function, self._args = function, args
        self._lock = threading.Lock()
        self._running = self._dropped = False
        self._over: asyncio.Future[None] | None = None

    def __call__(self) -> R | None:
        with self._lock:
            if self._dropped:
                return None
            self._running = True
        try:
            return self._function(*self._args)
        finally:
            with self._lock:
                self._running = False
            if (over := self._over) is not None:
                over.get_loop().call_soon_threadsafe(over.set_result, None)

    async def drop(self) -> None:
        """Begin it no more; if it runs, wait until it is over, whatever is cancelled meanwhile."""
        with self._lock:
            self._dropped = True
            if not self._running:
                return
            self._over = over = asyncio.get_running_loop().create_future()
        await ended(over)


class Workers:
    """A limit on threads, and the ways to use them.

    Without a number of their own, all workers of an event loop share one limit: many series
    opened at once take no more threads than one.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or default_threads()
        self._own = threads is not None
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def limiter(self) -> anyio.CapacityLimiter:
        # Made late: a limiter belongs to the running event loop.
        if self._limiter is None:
            self._limiter = _new_limiter(self.threads) if self._own else _shared_limiter()
        return self._limiter

    async def run(self, function: Callable[..., R], *args: object) -> R:
        """Run one blocking function in a worker thread."""
        call = _Call(function, args)
        try:
            return cast("R", await anyio.to_thread.run_sync(call, limiter=self.limiter))
        except asyncio.CancelledError:
            await call.drop()
            raise

    async def run_alone(self, function: Callable[..., R], *args: object) -> R:
        """Run a function that is mostly Python in a worker thread, one of its kind at a time."""
        async with _whose_turn():
            return await self.run(alone, function, *args)

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
        all_taken = False

        def some() -> list[T]:
            """What one hop does: items until its time is over, or all are taken."""
            nonlocal all_taken
            finished: list[T] = []
            end = time.monotonic() + _HOP
            for index, item in pending:
                if failures:  # of another hop, even if this one has waited for a thread
                    break
                try:
                    results[index] = function(item)
                except Exception as error:
                    failures[index] = error
                    break
                finished.append(item)
                if time.monotonic() > end:
                    break
            else:
                all_taken = True
            return finished

        async def work() -> None:
            while not all_taken:
                finished = await self.run(some)
                if done is not None and not failures:
                    try:
                        for item in finished:
                            done(item)
                    except Exception as error:
                        failures[len(items)] = error
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
