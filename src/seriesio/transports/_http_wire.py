"""Connections for httpcore that let a large body through without a copy of their own.

httpcore and h11 read the head of an answer through them, as through any other; then whoever wants
the body may have its bytes put straight into memory of its own, by the system call itself (or by
TLS). Behind an answer's head nothing is handed to h11 that it did not ask for.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import anyio
import httpcore

__all__ = ["WireBackend", "WireStream"]

_SPARE: Final = 1 << 16
_BLANK: Final = re.compile(rb"\n\r?\n")  # ends the head of an answer, as h11 sees it
_GOODBYE: Final = 1.0  # seconds that closing may take
_SECOND_ADDRESS: Final = 0.25  # seconds before the next address of a host is tried (RFC 8305)


class Wire(asyncio.BufferedProtocol):
    """One connection: its bytes go where whoever waits for them says.

    What comes while nobody waits is kept, and then reading rests: so the end of a connection that
    is idle is known as soon as it comes.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()
        self._room = asyncio.Event()  # the transport takes more
        self._room.set()
        self._error: BaseException | None = None
        self._ended = self._paused = False
        self._spare = memoryview(bytearray(_SPARE))
        self._kept = bytearray()
        self._target: memoryview | None = None
        self._given: memoryview | None = None
        self._waiter: asyncio.Future[int] | None = None

    # --- what the transport calls -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        self._given = self._target
        return self._spare if self._given is None else self._given

    def buffer_updated(self, nbytes: int) -> None:
        if self._given is None:
            self._keep(nbytes)
            nbytes = 0
        self._given = self._target = None
        self._wake(nbytes)

    def _keep(self, count: int) -> None:
        assert self.transport is not None
        self._kept += self._spare[:count]
        if not self._paused:
            self.transport.pause_reading()
            self._paused = True

    def eof_received(self) -> None:
        self._ended = True
        self._wake(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = exc
        self.closed.set()
        self._room.set()
        self._wake(0)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def _wake(self, count: int) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(count)

    # --- what the stream calls ----------------------------------------------------------------

    async def receive_into(self, view: memoryview) -> int:
        """Some bytes, at least one; 0 at the end.

        Raises:
            OSError: the connection was cut.
        """
        while not self._kept:
            if self._ended:
                if self._error is not None:
                    raise ConnectionResetError from self._error
                return 0
            if count := await self._next(view):
                return count
        count = min(len(self._kept), view.nbytes)
        view[:count] = self._kept[:count]
        del self._kept[:count]
        return count

    async def _next(self, view: memoryview) -> int:
        """Bytes put into ``view``; 0: none, they were kept, or there is an end."""
        assert self.transport is not None
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        self._target = view
        if self._paused and not self.transport.is_closing():
            self.transport.resume_reading()
            self._paused = False
        try:
            return await waiter
        finally:
            self._waiter = self._target = self._given = None

    async def send(self, data: bytes) -> None:
        """Hand over bytes, and wait for room for more.

        Raises:
            OSError: the connection was cut.
        """
        assert self.transport is not None
        if not self.closed.is_set():
            self.transport.write(data)
            await self._room.wait()
        if self.closed.is_set():
            raise ConnectionResetError from self._error

    @property
    def readable(self) -> bool:
        """True if something has come that nobody waits for, be it the end."""
        return bool(self._kept) or self._ended

    async def aclose(self) -> None:
        """Close, also when cancelled; whatever has not been sent is dropped."""
        if self.transport is None:
            return
        with anyio.CancelScope(shield=True), anyio.move_on_after(_GOODBYE):
            self.transport.close()
            await asyncio.sleep(0)
            self.transport.abort()
            await asyncio.sleep(0)
            await self.closed.wait()


class WireStream(httpcore.AsyncNetworkStream):
    """A connection, as httpcore wants it; and :meth:`read_into` for whoever takes it over.

    Attributes:
        between: what was handed on last ended with a blank line; if that ended the head of an
            answer, then all that has come of the body is still here.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held = b""  # has come, and is not handed on yet
        self._tail = b""  # of what was handed on last
        self.between = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._held:
            self._held = await self._some(timeout)
        found = _BLANK.search(self._tail + self._held[:max_bytes])
        self.between = found is not None
        cut = max_bytes if found is None else found.end() - len(self._tail)
        part, self._held = self._held[:cut], self._held[cut:]
        self._tail = b"" if self.between else (self._tail + part)[-3:]
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
        wire, loop = self._wire, asyncio.get_running_loop()
        assert wire.transport is not None
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

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._wire.readable
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
            wire = await _connected(host, port, local)
        for option in socket_options or ():
            assert wire.transport is not None
            wire.transport.get_extra_info("socket").setsockopt(*option)
        return WireStream(wire)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


async def _connected(host: str, port: int, local: tuple[str, int] | None) -> Wire:
    """A connection to the first address that answers, as RFC 8305 has it.

    Not by asyncio's own race: cancelled, that forgets a connection that it has just made.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    made: list[Wire] = []
    failed: list[OSError] = []

    async def attempt(address: str, ended: anyio.Event) -> None:
        try:
            made.append((await loop.create_connection(Wire, address, port, local_addr=local))[1])
            group.cancel_scope.cancel()
        except OSError as error:
            failed.append(error)
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as group:
            for address in dict.fromkeys(str(info[4][0]) for info in found):
                ended = anyio.Event()
                group.start_soon(attempt, address, ended)
                with anyio.move_on_after(_SECOND_ADDRESS):
                    await ended.wait()
    except BaseException:
        _abort(made)
        raise
    return _first(made, failed)


def _first(made: list[Wire], failed: list[OSError]) -> Wire:
    """The first connection; others that were made at the same moment are closed."""
    _abort(made[1:])
    if made:
        return made[0]
    raise failed[0] if failed else OSError("the host has no address")


def _abort(wires: list[Wire]) -> None:
    for wire in wires:
        assert wire.transport is not None
        wire.transport.abort()


@contextmanager
def _mapped(late: type[Exception], failed: type[Exception]) -> Iterator[None]:
    """The operating system's errors as httpcore's."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise failed(str(error)) from error
