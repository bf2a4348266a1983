"""Large bodies past httpx: a hand-made server is the other side."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import cycle

import pytest

from seriesio.transports import _http_client
from seriesio.transports._http_client import HttpClient, HttpError, Timeouts

DATA = os.urandom(300_000)
TIMES = Timeouts(connect=5, first_byte=5, idle=0.5)


def chunked(step: int) -> bytes:
    parts = [DATA[at : at + step] for at in range(0, len(DATA), step)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def sized() -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA


@asynccontextmanager
async def serving(answer: bytes, stay: bool = True) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that always says the same; its URL, and how many requests each connection had."""
    asked: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(0)
        mine = len(asked) - 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                asked[mine] += 1
                writer.write(answer)
                await writer.drain()
                if not stay:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


async def read(client: HttpClient, size: int = 1 << 16) -> tuple[bytes, list[int]]:
    """The body, and the sizes of its batches."""
    buffers = [memoryview(bytearray(size)) for _ in range(2)]
    data, sizes = b"", []
    async with client.send("GET", "/x", plain=True) as reply:
        async for batch in reply.batches(cycle(buffers), 5.0):
            sizes.append(sum(part.nbytes for part in batch))
            data += b"".join(batch)
    return data, sizes


@pytest.mark.parametrize("step", [100, 5000, 1 << 20])
async def test_chunks_keep_the_connection(step: int) -> None:
    """A body in chunks comes whole, in full buffers, and its connection serves the next one."""
    async with serving(chunked(step)) as (url, asked):
        client = HttpClient(url, timeouts=TIMES, connections=2)
        for _ in range(2):
            data, sizes = await read(client)
            assert data == DATA
            assert max(sizes) <= 1 << 16
        await client.aclose()
        assert asked == [2]


@pytest.mark.parametrize("worth", [1, 1 << 24])
async def test_sized_bodies(monkeypatch: pytest.MonkeyPatch, worth: int) -> None:
    """A body with a length comes whole, taken over or not."""
    monkeypatch.setattr(_http_client, "_WORTH", worth)
    async with serving(sized()) as (url, _):
        client = HttpClient(url, timeouts=TIMES, connections=2)
        assert (await read(client))[0] == DATA
        await client.aclose()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda answer: answer[:-200_000], "cut"),
        (lambda answer: re.sub(rb"(\r\n\r\n)[0-9a-f]+\r\n", rb"\1zz\r\n", answer, count=1), "cut"),
    ],
    ids=["ends early", "no chunks"],
)
async def test_bodies_that_are_none(change: Callable[[bytes], bytes], told: str) -> None:
    """A body that ends early, or is no body, is an error of ours, and may be asked for again."""
    async with serving(change(chunked(5000)), stay=False) as (url, _):
        client = HttpClient(url, timeouts=TIMES, connections=2)
        with pytest.raises(HttpError, match=told) as caught:
            await read(client)
        assert caught.value.cut
        await client.aclose()


async def test_a_body_that_stalls() -> None:
    """A body that stops coming is given up after the time for that."""
    async with serving(chunked(5000)[:-200_000]) as (url, _):
        client = HttpClient(url, timeouts=TIMES, connections=2)
        with pytest.raises(HttpError, match="in time"):
            await read(client)
        await client.aclose()
