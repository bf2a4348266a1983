"""The XNAT stand-in on a port: streams, cuts, delays; and how it starts and stops."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from seriesio.errors import MissingDependencyError, TransportError
from seriesio.testing import XnatFaults, XnatServer

pytest.importorskip("uvicorn")

FILE = "/data/projects/P/subjects/S/experiments/E/scans/4/resources/DICOM/files/a"
ZIP = "/data/projects/P/subjects/S/experiments/E/scans/4/files?format=zip"
DATA = bytes(range(256)) * 4096


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer()
    made.add_scan("P", "S", "E", "4", {"a": DATA})
    return made


@asynccontextmanager
async def asking(server: XnatServer) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        server.serve() as url,
        httpx.AsyncClient(base_url=url, auth=("admin", "admin"), trust_env=False) as client,
    ):
        yield client


async def test_it_streams_in_chunks_and_keeps_the_connection(server: XnatServer) -> None:
    """Zips and listings are chunked, files have their length; all on one connection."""
    async with asking(server) as client:
        packed = await client.get(ZIP)
        file = await client.get(FILE)
        listing = await client.get("/data/projects?format=json")
        head = await client.head(FILE)
    assert packed.headers["transfer-encoding"] == listing.headers["transfer-encoding"] == "chunked"
    assert file.content == DATA
    assert head.headers["content-length"] == str(len(DATA))
    assert [one.session for one in server.requests] == [1, 1, 1, 1]
    assert server.requests[1].sent == len(DATA)


async def test_an_upload_arrives_whole(server: XnatServer) -> None:
    """A megabyte in the body of a request is stored byte for byte."""
    async with asking(server) as client:
        answer = await client.put(f"{FILE}2?inbody=true", content=DATA)
    assert answer.status_code == 200
    assert server.files("P", "E", "4")["a2"] == DATA
    assert server.requests[-1].received == len(DATA)


@pytest.mark.parametrize("path", [FILE, ZIP])
async def test_a_download_is_cut_after_so_many_bytes(server: XnatServer, path: str) -> None:
    """The bytes that came are the first ones; then the connection is closed; twice, then well."""
    async with asking(server) as client:
        whole = (await client.get(path)).content
        server.faults = XnatFaults(cut_after=300_000, times=2, paths="/files")
        for _ in range(2):
            got = b""
            async with client.stream("GET", path) as answer:
                with suppress(httpx.RemoteProtocolError):  # the record below says that it was cut
                    async for piece in answer.aiter_bytes():
                        got += piece
            assert got == whole[:300_000]
        assert len((await client.get(path)).content) == len(whole)
    assert [one.cut for one in server.requests] == [False, True, True, False]


@pytest.mark.parametrize("faults", [XnatFaults(lose_answer=True), XnatFaults(cut_upload_after=500)])
async def test_a_connection_is_cut_before_any_answer(
    server: XnatServer, faults: XnatFaults
) -> None:
    """What was asked for is done without an answer; or the upload is cut and nothing is done."""
    async with asking(server) as client:
        await client.get("/data/auth")
        server.faults = faults
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
            await client.put(f"{FILE}2?inbody=true", content=DATA)
        server.faults = XnatFaults()
        assert (await client.get("/data/auth")).status_code == 200
    assert ("a2" in server.files("P", "E", "4")) == faults.lose_answer
    assert server.requests[1].cut
    assert server.requests[1].status == 0


async def test_a_refused_upload_breaks_the_connection(server: XnatServer) -> None:
    """With much unread, the client sees the answer or a broken connection; nothing is stored."""
    server.faults = XnatFaults(swallow_limit=1 << 20)
    async with asking(server) as client:
        with suppress(httpx.TransportError):  # which of the two depends on who is quicker
            answer = await client.put(f"{FILE}2", content=DATA * 16, auth=("admin", "no"))
            assert answer.status_code == 401
        answer = await client.put(f"{FILE}3?inbody=true", content=DATA * 2)
        assert answer.status_code == 200
    assert sorted(server.files("P", "E", "4")) == ["a", "a3"]
    assert server.requests[0].status == 401


@pytest.mark.parametrize(
    ("faults", "status", "start"),
    [
        (XnatFaults(status=503, retry_after="2"), 503, "<!doctype html>"),
        (XnatFaults(status=500), 500, "<!doctype html>"),
        (XnatFaults(login_page=True), 200, "<!DOCTYPE html>"),
        (XnatFaults(other_json=True), 200, "[{"),
        (XnatFaults(redirect="http://other.test/"), 302, ""),
    ],
)
async def test_something_else_is_answered(
    server: XnatServer, faults: XnatFaults, status: int, start: str
) -> None:
    """Errors with Retry-After, a page to log in, other JSON, another host; logging in is spared."""
    server.faults = faults
    async with asking(server) as client:
        answer = await client.get("/data/projects?format=json")
        assert (await client.get("/data/JSESSION")).status_code == 200
    assert answer.status_code == status
    assert answer.text.startswith(start)
    assert answer.headers.get("retry-after") == faults.retry_after
    if faults.redirect:
        assert answer.headers["location"] == "http://other.test/data/projects"


async def test_answers_are_delayed_and_drip(server: XnatServer) -> None:
    """A delay before the answer; a body in pieces of few bytes, each with its own wait."""
    async with asking(server) as client:
        await client.get("/data/auth")
        server.faults = XnatFaults(delay=0.05)
        start = time.perf_counter()
        await client.get("/data/projects")
        assert time.perf_counter() - start >= 0.05
        server.faults = XnatFaults(drip=0.02, drip_bytes=len(DATA) // 4)
        start = time.perf_counter()
        pieces = [
            one
            async for one in (
                await client.send(client.build_request("GET", FILE), stream=True)
            ).aiter_raw()
        ]
        assert time.perf_counter() - start >= 0.08
    assert b"".join(pieces) == DATA


async def test_a_body_stalls_and_the_server_stops_all_the_same(server: XnatServer) -> None:
    """The client times out; the server does not wait for what is stalled."""
    async with asking(server) as client:
        await client.get("/data/auth")
        server.faults = XnatFaults(stall_after=1000)
        with pytest.raises(httpx.ReadTimeout):
            await client.get(FILE, timeout=httpx.Timeout(5, read=0.05))
    start = time.perf_counter()
    async with asking(server) as client, client.stream("GET", FILE) as answer:
        assert answer.status_code == 200
        assert await anext(answer.aiter_raw()) == DATA[:1000]
    assert time.perf_counter() - start < 5


async def test_a_body_that_never_ends_ends_with_the_client(server: XnatServer) -> None:
    """Pieces come for ever, until the client goes: the record says so."""
    server.faults = XnatFaults(endless=True, paths="/files")
    async with asking(server) as client:
        got = 0
        async with client.stream("GET", ZIP) as answer:
            async for piece in answer.aiter_raw():
                got += len(piece)
                if got > 3 * len(DATA):
                    break
        assert (await client.get("/data/auth")).status_code == 200
    assert any(one.cut and one.path.endswith("/files") for one in server.requests)


async def test_tls(tool: Callable[[str], str], server: XnatServer, tmp_path: Path) -> None:
    """With a certificate the URL is https, the cookie is secure; cuts are cuts there too."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(key), "-out", str(cert)]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    trust = ssl.create_default_context(cafile=str(cert))
    async with (
        server.serve(certificate=(cert, key)) as url,
        httpx.AsyncClient(base_url=url, auth=("admin", "admin"), verify=trust) as client,
    ):
        assert url.startswith("https://127.0.0.1:")
        answer = await client.get(FILE)
        assert answer.content == DATA
        assert "; Secure" in answer.headers["set-cookie"]
        server.faults = XnatFaults(cut_after=10)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(FILE)
    with pytest.raises(TransportError, match="certificate"), server.serve(certificate=(key, cert)):
        pass


