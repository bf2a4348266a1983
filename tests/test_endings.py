"""Work that ends, however often whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from seriesio.endings import ended, to_the_end
from seriesio.transports._http_pool import Pool

from .cancelling import WAYS, Within


async def slow(told: list[str], name: str = "done") -> str:
    await anyio.sleep(0.03)
    told.append(name)
    return name


async def test_its_result_and_its_error() -> None:
    """What it comes to is handed on."""
    assert await to_the_end(slow([])) == "done"

    async def failing() -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        await to_the_end(failing())


@pytest.mark.parametrize("within", WAYS)
@pytest.mark.parametrize("watched", [False, True])
async def test_a_cancellation_waits(within: Within, watched: bool) -> None:
    """It has ended when the cancelled call has; who asked for that is told first."""
    told: list[str] = []
    async with within(0.01):
        await to_the_end(slow(told), (lambda _: told.append("given up")) if watched else None)
    assert told == (["given up", "done"] if watched else ["done"])


async def test_cancelled_again_and_again() -> None:
    """Each further cancellation waits as well, and one of them is raised."""
    told: list[str] = []
    task = asyncio.ensure_future(to_the_end(slow(told)))
    for _ in range(4):
        await anyio.sleep(0.002)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["done"]


async def test_an_error_after_a_cancellation_is_its_cause() -> None:
    """What went wrong while it was waited for can be found."""

    async def failing() -> None:
        await anyio.sleep(0.02)
        raise ValueError("late")

    task = asyncio.ensure_future(to_the_end(failing()))
    await anyio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, ValueError)


async def test_waiting_does_not_swallow_a_cancellation() -> None:
    """Who only waits is cancelled when the work has ended."""
    told: list[str] = []
    work = asyncio.ensure_future(slow(told))
    waiting = asyncio.ensure_future(ended(work))
    await anyio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert told == ["done"]


async def test_a_pool_closes_all() -> None:
    """A client that is cancelled while it closes has closed everything."""
    told: list[str] = []

    class Resource:
        def __init__(self, name: str) -> None:
            self.name = name

        async def aclose(self) -> None:
            await slow(told, self.name)

    pool = Pool()
    for name in ("a", "b", "c"):

        async def make(name: str = name) -> Resource:
            return Resource(name)

        await pool.get(name, make)
    closing = asyncio.ensure_future(pool.aclose())
    await anyio.sleep(0.01)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert told == ["a", "b", "c"]
