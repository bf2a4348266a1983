"""Scans written through the import service of the stand-in: counted where they have landed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from seriesio.blob import Blob, MemoryBlob
from seriesio.errors import LocationError, NotFoundError, TargetExistsError, TransportError
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.protocols import Receipt
from seriesio.testing import XnatFaults, XnatServer, phantom
from seriesio.transports.xnat import XnatTransport

AUTH = ("user", "secret")
URL = "xnat://xnat.test/P/S 1/"
FILES = phantom((4, 4, 4), series_number=7).files()
OTHERS = phantom((2, 4, 4), series_number=7, seed=1).files()


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer(users=dict([AUTH]))
    made.add_experiment("P", "S 1", "E")
    return made


async def imported(
    server: XnatServer,
    name: str = "new",
    files: dict[str, bytes] = FILES,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Receipt:
    async def given() -> AsyncIterator[Blob]:
        for path, data in files.items():
            yield MemoryBlob(path, data)

    usual = {"auth": AUTH, "http": httpx.ASGITransport(server), "retries": 1, "via": "import"}
    transport = XnatTransport(parse_location(URL + name), Workers(), **{**usual, **options})
    return await transport.write(given(), overwrite=overwrite)


def posts(server: XnatServer) -> int:
    return sum(one.path == "/data/services/import" for one in server.requests)


async def test_import(server: XnatServer) -> None:
    """Into the archive: the receipt says where the session landed."""
    receipt = await imported(server, create_parents=True)
    assert (receipt.url, receipt.count) == ("xnat://xnat.test/P/S%201/new", 4)
    assert sorted(server.files("P", "new", "7").values()) == sorted(FILES.values())
    assert server.prearchive == ()


async def test_labels(server: XnatServer) -> None:
    """Labels with spaces and signs of URLs arrive as they are."""
    receipt = await imported(server, "50%25 %26 %C3%A4", create_parents=True)
    assert receipt.url == "xnat://xnat.test/P/S%201/50%25%20%26%20%C3%A4"
    assert server.accession("P", "50% & ä")


async def test_import_into_the_prearchive(server: XnatServer) -> None:
    """Where it stays until somebody archives it."""
    receipt = await imported(server, import_to="prearchive")
    assert [receipt.url] == ["https://xnat.test/data" + path for path in server.prearchive]


async def test_import_needs_the_experiment(server: XnatServer) -> None:
    """A new session is made only if one says so."""
    with pytest.raises(NotFoundError, match="experiment 'new'"):
        await imported(server)
    assert posts(server) == 0


async def test_import_into_a_session(server: XnatServer) -> None:
    """A session that is there is added to, or refused before anything could wait for somebody."""
    with pytest.raises(TargetExistsError, match='merge="append"'):
        await imported(server, "E")
    assert (posts(server), server.prearchive) == (0, ())
    await imported(server, "E", merge="append")
    await imported(server, "E", OTHERS, merge="append")
    assert sum(len(server.files("P", "E", name)) for name in server.scans("P", "E")) == 6


async def test_what_is_left_in_the_prearchive(server: XnatServer) -> None:
    """Files that are there already: the server refuses, and the error says where ours wait."""
    await imported(server, "E", merge="append")
    with pytest.raises(TransportError, match="400") as caught:
        await imported(server, "E", merge="append")
    assert server.prearchive[0] in "".join(caught.value.__notes__)


async def test_what_an_import_does_not_heed(server: XnatServer) -> None:
    """Options that mean nothing there are refused, not passed over; so is what is no DICOM."""
    for options in ({"scan_id": 3}, {"note": "n"}, {"quality": "usable"}, {"overwrite": True}):
        with pytest.raises(LocationError, match='via="import"'):
            await imported(server, "E", merge="append", **options)
    with pytest.raises(LocationError, match="ID and description"):
        await imported(server, "E/12", merge="append")
    with pytest.raises(LocationError, match=r"'a\.txt' is not DICOM"):
        await imported(server, "E", FILES | {"a.txt": b"text"}, merge="append")
    assert posts(server) == 0


async def test_an_answer_that_is_lost(server: XnatServer) -> None:
    """Nothing is sent twice: the catalogue tells that all has arrived."""
    inner = httpx.ASGITransport(server)

    class Impatient(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await inner.handle_async_request(request)
            if request.url.path.endswith("/import"):
                return httpx.Response(504, text="gateway")
            return response

    receipt = await imported(server, create_parents=True, http=Impatient())
    assert receipt.url == "xnat://xnat.test/P/S%201/new"
    assert posts(server) == 1
    assert len(server.files("P", "new", "7")) == 4


@pytest.mark.parametrize("to", ["archive", "prearchive"])
async def test_what_has_not_landed(
    server: XnatServer, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that the server has taken and does not list are told, by series."""
    monkeypatch.setattr("seriesio.transports._xnat_holdings._LOOKS", (0.0, 0.01))
    inner = httpx.ASGITransport(server)

    class Losing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await inner.handle_async_request(request)
            if not request.url.path.endswith(("/files", "/resources")):
                return response
            document = httpx.Response(200, content=await response.aread()).json()
            rows = document["ResultSet"]["Result"]
            del rows[3:]
            for row in rows:
                row["file_count"] = "3"
            return httpx.Response(200, json=document)

    with pytest.raises(TransportError, match="3 of 4 files of series 7"):
        await imported(server, create_parents=True, import_to=to, http=Losing())


async def test_an_answer_without_a_place(server: XnatServer) -> None:
    """A service that does not say where the session is: told, without what it echoes of us."""
    inner = httpx.ASGITransport(server)

    class Vague(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/import"):
                return httpx.Response(200, text="hello secret world")
            return await inner.handle_async_request(request)

    with pytest.raises(TransportError, match=r"does not say where .*hello \*\*\* world"):
        await imported(server, create_parents=True, http=Vague())


async def test_a_session_that_dies_meanwhile(server: XnatServer) -> None:
    """A refused login has imported nothing: after a new one it is sent again."""
    server.faults = XnatFaults(expire_after=3)
    await imported(server, create_parents=True)
    assert len(server.files("P", "new", "7")) == 4
    assert server.open_sessions == 0
