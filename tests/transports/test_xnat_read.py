"""Scans read from the stand-in, whatever it does wrong; what was put into it is the oracle."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import aclosing
from typing import Any

import anyio
import httpx
import pytest
from anyio import from_thread, to_thread

from seriesio import Client
from seriesio.blob import ReceivedBlob, read_all
from seriesio.errors import (
    AmbiguousSeriesError,
    IncompleteSeriesError,
    LocationError,
    NotFoundError,
    TooLargeError,
    TransportError,
)
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.protocols import Catalogue, Sink, Source
from seriesio.testing import XnatFaults, XnatServer
from seriesio.transports import _xnat_find, _xnat_read
from seriesio.transports._xnat_listing import Resource, resources_of
from seriesio.transports._xnat_read import _fed, chosen_way
from seriesio.transports._xnat_receive import Arrivals, CatalogFile, Receiving, held_against
from seriesio.transports._xnat_unzip import Unzip
from seriesio.transports.xnat import XnatTransport

from ..cancelling import WAYS, Within

AUTH = ("user", "pass word")
FILES = {f"IM{n:05}.dcm": os.urandom(2000 + n) for n in range(12)}
ODD = {"a b/ä.dcm": b"one" * 999, "4/x%20y": b"two", "large": os.urandom(600_000), "c#d?e": b"3"}

Opener = Callable[..., XnatTransport]


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer(users=dict([AUTH]))
    made.add_scan("P", "S 1", "E", "4", FILES, type="T1", series_description="T1 mprage")
    made.add_scan("P", "S 1", "E", "5-MR1", ODD, type="T2 (fast)", series_description="T2 tse")
    made.add_scan("P", "S 1", "E", "6", {"f": b"f"}, type="T2", quality="unusable")
    return made


@pytest.fixture
def opened(server: XnatServer) -> Iterator[Opener]:
    """``opened(path, **options)`` is a transport to the stand-in on a port."""
    with server.serve() as url:
        yield lambda path, **options: XnatTransport(
            parse_location(url.replace("http", "xnat+http", 1) + path),
            Workers(),
            **{"auth": AUTH, **options},
        )


async def contents(transport: XnatTransport) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async with aclosing(transport.read()) as blobs:
        async for blob in blobs:
            assert blob.name not in found
            found[blob.name] = bytes(await to_thread.run_sync(read_all, blob))
    return found


def downloads(server: XnatServer) -> list[str]:
    """The requests for files, as paths below the resource."""
    return [
        request.path.partition("/files")[2]
        for request in server.requests
        if request.method == "GET" and "/resources/" in request.path
    ]


# --- what is read ---------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["zip", "files", "auto"])
async def test_read(opened: Opener, via: str) -> None:
    """All files, byte for byte, under their names in the resource."""
    assert await contents(opened("/P/S%201/E/4", via=via)) == FILES


@pytest.mark.parametrize("via", ["zip", "files"])
@pytest.mark.parametrize("deflate", [False, True])
async def test_odd_names(server: XnatServer, via: str, deflate: bool) -> None:
    """Directories, spaces, signs of URLs, and a part that is the ID of the scan."""
    server = XnatServer(users=dict([AUTH]), deflate=deflate)
    server.add_scan("P", "S 1", "E", "4", ODD, type="T2 (fast)")
    transport = in_process(server, "/P/S 1/E/4", via=via)
    assert await contents(transport) == ODD


def in_process(server: XnatServer, path: str, **options: Any) -> XnatTransport:
    return XnatTransport(
        parse_location("xnat://xnat.test" + path),
        Workers(),
        **{"auth": AUTH, "http": httpx.ASGITransport(server), **options},
    )


async def test_blobs_can_be_let_go(server: XnatServer) -> None:
    """What is received may be discarded, one by one: large ones give their memory back."""
    async for blob in in_process(server, "/P/S 1/E/5-MR1").read():
        assert isinstance(blob, ReceivedBlob)
        blob.discard()


@pytest.mark.parametrize(
    ("scan", "found"),
    [("4", FILES), ("T1", FILES), ("T1 mprage", FILES), ("T1*", FILES), ("5-MR1", ODD)],
)
async def test_scan_by(server: XnatServer, scan: str, found: dict[str, bytes]) -> None:
    """By ID, by type, by description, by a pattern."""
    assert await contents(in_process(server, f"/P/S 1/E/{scan}")) == found


async def test_an_id_before_a_type(server: XnatServer) -> None:
    """A scan of that very ID is meant, even where it is the type of another one."""
    server.add_scan("P", "S 1", "E", "T1", {"g": b"g"}, type="T2")
    assert await contents(in_process(server, "/P/S 1/E/T1")) == {"g": b"g"}


async def test_a_type_that_is_an_id(server: XnatServer) -> None:
    """Files of another scan whose type is our ID are not ours, though the server lists them."""
    server.add_scan("P", "S 1", "E", "9", {"g": b"g"}, type="4")
    for via in ("zip", "files"):
        assert await contents(in_process(server, "/P/S 1/E/4", via=via)) == FILES


async def test_several_scans(server: XnatServer) -> None:
    """A pattern that means several scans: an error that lists them."""
    with pytest.raises(AmbiguousSeriesError, match=r"5-MR1: T2 tse") as caught:
        await contents(in_process(server, "/P/S 1/E/T2*"))
    assert [summary.series_number for summary in caught.value.series] == [6, None]


async def test_quality(server: XnatServer) -> None:
    """Only scans of a quality, where one is asked for."""
    transport = in_process(server, "/P/S 1/E/T2*", quality="unusable")
    assert await contents(transport) == {"f": b"f"}
    with pytest.raises(NotFoundError, match="quality='usable'"):
        await contents(in_process(server, "/P/S 1/E/6", quality="usable"))


@pytest.mark.parametrize("path", ["/P/S 1/E", "/P/S 1", "/P", "/P/*/E", "/*/S*/E"])
async def test_shorter_urls(server: XnatServer, path: str) -> None:
    """All scans below, the files of each under its own path."""
    found = await contents(in_process(server, path))
    assert sorted(found.values()) == sorted([*FILES.values(), *ODD.values(), b"f"])


async def test_resources(server: XnatServer) -> None:
    """DICOM, else secondary, else the one that was asked for."""
    server.add_scan("P", "S 1", "E", "4", {"s.gif": b"gif"}, resource="SNAPSHOTS")
    server.add_scan("P", "S 1", "E", "7", {"s.gif": b"gif"}, resource="SNAPSHOTS")
    server.add_scan("P", "S 1", "E", "7", {"s": b"s"}, resource="secondary")
    assert await contents(in_process(server, "/P/S 1/E/4")) == FILES
    assert await contents(in_process(server, "/P/S 1/E/7")) == {"s": b"s"}
    snapshots = in_process(server, "/P/S 1/E/4", resource="SNAPSHOTS")
    assert await contents(snapshots) == {"s.gif": b"gif"}
    with pytest.raises(NotFoundError, match="'DICOM', 'SNAPSHOTS'"):
        await contents(in_process(server, "/P/S 1/E/4", resource="NIFTI"))


async def test_accession_ids_and_shares(server: XnatServer) -> None:
    """By accession ID, and through another project that shares the session."""
    accession = server.accession("P", "E")
    server.share("P", "E", "OTHER", "shared label")
    assert await contents(in_process(server, f"/P/S 1/{accession}/4")) == FILES
    assert await contents(in_process(server, "/OTHER/S 1/shared label/4")) == FILES
    for path in ("/OTHER", "/OTHER/S 1", "/OTHER/S*", "/OTHER/*/shared*"):
        found = await contents(in_process(server, path))
        assert sorted(found.values()) == sorted([*FILES.values(), *ODD.values(), b"f"])


async def test_labels_that_look_like_patterns() -> None:
    """A label that is there is meant, whatever signs it has."""
    server = XnatServer(users=dict([AUTH]))
    server.add_scan("P", "[x]", "E?", "4", FILES)
    server.add_scan("P", "x", "E1", "4", {"other": b"other"})
    for path in ("/P/[x]/E%3F/4", "/P/[x]", "/P/*/E%3F"):
        found = await contents(in_process(server, path))
        assert sorted(found.values()) == sorted(FILES.values())


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/NO/S 1/E/4", "no project 'NO'"),
        ("/P/NO/E/4", "no subject 'NO'"),
        ("/P/S 1/NO/4", "no experiment 'NO'"),
        ("/P/S 1/E/99", "T1 mprage"),
        ("/P/NO", "no subject 'NO'"),
    ],
)
async def test_what_is_missing(server: XnatServer, path: str, named: str) -> None:
    """The part of the URL that is not there is named; of scans, those that are."""
    with pytest.raises(NotFoundError, match=named):
        await contents(in_process(server, path))


@pytest.mark.parametrize("path", ["/xnat/P/S 1/E/4", "/P/S 1/E/4"])
async def test_context(path: str) -> None:
    """A server below a context path; where the URL does not tell it, the server is asked."""
    server = XnatServer(users=dict([AUTH]), context="/xnat")
    server.add_scan("P", "S 1", "E", "4", FILES)
    options = {} if path.startswith("/xnat") else {"context": "/xnat"}
    assert await contents(in_process(server, path, **options)) == FILES
    short = in_process(server, "/xnat/P")
    assert [entry.url async for entry in short.list()] == ["xnat://xnat.test/xnat/P/S%201"]


async def test_entries(server: XnatServer) -> None:
    """Each level lists the next one, with URLs that can be used again."""
    found: list[tuple[str, str]] = []
    url = "xnat://xnat.test"
    for _ in range(5):
        entries = [e async for e in in_process(server, url[len("xnat://xnat.test") :]).list()]
        found.append((entries[0].kind, entries[0].name))
        url = entries[0].url
    assert found == [
        ("project", "P"),
        ("subject", "S 1"),
        ("experiment", "E"),
        ("scan", "4"),
        ("file", "IM00000.dcm"),
    ]


def test_protocols(server: XnatServer) -> None:
    """It is a source, a sink and a catalogue."""
    transport = in_process(server, "/P")
    assert isinstance(transport, Source)
    assert isinstance(transport, Sink)
    assert isinstance(transport, Catalogue)


def test_chosen_way() -> None:
    """Many small files come in a zip, few or large ones each for itself."""

    def ways(count: int, size: int | None) -> str:
        return chosen_way([CatalogFile(str(n), size, "") for n in range(count)], "auto")

    assert ways(300, 500_000) == "zip"
    assert ways(300, None) == "zip"
    assert ways(2, 500_000) == "files"
    assert ways(30, 100 << 20) == "files"


async def test_options_that_do_not_fit(server: XnatServer) -> None:
    """Importing is writing; a way that does not exist is told at once."""
    with pytest.raises(LocationError, match="for writing"):
        await contents(in_process(server, "/P/S 1/E/4", via="import"))
    with pytest.raises(ValueError, match="auto, zip, files, import"):
        in_process(server, "/P", via="fax")


async def test_limits(server: XnatServer) -> None:
    """A scan that is larger than the memory for it is not begun."""
    with pytest.raises(TooLargeError, match="at most 1000"):
        await contents(in_process(server, "/P/S 1/E/4", memory=1000))
    assert downloads(server) == []


async def test_long_listings_are_read_beside_the_loop(
    server: XnatServer, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalogue of a scan of many files is made in a worker thread, a short one at once."""
    server.add_scan("P", "S 1", "E", "9", {f"IM{n:05}.dcm": b"x" for n in range(400)})
    where: list[bool] = []

    def resources(*args: Any) -> list[Resource]:
        where.append(threading.current_thread() is threading.main_thread())
        return resources_of(*args)

    monkeypatch.setattr(_xnat_find, "resources_of", resources)
    assert len(await contents(opened("/P/S%201/E/9"))) == 400
    assert await contents(opened("/P/S%201/E/4")) == FILES
    assert where == [False, True]


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize("deflate", [False, True])
async def test_cut_connection(server: XnatServer, opened: Opener, deflate: bool) -> None:
    """What a zip that was cut has brought is not asked for again; the rest comes file by file."""
    server.faults = XnatFaults(paths="format=zip", cut_after=15_000)
    assert await contents(opened("/P/S%201/E/4", via="zip")) == FILES
    single = [path for path in downloads(server) if path]
    assert 0 < len(single) < len(FILES)
    assert len(set(single)) == len(single)


