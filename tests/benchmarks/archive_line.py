"""A line with latency: ``python -m tests.benchmarks.archive_line PORT TARGET SECONDS``.

What comes in is passed on after half of the time, in each direction, however much it is; so a
round trip takes so many seconds longer, and nothing else changes. A connection costs a round trip
too: what a client sends first waits for that.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from functools import partial

HOST = "127.0.0.1"
PIECE = 1 << 18  # bytes

Waiting = asyncio.Queue[tuple[float, bytes]]


async def main(port: int, target: int, seconds: float) -> None:
    """Listen until the process is ended."""
    server = await asyncio.start_server(partial(_serve, target, seconds), HOST, port)
    async with server:
        await server.serve_forever()


async def _serve(
    target: int, seconds: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    begin = asyncio.get_running_loop().time()
    try:
        far_reader, far_writer = await asyncio.open_connection(HOST, target)
    except OSError:
        writer.close()
        return
    await asyncio.gather(
        _direction(reader, far_writer, seconds / 2, begin + seconds),
        _direction(far_reader, writer, seconds / 2, begin),
    )


async def _direction(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, begin: float
) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting: Waiting = asyncio.Queue()
    await asyncio.gather(_take(reader, waiting, delay, begin), _give(writer, waiting))


async def _take(reader: asyncio.StreamReader, waiting: Waiting, delay: float, begin: float) -> None:
    loop = asyncio.get_running_loop()
    data = b"begin"
    while data:
        try:
            data = await reader.read(PIECE)
        except ConnectionError:
            data = b""
        waiting.put_nowait((max(loop.time(), begin) + delay, data))


async def _give(writer: asyncio.StreamWriter, waiting: Waiting) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
