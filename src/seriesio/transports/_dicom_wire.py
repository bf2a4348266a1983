"""A connection to a DICOM peer: blocking, owned by one thread, interrupted by any.

No wait is longer than a slice: then the owner looks whether it is time to give up. So a connection
needs neither a second thread nor a call of ``poll`` before each read.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

__all__ = ["Wire", "WireClosed"]

_SLICE: Final = 0.5  # seconds
_MOST_BUFFERS: Final = 512  # of one sendmsg: IOV_MAX is 1024 on Linux, 512 is plenty
# Linux: acknowledge at once what has come. Many peers write the head of a message and the rest one
# by one, with Nagle's algorithm: the rest waits for that, 40 ms each time.
_AT_ONCE: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
_BUSY: Final = (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class WireClosed(ConnectionError):
    """The connection is gone, or was interrupted."""


class Wire:
    """Bytes in and out of a socket that is connected."""

    __slots__ = ("_at_once", "_interrupted", "_plain", "_socket")

    def __init__(self, connection: socket.socket) -> None:
        self._socket, self._interrupted = connection, False
        self._plain = not isinstance(connection, ssl.SSLSocket)
        self._at_once = _AT_ONCE if connection.family in _INTERNET else None

    def ready(self) -> None:
        """Make waits short ones; once, when the connection is made."""
        if not self._plain:
            self._socket.settimeout(_SLICE)
            return
        self._socket.settimeout(None)
        timeval = struct.pack("ll", 0, int(_SLICE * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, timeval)

    @property
    def scatters(self) -> bool:
        """True if it can receive into several pieces of memory; TLS cannot."""
        return self._plain

    def receive(self, views: Sequence[memoryview]) -> int:
        """Receive some bytes; 0 if there were none for the time of a slice.

        Raises:
            WireClosed: the peer has closed the connection, or :meth:`interrupt` was called.
        """
        try:
            if len(views) == 1:
                count = self._socket.recv_into(views[0])
            else:
                count = self._socket.recvmsg_into(views)[0]
            if self._at_once is not None:  # it holds until the next answer only
                self._socket.setsockopt(socket.IPPROTO_TCP, self._at_once, 1)
        except _BUSY:
            count = -1
        except (OSError, ValueError) as error:  # ValueError: OpenSSL has let go of it
            raise WireClosed(*error.args) from error
        if self._interrupted or not count:
            raise WireClosed
        return max(count, 0)

    def send(self, buffers: Sequence[memoryview | bytes], seconds: float) -> None:
        """Send all bytes.

        Raises:
            WireClosed: as for :meth:`receive`.
            TimeoutError: the peer has taken nothing for so many seconds.
        """
        for start in range(0, len(buffers), _MOST_BUFFERS):
            some = buffers[start : start + _MOST_BUFFERS]
            self._send_rest([memoryview(one) for one in some if len(one)], seconds)

    def _send_rest(self, views: list[memoryview], seconds: float) -> None:
        last = time.monotonic()
        while views:
            count = self._some(views)
            if self._interrupted:
                raise WireClosed
            if count:
                last = time.monotonic()
            elif time.monotonic() - last > seconds:
                raise TimeoutError
            views = _after(views, count)

    def _some(self, views: list[memoryview]) -> int:
        """Send what goes; 0 if nothing did for the time of a slice."""
        try:
            return self._socket.sendmsg(views) if self._plain else self._socket.send(views[0])
        except _BUSY:
            return 0
        except (OSError, ValueError) as error:
            raise WireClosed(*error.args) from error

    def interrupt(self) -> None:
        """Wake the owner out of whatever it waits for; from any thread, never blocks."""
        self._interrupted = True
        with suppress(OSError):  # not connected yet, or no longer
            # Past ssl, which would let go of what the owner uses: reading ends, writing may go on.
            socket.socket.shutdown(self._socket, socket.SHUT_RD)

    def farewell(self, data: bytes) -> None:
        """Send a last word if it goes at once."""
        with suppress(OSError, ValueError):
            self._socket.settimeout(0)
            self._socket.send(data)

    def close(self) -> None:
        """Close the connection; more than once is harmless."""
        self._socket.close()


def _after(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left when so many bytes have gone."""
    place = 0
    while place < len(views) and count >= views[place].nbytes:
        count -= views[place].nbytes
        place += 1
    return [views[place][count:], *views[place + 1 :]] if place < len(views) else []
