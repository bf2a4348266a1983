"""Writes that fail or are cancelled: what was there stays, what we began goes, nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import httpx
import pytest

from seriesio.blob import Blob, MemoryBlob
from seriesio.errors import LocationError, SeriesIOError, TransportError
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import XnatFaults, XnatServer, phantom
from seriesio.transports.xnat import XnatTransport

from ..cancelling import WAYS, Within

AUTH = ("user", "secret")
URL = "xnat://xnat.test/P/S/E"
FILES = phantom((3, 4, 4), series_number=7).files()
OLD = {"a": b"old", next(iter(FILES)): b"old"}
Answering = Callable[[httpx.Request], Any]


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer(users=dict([AUTH]))
    made.add_scan("P", "S", "E", "1", {"kept": b"kept"})
    return made


class Watched(httpx.AsyncBaseTransport):
    """The stand-in, with something that happens before and after its answers."""

    def __init__(
        self, server: XnatServer, before: Answering | None = None, after: Answering | None = None
    ) -> None:
        self._inner = httpx.ASGITransport(server)
        self._before, self._after = before, after

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        instead = self._before(request) if self._before else None
        if isinstance(instead, httpx.Response):
            return instead
        response = await self._inner.handle_async_request(request)
        await response.aread()
        instead = self._after(request) if self._after else None
        return instead if isinstance(instead, httpx.Response) else response


async def given(files: dict[str, bytes]) -> AsyncIterator[Blob]:
    for name, data in files.items():
        yield MemoryBlob(name, data)


async def write(
    server: XnatServer,
    url: str = URL,
    *,
    overwrite: bool = False,
    http: Any = None,
    **options: Any,
) -> None:
    options = {"auth": AUTH, "http": http or httpx.ASGITransport(server), "retries": 0, **options}
    transport = XnatTransport(parse_location(url), Workers(), **options)
    await transport.write(given(FILES), overwrite=overwrite)


def held(server: XnatServer) -> dict[str, dict[str, bytes]]:
    return {name: server.files("P", "E", name) for name in server.scans("P", "E")}


# --- cancelled --------------------------------------------------------------------------------


@pytest.mark.parametrize("within", WAYS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("via", ["zip", "files"])
@pytest.mark.parametrize("overwrite", [False, True])
async def test_cancelled_at_every_request(
    server: XnatServer,
    via: str,
    overwrite: bool,
    when: Literal["before", "after"],
    within: Within,
) -> None:
    """Before or after the answer to each: all new files are there and no others, or all old."""
    if overwrite:
        server.add_scan("P", "S", "E", "7", OLD)
    before = held(server)
    for moment in range(40):
        left = moment
        async with within(60) as cancel:

            def tick(request: httpx.Request, cancel: Callable[[], None] = cancel) -> None:
                nonlocal left
                left -= 1
                if left == -1:
                    cancel()

            http = Watched(server, **{when: tick})
            await write(server, overwrite=overwrite, via=via, http=http)
        assert server.open_sessions == 0
        now = held(server)
        if now != before:
            assert sorted(now["7"].values()) == sorted(FILES.values())
            assert now["1"] == before["1"]
            return
    pytest.fail("there are not that many requests")


async def test_old_files_that_cannot_be_removed(server: XnatServer) -> None:
    """When the new files are all there, no failure takes them away; old ones are named."""
    server.add_scan("P", "S", "E", "7", {f"old{n}": b"old" for n in range(3)})

    def refuse(request: httpx.Request) -> httpx.Response | None:
        hit = request.method == "DELETE" and request.url.path.endswith("old1")
        return httpx.Response(500, text="no") if hit else None

    with pytest.raises(TransportError) as caught:
        await write(server, overwrite=True, http=Watched(server, refuse))
    assert "2 old ones could not be removed: old1, old2" in "".join(caught.value.__notes__)
    assert held(server)["7"] == {**FILES, "old1": b"old", "old2": b"old"}


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["..", ".", "", " ", "*", "ALL", "NULL", "1,2", "a/b", "1?x", "ä"])
async def test_ids_that_mean_something_else(server: XnatServer, name: str) -> None:
    """An ID that would be a list or another path never gets there: nothing is asked, or deleted."""
    with pytest.raises(LocationError, match="the ID of a scan"):
        await write(server, scan_id=name)
    assert held(server) == {"1": {"kept": b"kept"}}
    assert server.requests == ()


@pytest.mark.parametrize("name", ["..", ".", "", "*", "DICOM,secondary", "a/b", "a\nb"])
async def test_labels_that_mean_something_else(server: XnatServer, name: str) -> None:
    """So it is with the label of a resource."""
    with pytest.raises(LocationError, match="resource="):
        await write(server, resource=name)
    assert server.requests == ()


# --- others -----------------------------------------------------------------------------------


async def test_what_others_have_put_there(
    server: XnatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan into which somebody else has put something meanwhile loses our files only."""
    monkeypatch.setattr("seriesio.transports._xnat_holdings._LOOKS", (0.0,))
    server.faults = XnatFaults(paths="PUT.*/files/", status=403)

    def join(request: httpx.Request) -> None:
        if request.method == "PUT" and request.url.path.endswith("/resources/DICOM"):
            server.add_scan("P", "S", "E", "7", {"theirs": b"theirs"}, resource="NIFTI")

    with pytest.raises(TransportError, match="403"):
        await write(server, http=Watched(server, after=join))
    assert server.files("P", "E", "7", "NIFTI") == {"theirs": b"theirs"}
    assert server.files("P", "E", "7") == {}


async def test_parents_that_others_have_made(server: XnatServer) -> None:
    """Of two who make a session at once, one has not made it: that one does not remove it."""

    def faster(request: httpx.Request) -> None:
        if request.method == "PUT" and request.url.path.endswith("/experiments/new"):
            server.add_experiment("P", "S", "new")

    server.faults = XnatFaults(paths="PUT.*/scans/", status=403)
    with pytest.raises(SeriesIOError, match="403"):
        await write(server, URL[:-1] + "new", create_parents=True, http=Watched(server, faster))
    assert server.accession("P", "new")


@pytest.mark.parametrize("status", [502, 504])
async def test_a_gateway_that_gives_up(server: XnatServer, status: int) -> None:
    """The server has done what was asked for, and a proxy says that it has not: no harm."""
    told: list[str] = []

    def give_up(request: httpx.Request) -> httpx.Response | None:
        if request.method != "PUT" or request.url.path in told:
            return None
        told.append(request.url.path)
        return httpx.Response(status, text="gateway")

    http = Watched(server, after=give_up)
    await write(server, URL[:-1] + "new", create_parents=True, retries=1, http=http)
    assert server.files("P", "new", "7") == FILES
    assert any(path.endswith("/resources/DICOM") for path in told)
