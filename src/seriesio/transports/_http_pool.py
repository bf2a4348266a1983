"""What a client keeps open between its calls: one resource for each key, closed at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Protocol, TypeVar, cast

import anyio

from ..endings import to_the_end
from ..errors import ClientClosedError
from ..offload import Workers

__all__ = ["Pool", "Pooled", "PoolingWorkers"]


class Pooled(Protocol):
    """Something that can be kept, and has to be closed."""

    async def aclose(self) -> None: ...


T = TypeVar("T", bound=Pooled)


class Pool:
    """Resources by key; each is made once, however many calls ask for it at the same time."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Pooled] = {}
        self._locks: dict[Hashable, anyio.Lock] = {}
        self._closed = False

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The resource of a key, made if it is not there.

        Raises:
            ClientClosedError: the pool is closed.
        """
        async with self._locks.setdefault(key, anyio.Lock()):
            self._refuse_closed()
            if key not in self._kept:
                made = await make()
                if self._closed:  # meanwhile
                    await made.aclose()
                    self._refuse_closed()
                self._kept[key] = made
            return cast("T", self._kept[key])

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ClientClosedError("the Client is closed")

    async def aclose(self) -> None:
        """Close everything, also when cancelled; more than once is harmless."""
        self._closed = True
        kept, self._kept = list(self._kept.values()), {}
        if kept:
            await to_the_end(_closed(kept))


async def _closed(resources: Iterable[Pooled]) -> None:
    for resource in resources:
        await resource.aclose()


class PoolingWorkers(Workers):
    """Worker threads of a client, and beside them what it keeps open between its calls."""

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(threads)
        self.pool = Pool()
