"""The contract of transports, as far as a scan is like a directory; and many calls that fail."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from seriesio.blob import Blob, MemoryBlob
from seriesio.errors import SeriesIOError, TargetExistsError
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import Place, TransportContract, XnatFaults, XnatServer
from seriesio.testing.contract import FILES, given, raised, stored
from seriesio.transports.xnat import XnatTransport

AUTH = ("user", "secret")
OTHER: dict[str, Any] = {"resource": "OTHER", "xsi_type": "xnat:mrScanData"}


def transport(url: str, path: str, **options: Any) -> XnatTransport:
    location = parse_location(url.replace("http", "xnat+http", 1) + path)
    return XnatTransport(location, Workers(), auth=AUTH, **options)


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer(users=dict([AUTH]))
    made.add_experiment("P", "S", "E")
    return made


@pytest.fixture
def url(server: XnatServer) -> Iterator[str]:
    with server.serve() as address:
        yield address


def held(server: XnatServer) -> dict[str, dict[str, bytes]]:
    return {name: server.files("P", "E", name, "OTHER") for name in server.scans("P", "E")}


@pytest.mark.parametrize("via", ["zip", "files"])
class TestXnat(TransportContract):
    """A scan that is still to be made."""

    @pytest.fixture
    def place(self, server: XnatServer, url: str, via: str) -> Place:
        path = "/P/S/E/7"
        return Place(
            lambda: transport(url, path, via=via, **OTHER),
            lambda: server.files("P", "E", "7", "OTHER"),
            lambda: (held(server), server.open_sessions),
        )

    async def test_add(self, place: Place) -> None:
        """A scan is one series: it is not added to, it is refused."""
        await stored(place, FILES)
        assert isinstance(await raised(place, given({"more": b"more"})), TargetExistsError)
        assert place.contents() == FILES

    async def test_overwrite(self, place: Place) -> None:
        """``overwrite`` replaces all files of the scan: two series are not mixed."""
        await stored(place, FILES)
        await stored(place, {"new": b"new", "more": b"more"}, overwrite=True)
        assert place.contents() == {"new": b"new", "more": b"more"}

    async def test_cancelled_anywhere(self, place: Place) -> None:
        """Held by the tests of writing."""

    async def test_cancelled_anywhere_by_its_task(self, place: Place) -> None:
        """Held by the tests of writing."""


async def _blobs(files: dict[str, bytes], pause: float) -> AsyncIterator[Blob]:
    for name, data in files.items():
        await anyio.sleep(pause)
        yield MemoryBlob(name, data)


def _fault(luck: random.Random) -> XnatFaults:
    return luck.choice(
        [
            XnatFaults(),
            XnatFaults(expire_after=luck.randint(1, 4)),
            XnatFaults(cut_after=luck.randint(0, 3000), times=luck.randint(1, 9)),
            XnatFaults(cut_upload_after=luck.randint(0, 3000), times=luck.randint(1, 9)),
            XnatFaults(status=luck.choice([403, 404, 500, 503]), times=luck.randint(1, 9)),
            XnatFaults(lose_answer=True, times=luck.randint(1, 3), paths="PUT"),
            XnatFaults(login_page=True, times=luck.randint(1, 9)),
            XnatFaults(truncate_zip=luck.randint(1, 3000)),
            XnatFaults(ignore_writes=True, paths="PUT.*files"),
        ]
    )


def _sockets() -> int:
    """Sockets that this process has open, the server's among them."""
    own = Path("/proc/self/fd")
    links = list(own.iterdir()) if own.is_dir() else []
    return sum(link.is_socket() for link in links)


@pytest.mark.slow
async def test_many_calls_that_fail(
    server: XnatServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 calls, faults and cancellation at random: scans are whole or not there; no rest."""
    monkeypatch.setattr("seriesio.transports._xnat_holdings._LOOKS", (0.0, 0.01))
    luck = random.Random(7)
    files = {f"{n}": luck.randbytes(500) for n in range(8)}
    server.add_scan("P", "S", "E", "1", files, resource="OTHER")
    tasks, sockets = len(asyncio.all_tasks()), _sockets()
    ends: Counter[str] = Counter()

    async def read(via: str) -> None:
        found: dict[str, Any] = {}
        async with aclosing(transport(url, "/P/S/E/1", via=via, retries=1).read()) as blobs:
            async for blob in blobs:
                found[blob.name] = blob.size
        assert found == {name: len(data) for name, data in files.items()}

    async def write(number: int, via: str, pause: float) -> None:
        target = transport(url, f"/P/S/E/{number}", via=via, retries=1, **OTHER)
        await target.write(_blobs(files, pause))

    async def one(number: int) -> None:
        via, pause = luck.choice(["zip", "files"]), luck.choice([0, 0.002])
        end = "cancelled"
        with anyio.move_on_after(luck.choice([0.01, 0.03, 0.1, 5])):
            try:
                await (read(via) if number % 2 else write(number, via, pause))
                end = "done"
            except SeriesIOError:
                end = "failed"
        ends[end] += 1

    for first in range(2, 202, 8):
        server.faults = _fault(luck)
        async with anyio.create_task_group() as group:
            for number in range(first, min(first + 8, 202)):
                group.start_soon(one, number)
        server.faults = XnatFaults()
        left = held(server)
        half = [name for name in left if left[name] != files]
        assert not half, f"scans {half} are left half written"
    assert ends.total() == 200
    assert set(ends) == {"done", "failed", "cancelled"}
    assert server.open_sessions <= 1
    with anyio.fail_after(5):
        while _sockets() > sockets:  # noqa: ASYNC110 - those of the server close by themselves
            await anyio.sleep(0.01)
    assert len(asyncio.all_tasks()) <= tasks + 1
