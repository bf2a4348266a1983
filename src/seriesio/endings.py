"""Work that ends although whoever waits for it is cancelled.

anyio's shield holds off its own scopes; asyncio's ``task.cancel()``, which its timeouts use, too,
goes through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

__all__ = ["ended", "to_the_end"]

R = TypeVar("R")


async def ended(work: asyncio.Future[Any]) -> None:
    """Wait until a task or future has ended; who is cancelled meanwhile is so afterwards."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    if not work.cancelled():
        work.exception()  # told already, or nobody asks any more
    if cancelled is not None:
        raise cancelled


async def to_the_end(
    work: Coroutine[Any, Any, R], given_up: Callable[[asyncio.Task[R]], object] | None = None
) -> R:
    """Do work that has to end by itself; a cancellation waits for that.

    Args:
        work: what is done, in a task of its own.
        given_up: is told when nobody wants the result any more. With none, anyio's scopes do not
            even interrupt the waiting: what the work comes to is not lost.
    """
    task = asyncio.create_task(work)
    with anyio.CancelScope(shield=given_up is None):
        try:
            result = await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            if given_up is not None:
                given_up(task)
            await ended(task)
            raise cancelled from (None if task.cancelled() else task.exception())
    return result
