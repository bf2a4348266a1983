"""Large bodies by every way there is: TLS, proxies, garbage, cancellation, slow ends."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from itertools import cycle
from typing import TypeAlias

import pytest
from anyio import to_thread

from seriesio.blob import read_all
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import XnatServer
from seriesio.transports import _http_client
from seriesio.transports._http_client import HttpClient, HttpError, Timeouts
from seriesio.transports._http_wire import WireStream
from seriesio.transports.xnat import XnatTransport

DATA = os.urandom(3_000_000)
HEAD = b"HTTP/1.1 200 OK\r\n"
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(DATA) + DATA
CHUNKED = b"".join(
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        *(b"%x\r\n%s\r\n" % (len(p), p) for p in (DATA[:5], DATA[5:90_000], DATA[90_000:])),
        b"0\r\n\r\n",
    ]
)
EVIL = HEAD + b"Content-Length: 4\r\n\r\nevil"
Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies of a megabyte are taken over already."""
    monkeypatch.setattr(_http_client, "_WORTH", 1 << 20)


@pytest.fixture(scope="module")
def tls(
    tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of 127.0.0.1 and of xnat.invalid shows, and what trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(key), "-out", str(cert)]
    command += ["-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1,DNS:xnat.invalid"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    shows = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shows.load_cert_chain(cert, key)
    return shows, ssl.create_default_context(cafile=cert)


@asynccontextmanager
async def serving(talk: Talk, shows: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server; at the end all its connections have ended."""
    tasks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async with await asyncio.start_server(meet, "127.0.0.1", 0, ssl=shows) as server:
        yield server.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def always(
    answers: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One answer after the other, whatever connection asks; the last one for ever."""
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(answers.pop(0) if len(answers) > 1 else answers[0])
        await writer.drain()


async def once(answer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One answer, then the end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(answer)
    await writer.drain()


async def tunnel(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A proxy that answers CONNECT, whatever the name, with a way to a port."""
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT xnat.invalid:443 ")
    away = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"\r\n")
    try:
        await asyncio.gather(piped(reader, away[1]), piped(away[0], writer))
    finally:
        away[1].close()


async def piped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while some := await reader.read(1 << 16):
            writer.write(some)
            await writer.drain()
        writer.close()


def client(url: str, trust: ssl.SSLContext | None = None, idle: float = 5) -> HttpClient:
    times = Timeouts(connect=5, first_byte=5, idle=idle)
    return HttpClient(url, timeouts=times, connections=1, ssl_context=trust)


async def read(
    http: HttpClient, size: int = 100_000, *, taken: bool = True, pause: float = 0
) -> bytes:
    """The body; ``taken``: right from a connection of ours; with a ``pause`` now and then."""
    buffers = [memoryview(bytearray(size)) for _ in range(2)]
    data = bytearray()
    async with http.send("GET", "/x", plain=True) as reply:
        stream = reply._response.extensions["network_stream"]
        assert not taken or (isinstance(stream, WireStream) and stream.between)
        async with aclosing(reply.batches(cycle(buffers), 5.0)) as batches:
            async for batch in batches:
                rest = pause and len(data) // 200_000
                for part in batch:
                    data += part
                if pause and rest != len(data) // 200_000:
                    await asyncio.sleep(pause)
    return bytes(data)


# --- ways -------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [SIZED, CHUNKED], ids=["sized", "chunked"])
@pytest.mark.parametrize("way", ["plain", "tls", "proxy", "tunnel"])
async def test_every_way(
    way: str,
    answer: bytes,
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Byte for byte what was sent, twice, from a connection of ours."""
    secure = way in ("tls", "tunnel")
    async with (
        serving(partial(always, [answer]), tls[0] if secure else None) as port,
        serving(partial(tunnel, port)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        host = f"127.0.0.1:{port}" if way in ("plain", "tls") else "xnat.invalid"
        http = client(f"{'https' if secure else 'http'}://{host}", tls[1])
        assert await read(http) == DATA
        assert await read(http) == DATA
        await http.aclose()


def closing_at_once(listening: socket.socket, shows: ssl.SSLContext) -> None:
    """Serve one request by TLS, and close without waiting for the other side's farewell."""
    with shows.wrap_socket(listening.accept()[0], server_side=True) as connection:
        connection.recv(1 << 16)
        connection.sendall(SIZED)


@pytest.mark.parametrize("size", [1000, 100_000, 1 << 20])
async def test_the_end_right_behind_it(
    size: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """A server that closes as soon as it has sent all: TLS loses nothing, whatever we take."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.ensure_future(to_thread.run_sync(closing_at_once, listening, tls[0]))
        http = client(f"https://127.0.0.1:{listening.getsockname()[1]}", tls[1])
        assert await read(http, size, pause=0.002) == DATA
        await http.aclose()
        await serving


async def test_without_our_wires(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where httpx cannot be told of them, a whole scan is read as well."""
    monkeypatch.setattr(_http_client, "_on_our_wires", lambda _: None)
    files = {f"{n}.dcm": os.urandom(400_000 + n) for n in range(5)}
    server = XnatServer(users={"user": "secret"})
    server.add_scan("P", "S", "E", "4", files)
    with server.serve() as url:
        place = parse_location(url.replace("http", "xnat+http", 1) + "/P/S/E/4")
        reading = XnatTransport(place, Workers(), auth=("user", "secret"), via="zip").read()
        async with aclosing(reading) as blobs:
            assert {b.name: await to_thread.run_sync(read_all, b) async for b in blobs} == files
    async with serving(partial(always, [SIZED])) as port:
        http = client(f"http://127.0.0.1:{port}")
        async with http.send("GET", "/x") as reply:
            stream = reply._response.extensions["network_stream"]
            assert not isinstance(stream, WireStream)
        assert await read(http, taken=False) == DATA
        await http.aclose()


# --- what a server does wrong -----------------------------------------------------------------


@pytest.mark.parametrize("answer", [SIZED, CHUNKED], ids=["sized", "chunked"])
async def test_garbage_behind_a_body(answer: bytes) -> None:
    """The next request gets its own answer."""
    own = HEAD + b"Content-Length: 3\r\n\r\nown"
    for size in (1000, 1 << 22):
        async with serving(partial(always, [answer + EVIL, own])) as port:
            http = client(f"http://127.0.0.1:{port}")
            assert await read(http, size) == DATA
            assert await read(http) == b"own"
            await http.aclose()


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"3\r\nown\r\n0\r\n\r\n"),
        (b"Content-Length: 3\r\nContent-Length: 4", b"own"),
        (b"Content-Length: -3", b"own"),
        (b"Content-Length: 0x3", b"own"),
        (b"Transfer-Encoding: chunked", b"-3\r\nown\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"0x3\r\nown\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"1" * 100_000),
        (b"Transfer-Encoding: chunked", b"f" * 16 + b"\r\nown"),
        (b"Transfer-Encoding: chunked", b"3;" + b"a" * 100_000),
        (b"Transfer-Encoding: chunked, chunked", b"3\r\nown\r\n0\r\n\r\n"),
        (b"Content-Length: 2000000", b"own"),
    ],
    ids=[
        *("two ways", "two lengths", "negative", "hexadecimal", "negative chunk", "0x chunk"),
        *("endless size", "huge chunk", "endless extension", "chunked twice", "cut"),
    ],
)
async def test_no_end_that_one_can_trust(fields: bytes, body: bytes) -> None:
    """Two ends, ends that are no numbers, ends that do not come: an error of ours."""
    async with serving(partial(once, HEAD + fields + b"\r\n\r\n" + body)) as port:
        http = client(f"http://127.0.0.1:{port}")
        with pytest.raises(HttpError, match=rf"GET http://127\.0\.0\.1:{port}/x: "):
            await read(http, taken=False)
        await http.aclose()


@pytest.mark.parametrize("sent", [0, 10, len(SIZED) // 2])
async def test_a_reset(sent: int) -> None:
    """A server that resets the connection before the head, in it, or in the body."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await once(SIZED[:sent], reader, writer)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with serving(reset) as port:
        http = client(f"http://127.0.0.1:{port}")
        with pytest.raises(HttpError, match="cut"):
            await read(http)
        await http.aclose()


async def test_half_closed() -> None:
    """A server that says it will send no more, in the middle of a body: that is told at once."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await once(SIZED[: len(SIZED) // 2], reader, writer)
        writer.write_eof()
        await reader.read()

    async with serving(half) as port:
        http = client(f"http://127.0.0.1:{port}")
        with pytest.raises(HttpError, match="cut"):
            await read(http)
        await http.aclose()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_cancelled(secure: bool, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """While connecting, shaking hands, waiting for the head, taking the body: nothing is left."""
    trust, scheme = tls[1], "https" if secure else "http"
    async with serving(partial(always, [SIZED]), tls[0] if secure else None) as port:
        for steps in (*range(0, 40, 3), *range(40, 130, 10)):
            http = client(f"{scheme}://127.0.0.1:{port}", trust)
            task = asyncio.create_task(read(http, 10_000, pause=0.001))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await http.aclose()


# --- slow ends --------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_slow_consumer(secure: bool, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """While nobody takes the body the server cannot go on: what it has sent is in the system."""
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await once(HEAD + b"Content-Length: %d\r\n\r\n" % (1 << 40), reader, writer)
        for _ in range(100):
            writer.write(DATA)
            await writer.drain()
            sent += len(DATA)

    async with serving(endless, tls[0] if secure else None) as port:
        http = client(f"{'https' if secure else 'http'}://127.0.0.1:{port}", tls[1])
        async with (
            http.send("GET", "/x", plain=True) as reply,
            aclosing(reply.batches(cycle([memoryview(bytearray(1000))]), 5.0)) as batches,
        ):
            await anext(batches)
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.1)
            kept = reply._response.extensions["network_stream"]._wire._kept
            assert len(kept) < 1 << 20
        await http.aclose()
    assert sent < 20 * len(DATA)


async def test_a_drip() -> None:
    """A body that goes on, but slower than may be, is given up."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await once(SIZED[:1000], reader, writer)
        for pause in (0.02, 0.02, 0.5, 0.5):
            await asyncio.sleep(pause)
            writer.write(b"x")

    async with serving(drip) as port:
        http = client(f"http://127.0.0.1:{port}", idle=0.15)
        with pytest.raises(HttpError, match="in time"):
            await read(http)
        await http.aclose()