async def test_truncated_zip(server: XnatServer, opened: Opener) -> None:
    """A zip that ends too early, as if all were well."""
    server.faults = XnatFaults(truncate_zip=9_000)
    assert await contents(opened("/P/S%201/E/4", via="zip")) == FILES


async def test_single_files_cut(server: XnatServer, opened: Opener) -> None:
    """A file whose connection is cut is asked for again."""
    server.faults = XnatFaults(paths="/files/IM", cut_after=100, times=3)
    assert await contents(opened("/P/S%201/E/4", via="files")) == FILES


async def test_files_that_are_missing(server: XnatServer, opened: Opener) -> None:
    """What the catalogue lists and the server does not have is named."""
    server.faults = XnatFaults(missing_files=2)
    for via in ("zip", "files"):
        with pytest.raises(IncompleteSeriesError) as caught:
            await contents(opened("/P/S%201/E/4", via=via))
        assert len(caught.value.missing) == 2
        tolerant = opened("/P/S%201/E/4", via=via, on_incomplete="warn")
        found = await contents(tolerant)
        assert (len(tolerant.missing), found.items() <= FILES.items()) == (2, True)


@pytest.mark.parametrize("via", ["zip", "files"])
@pytest.mark.parametrize("fault", [XnatFaults(wrong_digests=True), XnatFaults(size_offset=-1)])
async def test_a_catalogue_that_lies(
    server: XnatServer, opened: Opener, fault: XnatFaults, via: str
) -> None:
    """Sizes and digests that are not those of the files: an error, whatever way they come."""
    server.faults = fault
    with pytest.raises(TransportError, match="the catalogue"):
        await contents(opened("/P/S%201/E/4", via=via, retries=0))


