"""Connections on asyncio that put what comes where whoever waits for it says."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, cast

import anyio

__all__ = ["Wire", "connected"]

_SPARE: Final = 1 << 16
_RECORD: Final = 1 << 14  # bytes of a record of TLS, at most
_GOODBYE: Final = 1.0  # seconds that closing may take
_SECOND_ADDRESS: Final = 0.25  # seconds before the next address of a host is tried (RFC 8305)


class Wire(asyncio.BufferedProtocol):
    """One connection: its bytes go where whoever waits for them says.

    What comes while nobody waits is kept, and then reading rests: so the end of a connection that
    is idle is known as soon as it comes.

    Attributes:
        tls: it is TLS, or will be at once.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.tls = False
        self._below: asyncio.Transport  # what rests, since TLS that rests forgets at an end
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
        self.transport = self._below = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        # TLS drops what it has no room for where the connection ends right then.
        need = sizehint + _RECORD + 1 if self.tls else 1
        if self._target is not None and self._target.nbytes >= need:
            self._given = self._target
            return self._given
        self._given = None
        if self._spare.nbytes < need:
            self._spare = memoryview(bytearray(need))
        return self._spare

    def buffer_updated(self, nbytes: int) -> None:
        if self._given is None:
            self._keep(nbytes)
            nbytes = 0
        self._given = self._target = None
        self._wake(nbytes)

    def _keep(self, count: int) -> None:
        self._kept += self._spare[:count]
        if not self._paused and not self._below.is_closing():
            self._below.pause_reading()
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
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        self._target = view
        if self._paused and not self._below.is_closing():
            self._below.resume_reading()
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


async def connected(host: str, port: int, local: tuple[str, int] | None) -> Wire:
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
