"""A DICOM peer: who it is, how long to wait for it, and a connection to it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import AssociationError
from ._dicom_pynetdicom import Identity
from ._dicom_wire import Wire, WireClosed

__all__ = ["Peer", "Timeouts", "accept_from", "connect"]

_Address: TypeAlias = "tuple[int, int, int, str, tuple[object, ...]]"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for a DICOM peer.

    Attributes:
        connect: for a connection, TLS included.
        association: for the answer to a request for an association.
        answer: for the first answer to a request.
        idle: for more, once there was an answer; at least 64 kB have to come in that time.
        release: for the answer to a release.
        total: for a whole call; None: as long as it takes.
    """

    connect: float = 10.0
    association: float = 30.0
    answer: float = 60.0
    idle: float = 60.0
    release: float = 5.0
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to talk to, and as whom.

    Attributes:
        host, port: of the peer.
        called, calling: its AE title, and ours.
        ssl_context: for TLS; None without.
        identity: the user that is negotiated; None for none.
    """

    host: str
    port: int
    called: str
    calling: str = "SERIESIO"
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    identity: Identity | None = field(default=None, repr=False)
    timeouts: Timeouts = Timeouts()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.called}, called by {self.calling})"


def connect(peer: Peer, keep: Callable[[Wire], None]) -> None:
    """Connect to a peer, by the first of its addresses that answers. Blocks.

    Args:
        peer: where to.
        keep: gets each connection before it is made, so that it can be interrupted; raises
            WireClosed when it is.

    Raises:
        AssociationError: nobody answers in time, or not in TLS where that is wanted.
    """
    end = time.monotonic() + peer.timeouts.connect
    error: Exception | None = None
    for family, kind, protocol, _, address in _addresses(peer):
        connection = socket.socket(family, kind, protocol)
        try:
            _connect_to(peer, connection, address, end, keep)
            return
        except (OSError, ValueError) as failure:
            connection.close()
            error = failure
        if isinstance(error, WireClosed):
            break
    raise AssociationError(_words(peer, error)) from error


def _addresses(peer: Peer) -> Sequence[_Address]:
    try:
        return socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AssociationError(f"{peer}: the host is unknown ({error})") from error


def _connect_to(
    peer: Peer,
    connection: socket.socket,
    address: tuple[object, ...],
    end: float,
    keep: Callable[[Wire], None],
) -> None:
    wire = Wire(connection)
    keep(wire)
    connection.settimeout(_left(end))
    connection.connect(address)
    _set_options(connection)
    if peer.ssl_context is not None:
        connection.settimeout(_left(end))
        wire = _secured(connection, peer.ssl_context, peer.host, keep)
    wire.ready()
    keep(wire)


def accept_from(
    peer: Peer,
    connection: socket.socket,
    context: ssl.SSLContext | None,
    keep: Callable[[Wire], None],
) -> None:
    """Make ready a connection that a peer has made to us. Blocks.

    Args:
        peer: who that is.
        connection: a connected socket.
        context: for servers; None without TLS.
        keep: as for :func:`connect`.

    Raises:
        AssociationError: it is not in TLS, but should be.
    """
    _set_options(connection)
    wire = Wire(connection)
    try:
        if context is not None:
            connection.settimeout(peer.timeouts.connect)
            wire = _secured(connection, context, None, keep)
        wire.ready()
        keep(wire)
    except (OSError, ValueError) as error:
        if isinstance(error, WireClosed):
            raise AssociationError(f"{peer}: the association was aborted") from error
        reason = getattr(error, "reason", None) or "the handshake failed"
        raise AssociationError(f"{peer}: calls us without the TLS that is due: {reason}") from error


def _set_options(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _secured(
    connection: socket.socket,
    context: ssl.SSLContext,
    host: str | None,
    keep: Callable[[Wire], None],
) -> Wire:
    """The connection in TLS; without the name of a host we are the server."""
    secured = context.wrap_socket(
        connection,
        server_side=host is None,
        server_hostname=host,
        do_handshake_on_connect=False,
    )
    wire = Wire(secured)
    try:
        keep(wire)
        secured.do_handshake()
    except (OSError, ValueError):
        secured.close()
        raise
    return wire


def _left(end: float) -> float:
    return max(end - time.monotonic(), 0.01)


def _words(peer: Peer, error: Exception | None) -> str:
    """Why there is no connection."""
    if isinstance(error, WireClosed):
        return f"{peer}: the association was aborted"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{peer}: its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "the handshake failed"
        return f"{peer}: no TLS connection: {reason} (a peer without TLS: a dicom:// URL)"
    if isinstance(error, TimeoutError):
        return f"{peer}: no connection within {peer.timeouts.connect:g} seconds"
    reason = getattr(error, "strerror", None) or "the connection was closed"
    if peer.ssl_context is not None and isinstance(error, ConnectionResetError):
        reason += " (a peer without TLS does that: a dicom:// URL)"
    return f"{peer}: no connection: {reason}"
