"""A bounded queue from worker threads to the event loop: who puts too much waits."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Generic, TypeVar

from ..errors import AssociationError

__all__ = ["Bridge"]

T = TypeVar("T")


class Bridge(Generic[T]):
    """Made in the event loop, which takes; threads put.

    Args:
        limit: sizes that may wait together; one thing alone may be larger.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[T, int]] = deque()
        self._size = 0
        self._closed = self._done = False
        self._changed = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()

    def put(self, thing: T, size: int) -> None:
        """Put something; blocks while too much waits.

        Raises:
            AssociationError: nobody takes any more.
        """
        with self._changed:
            while self._waiting and self._size + size > self._limit and not self._closed:
                self._changed.wait()
            if self._closed:
                raise AssociationError("nobody waits for what the peer sends")
            self._waiting.append((thing, size))
            self._size += size
            if len(self._waiting) == 1:  # else the loop knows already
                self._loop.call_soon_threadsafe(self._arrived.set)

    def finish(self) -> None:
        """Nothing more comes; in the event loop."""
        self._done = True
        self._arrived.set()

    def close(self) -> None:
        """Nobody takes any more: drop what waits, and wake who puts."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    async def take(self) -> list[T]:
        """All that waits, in order; none at the end."""
        while True:
            with self._changed:
                taken = [thing for thing, _ in self._waiting]
                self._waiting.clear()
                self._size = 0
                self._arrived.clear()
                self._changed.notify_all()
            if taken or self._done:
                return taken
            await self._arrived.wait()