@pytest.mark.parametrize("deflate", [False, True])
async def test_zip_bomb(server: XnatServer, deflate: bool) -> None:
    """Members that are larger than the catalogue says are not unpacked; the files are got alone."""
    server = XnatServer(users=dict([AUTH]), deflate=deflate)
    server.add_scan("P", "S 1", "E", "4", FILES)
    server.faults = XnatFaults(zip_bomb=5_000_000)
    assert await contents(in_process(server, "/P/S 1/E/4", via="zip")) == FILES


async def test_a_body_that_never_ends(server: XnatServer, opened: Opener) -> None:
    """A listing without end is given up; a zip without end is left where its files have come."""
    server.faults = XnatFaults(paths="format=zip", endless=True)
    with anyio.fail_after(20):
        assert await contents(opened("/P/S%201/E/6", via="zip")) == {"f": b"f"}


@pytest.mark.parametrize("via", ["zip", "files"])
async def test_expiring_sessions(server: XnatServer, opened: Opener, via: str) -> None:
    """A session that dies is renewed, and what was asked for is asked for again."""
    server.faults = XnatFaults(expire_after=2)
    assert await contents(opened("/P/S%201/E/4", via=via)) == FILES
    assert server.open_sessions == 0


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server(server: XnatServer, opened: Opener, status: int) -> None:
    """Asked to come back later, we do."""
    server.faults = XnatFaults(status=status, retry_after="0", times=2)
    assert await contents(opened("/P/S%201/E/4")) == FILES


