"""Large bodies by every way there is: TLS, proxies, garbage, cancellation, slow ends."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TypeAlias

import pytest

from seriesio.transports import _http_client
from seriesio.transports._http_client import HttpClient, Timeouts
from seriesio.transports._http_wire import WireStream

DATA = os.urandom(3_000_000)
TIMES = Timeouts(connect=5, first_byte=5, idle=5)
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


async def read(http: HttpClient, size: int = 100_000, taken: bool = True) -> bytes:
    """The body; ``taken``: it has to come right from one of our own connections."""
    buffers = [memoryview(bytearray(size)) for _ in range(2)]
    data = bytearray()
    async with http.send("GET", "/x", plain=True) as reply:
        stream = reply._response.extensions["network_stream"]
        assert not taken or (isinstance(stream, WireStream) and stream.between)
        async with aclosing(reply.batches(buffers, 5.0)) as batches:
            async for batch in batches:
                for part in batch:
                    data += part
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


@pytest.mark.parametrize("size", [1000, 65_536, 1 << 20])
async def test_the_end_right_behind_it(
    size: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """A server that closes as soon as it has sent all: nothing is lost, however small we read."""
    for shows in (None, tls[0]):
        async with serving(partial(once, SIZED), shows) as port:
            http = client(f"http{'s' if shows else ''}://127.0.0.1:{port}", tls[1])
            assert await read(http, size) == DATA
            await http.aclose()