def test_it_starts_in_plain_code_too_and_a_taken_port_is_an_error(server: XnatServer) -> None:
    """``with`` gives the URL with its context path; a second server on that port cannot listen."""
    made = XnatServer(context="/xnat")
    with made.serve() as url:
        assert url.endswith("/xnat")
        port = httpx.URL(url).port
        assert port is not None
        assert httpx.get(f"{url}/data/auth", auth=("admin", "admin")).status_code == 200
        with pytest.raises(TransportError, match="cannot listen"), server.serve(port=port):
            pass
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port)):
        pass


def test_without_uvicorn_it_says_what_to_install(
    server: XnatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingDependencyError, match="seriesio"), server.serve():
        pass


async def test_in_process_a_cut_is_a_connection_reset(server: XnatServer) -> None:
    """Through httpx.ASGITransport the fault comes out as ConnectionResetError."""
    server.faults = XnatFaults(cut_after=10)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(server), base_url="http://xnat.test", auth=("admin", "admin")
    ) as client:
        with pytest.raises(ConnectionResetError):
            await client.get(FILE)
    assert server.requests[0].sent == 10


def test_records_are_forgotten_and_reprs_are_plain(server: XnatServer, tmp_path: Path) -> None:
    """No password is in a repr; forget() empties the records."""
    assert "admin" not in repr(server) + repr(server.faults)
    server.forget()
    assert server.requests == ()
    assert len(XnatServer(tmp_path / "missing").requests) == 0