@pytest.mark.parametrize("status", [400, 403, 409, 422, 429, 500, 503])
async def test_refusals(server: XnatServer, opened: Opener, status: int) -> None:
    """Server, path and status are told, with the server's words, without markup and credentials."""
    server.faults = XnatFaults(status=status, paths="/files")
    with pytest.raises(TransportError, match=f"{status} ") as caught:
        await contents(opened("/P/S%201/E/4", retries=0))
    text = str(caught.value)
    assert "http://127.0.0.1" in text
    assert "/scans/4/files" in text
    assert "<" not in text
    assert "pass word" not in text
    assert server.open_sessions == 0


async def test_login_page(server: XnatServer, opened: Opener) -> None:
    """A page to log in at, with status 200, instead of JSON; once, and for ever."""
    server.faults = XnatFaults(login_page=True, times=1)
    assert await contents(opened("/P/S%201/E/4")) == FILES
    server.faults = XnatFaults(login_page=True)
    with pytest.raises(TransportError, match="web page"):
        await contents(opened("/P/S%201/E/4"))


async def test_json_of_another_shape(server: XnatServer, opened: Opener) -> None:
    """A document that no XNAT gives."""
    server.faults = XnatFaults(other_json=True)
    with pytest.raises(TransportError, match="shape"):
        await contents(opened("/P/S%201/E/4"))


