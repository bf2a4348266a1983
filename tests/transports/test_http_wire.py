"""Connections of our own under httpx: a hand-made server, or proxy, is the other side."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

import httpcore
import pytest

from seriesio.transports._http_client import HttpClient, HttpError, Timeouts
from seriesio.transports._http_wire import WireBackend, WireStream

TIMES = Timeouts(connect=5, first_byte=5, idle=0.5)
OWN = b"own"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
HEAD = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that always says the same; its port, and the requests of each connection."""
    asked: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(0)
        mine = len(asked) - 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                asked[mine] += 1
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


async def body(client: HttpClient, whole: bool = True) -> bytes:
    async with client.send("GET", "/x", plain=True) as reply:
        if whole:
            return await reply.body(1000)
        buffers = [memoryview(bytearray(1000))]
        return b"".join(
            [bytes(one) async for some in reply.batches(cycle(buffers), 5) for one in some]
        )


@pytest.mark.parametrize("whole", [True, False], ids=["kept", "streamed"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (HEAD + b"Content-Length: 3\r\n\r\n" + OWN, OWN),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n" + OWN, OWN),
        (HEAD + b"Content-Length: 0\r\n\r\n", b""),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nown\r\n0\r\n\r\n", OWN),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nown\r\n0\r\nA: b\r\n\r\n", OWN),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early\r\n\r\n" + HEAD + b"Content-Length: 3\r\n\r\n" + OWN, OWN),
    ],
    ids=["sized", "twice", "empty", "chunks", "trailers", "204", "304", "103"],
)
async def test_no_answer_gets_into_another(answer: bytes, said: bytes, whole: bool) -> None:
    """What a server sends behind an answer ends the connection; else it serves the next one."""
    for more, connections in ((b"", [3]), (EVIL, [1, 1, 1])):
        async with saying(answer + more) as (port, asked):
            client = HttpClient(f"http://127.0.0.1:{port}", timeouts=TIMES, connections=1)
            assert [await body(client, whole) for _ in range(3)] == [said] * 3
            await client.aclose()
            assert asked == connections


async def test_bytes_before_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a proxy says in the clear is never taken for what the server says by TLS."""
    async with saying(HEAD + b"\r\n" + EVIL) as (port, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        client = HttpClient("https://xnat.invalid", timeouts=TIMES, connections=1)
        with pytest.raises(HttpError, match=r"xnat\.invalid.*before TLS"):
            await body(client)
        await client.aclose()


async def test_httpx_uses_our_connections() -> None:
    """What is private in httpx and httpcore is still where we look for it."""
    async with saying(HEAD + b"Content-Length: 3\r\n\r\n" + OWN) as (port, _):
        client = HttpClient(f"http://127.0.0.1:{port}", timeouts=TIMES, connections=1)
        async with client.send("GET", "/x") as reply:
            assert isinstance(reply._response.extensions["network_stream"], WireStream)
        await client.aclose()


async def test_cancelled_at_every_step() -> None:
    """However early a connection is given up, neither it nor a task is left."""
    async with saying(HEAD + b"Content-Length: 9\r\n\r\n" + OWN) as (port, _):
        for steps in range(60):
            client = HttpClient(f"http://127.0.0.1:{port}", timeouts=TIMES, connections=1)
            task = asyncio.create_task(body(client))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await client.aclose()


async def test_an_idle_connection_that_ends() -> None:
    """Its end is known before the next request is sent."""
    async with await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = await WireBackend().connect_tcp("127.0.0.1", port, 5)
        for _ in range(100):
            if stream.get_extra_info("is_readable"):
                break
            await asyncio.sleep(0.01)
        assert stream.get_extra_info("is_readable")
        with pytest.raises(httpcore.ConnectError):
            await stream.start_tls(ssl.create_default_context())
