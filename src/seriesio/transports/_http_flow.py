"""Work that goes on beside whoever takes its results, with room for a few of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeVar, cast

from ..endings import ended

__all__ = ["flowing"]

T = TypeVar("T")
_END: Final = object()


async def flowing(
    work: Callable[[Callable[[T], Awaitable[None]]], Awaitable[None]], room: int
) -> AsyncGenerator[T, None]:
    """Yield what ``work`` emits; it waits where ``room`` results are not taken yet.

    An error of the work is raised when what it emitted before is taken. Whenever the generator
    is closed the work is cancelled, and has ended before the closing does.
    """
    queue: asyncio.Queue[object] = asyncio.Queue(room)

    async def run() -> None:
        try:
            await work(queue.put)
        finally:
            if (task := asyncio.current_task()) is None or not task.cancelling():
                await queue.put(_END)

    task = asyncio.ensure_future(run())
    try:
        while (item := await queue.get()) is not _END:
            yield cast("T", item)
        await task
    finally:
        if not task.done():
            task.cancel()
        await ended(task)
