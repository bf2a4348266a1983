"""What tasks and threads share: limits for each host, and the bridge from thread to loop."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest

from seriesio.errors import AssociationError
from seriesio.transports._dicom_association import Peer
from seriesio.transports._dicom_bridge import Bridge
from seriesio.transports._dicom_session import host_limiter


async def test_one_limit_for_a_host() -> None:
    """All who talk to a host share one limit; another port is another host."""
    first = host_limiter(Peer("one.invalid", 104, "A"), 3)
    assert host_limiter(Peer("one.invalid", 104, "B"), 9) is first
    assert first.total_tokens == 3
    assert host_limiter(Peer("one.invalid", 105, "A"), 9) is not first


async def test_bridge() -> None:
    """What threads put is taken in order; who puts too much waits until it is taken."""
    bridge: Bridge[int] = Bridge(10)
    taken: list[int] = []

    def put() -> None:
        for number in range(50):
            bridge.put(number, 4)

    async def feed() -> None:
        await anyio.to_thread.run_sync(put)
        bridge.finish()

    async with anyio.create_task_group() as group:
        group.start_soon(feed)
        while batch := await bridge.take():
            assert len(batch) <= 2
            taken += batch
    assert taken == list(range(50))


async def test_one_thing_larger_than_the_limit() -> None:
    """One thing alone may be larger than all that may wait."""
    bridge: Bridge[str] = Bridge(10)
    await anyio.to_thread.run_sync(bridge.put, "large", 1000)
    assert await bridge.take() == ["large"]


async def test_closed_bridge() -> None:
    """Who waits to put is woken by an error when nobody takes any more."""
    bridge: Bridge[int] = Bridge(10)
    await anyio.to_thread.run_sync(bridge.put, 1, 10)

    async def put() -> None:
        with pytest.raises(AssociationError, match="nobody waits"):
            await anyio.to_thread.run_sync(bridge.put, 2, 10)

    async with anyio.create_task_group() as group:
        group.start_soon(put)
        await anyio.sleep(0.05)
        bridge.close()
