"""A service that opens series inside requests and keeps answering meanwhile.

    python examples/web_service.py

It speaks just enough HTTP to show the point; in FastAPI or Starlette the handler is the same. The
script asks its own service for eight series at once, and for its pulse while they are opened.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote

from seriesio import Client
from seriesio.errors import SeriesIOError
from seriesio.testing import phantom


class Service:
    """``GET /pulse`` and ``GET /NAME``, NAME being a folder of ``root``."""

    def __init__(self, client: Client, root: Path) -> None:
        self.client = client
        self.root = root

    async def answer(self, path: str) -> tuple[int, str]:
        if path == "/pulse":
            return 200, "alive"
        name = Path(unquote(path)).name  # never a path that leaves the root
        try:
            series = await self.client.open(self.root / name)
        except SeriesIOError as error:
            return 404, str(error)
        return 200, f"{name}: {series.shape}, mean {series.array.mean():.1f}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, text = await self.answer(request.split(" ")[1])
        body = text.encode()
        writer.write(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    response = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return response.partition("\r\n\r\n")[2]


async def slowest_pulse(port: int, until: asyncio.Future[list[str]]) -> float:
    """Seconds that the slowest answer took while the others were at work."""
    slowest = 0.0
    while not until.done():
        begin = time.perf_counter()
        await get(port, "/pulse")
        slowest = max(slowest, time.perf_counter() - begin)
    return slowest


async def serve_and_ask(root: Path) -> None:
    async with Client() as client:
        server = await asyncio.start_server(Service(client, root).handle, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            answers = asyncio.gather(*(get(port, f"/scan{n}") for n in range(8)))
            slowest = await slowest_pulse(port, answers)
            print(*await answers, sep="\n")
            print(await get(port, "/missing"))
    print(f"meanwhile, the slowest pulse took {slowest * 1e3:.1f} ms")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(8):
            phantom((40, 256, 256), seed=number).save(Path(folder) / f"scan{number}")
        asyncio.run(serve_and_ask(Path(folder)))


if __name__ == "__main__":
    main()