async def test_another_host(server: XnatServer, opened: Opener) -> None:
    """A redirect to another host is not followed, credentials do not go there."""
    other = XnatServer(users=dict([AUTH]))
    with other.serve() as elsewhere:
        server.faults = XnatFaults(redirect=elsewhere)
        with pytest.raises(TransportError, match=r"redirects to http://127\.0\.0\.1"):
            await contents(opened("/P/S%201/E/4"))
    assert other.requests == ()


async def test_idle_server(server: XnatServer, opened: Opener) -> None:
    """A server that stalls is not waited for for ever; one that drips is."""
    server.faults = XnatFaults(paths="/files/", stall_after=10)
    with pytest.raises(TransportError, match="in time"):
        await contents(opened("/P/S%201/E/4", via="files", timeouts={"idle": 0.1}, retries=0))
    server.faults = XnatFaults(paths="/files/", drip=0.05, drip_bytes=300)
    opener = opened("/P/S%201/E/4", timeouts={"idle": 0.5}, via="files", parallel=12)
    assert await contents(opener) == FILES


async def test_no_server() -> None:
    """Nobody listens: told with the host, soon."""
    transport = XnatTransport(
        parse_location("xnat+http://127.0.0.1:9/P/S/E/4"), Workers(), auth=AUTH, retries=0
    )
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:9.*no connection"):
        await contents(transport)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/../../b", "a//b", ".."])
async def test_hostile_names(server: XnatServer, name: str) -> None:
    """A name that leads elsewhere is not used, however the catalogue writes it."""
    row = {
        "Name": name,
        "Size": "1",
        "URI": f"/data/experiments/X/scans/4/resources/1/files/{name}",
    }

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/JSESSION"):
            return httpx.Response(200, text="0" * 32)
        listed: list[dict[str, str]] = [row]
        if not request.url.path.endswith("/files"):
            listed = [{"ID": "4", "URI": "/data/experiments/X/scans/4"}]
        return httpx.Response(200, json={"ResultSet": {"Result": listed}})

    with pytest.raises(TransportError, match="is not used"):
        await contents(in_process(server, "/P/S/E/4", http=httpx.MockTransport(answer)))


async def test_left_in_the_middle(server: XnatServer, opened: Opener) -> None:
    """Whoever stops taking leaves no session and no connection behind."""
    for via in ("zip", "files"):
        reading = opened("/P/S%201/E/4", via=via).read()
        async for _ in reading:
            break
        await reading.aclose()
        assert server.open_sessions == 0


@pytest.mark.parametrize("within", WAYS)
@pytest.mark.parametrize("via", ["zip", "files"])
async def test_cancelled_anywhere(
    server: XnatServer, opened: Opener, via: str, within: Within
) -> None:
    """Cancelled at whatever moment, in whatever way: no session, task or socket is left."""
    done = False
    for hops in range(0, 300, 12):
        async with within(hops / 2000):
            await contents(opened("/P/S%201/E/4", via=via))
            done = True
        assert server.open_sessions == 0
        if done:
            return


async def test_cancelled_while_a_thread_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's own cancelling waits for the thread that unpacks, and ends as what it is."""
    unpacking, going = anyio.Event(), threading.Event()
    real, made = _xnat_read._buffers, 0

    def slow(expected: int) -> Generator[memoryview, None, None]:
        nonlocal made
        made += 1
        return pausing(expected) if made == 1 else real(expected)  # the first is for unpacking

    def pausing(expected: int) -> Generator[memoryview, None, None]:
        for slab in real(expected):
            from_thread.run_sync(unpacking.set)
            assert going.wait(10)
            yield slab

    monkeypatch.setattr(_xnat_read, "_buffers", slow)
    server = XnatServer(users=dict([AUTH]), deflate=True)
    server.add_scan("P", "S", "E", "4", FILES)
    with server.serve() as url:
        location = parse_location(url.replace("http", "xnat+http", 1) + "/P/S/E/4")
        transport = XnatTransport(location, Workers(), auth=AUTH, via="zip")
        task = asyncio.ensure_future(contents(transport))
        with anyio.fail_after(5):
            await unpacking.wait()
        for _ in range(2):
            task.cancel()
            await anyio.sleep(0.02)
            assert not task.done()
        going.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert server.open_sessions == 0


