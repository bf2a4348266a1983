"""Connections for httpcore that let a large body through without a copy of their own.

httpcore and h11 read the head of an answer through them, as through any other; then whoever wants
the body may have its bytes put straight into memory of its own, by the system call itself (or by
TLS). Behind an answer's head nothing is handed to h11 that it did not ask for.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import anyio
import httpcore

from ._http_socket import Wire, connected

__all__ = ["WireBackend", "WireStream"]

_SPARE: Final = 1 << 16
_BLANK: Final = re.compile(rb"\n\r?\n")  # ends the head of an answer, as h11 sees it


class WireStream(httpcore.AsyncNetworkStream):
    """A connection, as httpcore wants it; and :meth:`read_into` for whoever takes it over.

    Attributes:
        between: what was handed on last ended with a blank line; if that ended the head of an
            answer, then all that has come of the body is still here.
        length: of the body, once it is known: what comes behind it is never handed on as the
            beginning of the next answer, but ends the connection. The next request forgets it.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held = b""  # has come, and is not handed on yet
        self._tail = b""  # of what was handed on last
        self.between = False
        self.length: int | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._held:
            self._held = await self._some(timeout)
        if self.length is not None:
            max_bytes = min(max_bytes, self.length)
        found = _BLANK.search(self._tail + self._held[:max_bytes])
        self.between = found is not None
        cut = max_bytes if found is None else found.end() - len(self._tail)
        part, self._held = self._held[:cut], self._held[cut:]
        self._tail = b"" if self.between else (self._tail + part)[-3:]
        if self.length is not None:
            self.length -= len(part)
        return part

    async def _some(self, timeout: float | None) -> bytes:
        buffer = memoryview(bytearray(_SPARE))
        return bytes(buffer[: await self._receive(buffer, timeout)])

    async def read_into(self, view: memoryview, timeout: float | None) -> int:
        """Bytes of a body, at least one; 0 at the end of the connection.

        Raises:
            httpcore.ReadError, httpcore.ReadTimeout: it was cut, or stalls.
        """
        if not self._held:
            return await self._receive(view, timeout)
        count = min(len(self._held), view.nbytes)
        view[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    async def _receive(self, view: memoryview, timeout: float | None) -> int:
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError), anyio.fail_after(timeout):
            return await self._wire.receive_into(view)

    def put_back(self, data: bytes) -> None:
        """The next that is read."""
        self._held = data + self._held

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.length = None
        if buffer:
            with _mapped(httpcore.WriteTimeout, httpcore.WriteError), anyio.fail_after(timeout):
                await self._wire.send(buffer)

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """TLS on this connection, which is TLS from now on."""
        if self._readable:  # else it would be taken for what came by TLS
            await self.aclose()
            raise httpcore.ConnectError("bytes before TLS has begun")
        wire, loop = self._wire, asyncio.get_running_loop()
        assert wire.transport is not None
        wire.tls = True
        try:
            with (
                _mapped(httpcore.ConnectTimeout, httpcore.ConnectError),
                anyio.fail_after(timeout),
            ):
                made = await loop.start_tls(
                    wire.transport, wire, ssl_context, server_hostname=server_hostname
                )
                wire.transport = cast("asyncio.Transport", made)
        except BaseException:
            wire.closed.set()  # of a handshake that fails nobody is told the end
            await self.aclose()
            raise
        return self

    @property
    def _readable(self) -> bool:
        return bool(self._held) or self._wire.readable

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._readable
        assert self._wire.transport is not None
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._wire.transport.get_extra_info(names.get(info, info))


class WireBackend(httpcore.AsyncNetworkBackend):
    """Makes connections on asyncio's event loop, or another one of its kind."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        local = None if local_address is None else (local_address, 0)
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
            wire = await connected(host, port, local)
        for option in socket_options or ():
            assert wire.transport is not None
            wire.transport.get_extra_info("socket").setsockopt(*option)
        return WireStream(wire)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@contextmanager
def _mapped(late: type[Exception], failed: type[Exception]) -> Iterator[None]:
    """The operating system's errors as httpcore's."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise failed(str(error)) from error
