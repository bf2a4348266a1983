"""The two ways in which whoever waits is cancelled: anyio's scopes, and asyncio's tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import anyio

__all__ = ["WAYS", "Within"]

Within = Callable[[float], AbstractAsyncContextManager[Callable[[], None]]]
"""``async with within(seconds) as cancel``: cancelled then, or when ``cancel()`` is called."""


@asynccontextmanager
async def scope(seconds: float) -> AsyncIterator[Callable[[], None]]:
    """By anyio."""
    with anyio.move_on_after(seconds) as made:
        yield made.cancel


@asynccontextmanager
async def task(seconds: float) -> AsyncIterator[Callable[[], None]]:
    """By asyncio, through ``task.cancel()``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds) as made:
            loop = asyncio.get_running_loop()
            yield lambda: made.reschedule(loop.time())


WAYS: list[Within] = [scope, task]