async def test_one_session_for_many_calls(server: XnatServer) -> None:
    """Concurrent calls of a client share one session, renewed once; closed with the client."""
    transport = httpx.ASGITransport(server)
    found: list[str] = []
    async with Client() as client:

        async def some() -> None:
            url = "xnat://xnat.test/P/S%201/E"
            found.extend([e.name async for e in client.list(url, auth=AUTH, http=transport)])

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(some)
        server.expire_sessions()
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(some)
        assert server.open_sessions == 1
    assert server.open_sessions == 0
    logins = [r for r in server.requests if (r.method, r.path) == ("POST", "/data/JSESSION")]
    assert len(logins) == 2
    assert len(found) == 60


async def test_unlisted_files_are_told(server: XnatServer) -> None:
    """Members that the catalogue does not list are dropped, and named."""
    server.add_scan("P", "S 1", "E", "9", {"g": b"g", "h": b"h"}, type="x")

    class Forgetful(httpx.ASGITransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if request.url.path.endswith("/scans/9/files"):
                document = httpx.Response(200, content=await response.aread()).json()
                del document["ResultSet"]["Result"][1:]
                return httpx.Response(200, json=document)
            return response

    transport = in_process(server, "/P/S 1/E/9", via="zip", http=Forgetful(server))
    found = await contents(transport)
    assert len(found) == 1
    assert [reason for _, reason in transport.skipped] == ["not in the catalogue"]


def test_what_drips_is_gathered() -> None:
    """Small parts of a file become one piece, in their order; large ones stay as they came."""
    data = os.urandom(20_003)
    parts = [data[:3], data[3:5], data[5:15_000], *(data[k : k + 1] for k in range(15_000, 20_003))]
    receiving = Receiving(CatalogFile("a", len(data), hashlib.md5(data).hexdigest()), 0, "x")
    for part in parts:
        receiving.write(memoryview(part))
    (blob,) = held_against([receiving])
    assert isinstance(blob, ReceivedBlob)
    pieces = blob.pieces
    assert [len(piece) for piece in pieces] == [5, 14_995, 5_003]
    assert b"".join(pieces) == data


def whole(found: ReceivedBlob | TransportError) -> ReceivedBlob:
    assert isinstance(found, ReceivedBlob)
    return found


def test_files_are_held_against_the_catalogue_together() -> None:
    """Of many files with digests, those of other bytes are named, and only those."""
    files = [os.urandom(50_000 + number) for number in range(19)]
    group = []
    for number, data in enumerate(files):
        digest = hashlib.md5(data).hexdigest().upper() if number % 3 else ""
        receiving = Receiving(CatalogFile(f"{number}", len(data), digest), 0, "GET x")
        came = data if number not in (4, 6) else data[:-1] + bytes([data[-1] ^ 1])
        receiving.write(memoryview(came)[:20_000])
        receiving.write(memoryview(came)[20_000:])
        group.append(receiving)
    found = held_against(group)
    assert [isinstance(one, TransportError) for one in found] == [n == 4 for n in range(19)]
    assert "GET x: 4: what came does not have the MD5 digest" in str(found[4])
    contents = [bytes(read_all(whole(one))) for n, one in enumerate(found) if n not in (4, 6)]
    assert contents == [data for n, data in enumerate(files) if n not in (4, 6)]


def test_a_batch_that_inflates_to_much_is_handed_on_in_parts() -> None:
    """However well files are packed, few megabytes of them are whole before they are checked."""
    files = {f"{number}.dcm": bytes([number]) * 1_000_000 for number in range(23)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, os.urandom(300_000) + data)
    arrivals = Arrivals({n: CatalogFile(n, 1_300_000, "") for n in files}, "4", 1 << 30, "GET x")
    unzip = Unzip(arrivals.store, "GET x", (memoryview(bytearray(1 << 20)) for _ in range(99)))
    batch, parts = [memoryview(packed.getvalue())], []
    while batch:
        assert _fed(unzip, batch, arrivals) is None
        parts.append([whole(found) for found in held_against(arrivals.take())])
    assert unzip.ended
    assert max(len(part) for part in parts) < 10
    contents = [bytes(read_all(blob))[300_000:] for part in parts for blob in part]
    assert contents == list(files.values())
