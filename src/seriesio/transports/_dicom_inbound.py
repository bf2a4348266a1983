"""Associations that archives open to us: a port to listen at for as long as something is awaited.

C-MOVE sends instances that way, and storage commitment may report that way. The archive knows us
by an AE title and a port; who calls another title is rejected.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio.lowlevel import RunVar

from ..errors import AssociationError, SeriesIOError, TransportError
from ._dicom_association import Association, Context
from ._dicom_dimse import C_ECHO_RQ, echo_response
from ._dicom_session import use
from ._dicom_title import checked_title

if TYPE_CHECKING:
    from ._dicom_association import Message, Peer
    from ._dicom_pynetdicom import Request

__all__ = ["Destination", "Service", "destination_of", "serving"]

_VERIFICATION: Final = "1.2.840.10008.1.1"
_INBOUND: Final = 16  # connections to us at a time
_PAUSE: Final = 0.05  # seconds after a connection that could not be taken

R = TypeVar("R")

_locks: RunVar[dict[int, anyio.Lock]] = RunVar("seriesio_dicom_ports")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an archive can send to: an AE title and port of this machine that it knows.

    With ``ssl_context``, one for servers, it has to do so over TLS.
    """

    ae_title: str
    port: int
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)


def destination_of(
    move_to: str | tuple[str, int] | tuple[str, int, ssl.SSLContext] | None,
) -> Destination | None:
    """``"AET:port"``, a pair of AE title and port, or these with an SSL context for servers.

    Raises:
        ValueError: it is none of them.
    """
    if move_to is None:
        return None
    title, port, *context = move_to.rpartition(":")[::2] if isinstance(move_to, str) else move_to
    try:
        number = int(port)
    except ValueError:
        number = 0
    if len(context) > 1 or not 0 < number < 1 << 16:
        raise ValueError('move_to has to be "AET:port", (AET, port) or (AET, port, SSLContext)')
    if context and context[0].protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError(
            "the SSLContext of move_to has to be one for servers (PROTOCOL_TLS_SERVER)"
        )
    return Destination(checked_title(title), number, *context)


@dataclass(frozen=True, slots=True)
class Service:
    """What is offered to whom calls us.

    Attributes:
        destination: where we listen, and as whom.
        peer: the archive that we expect; its time-outs are used for whoever calls.
        offers: whether a SOP class is offered.
        syntaxes: transfer syntaxes that can be taken.
        talk: answers a message; in a worker thread, perhaps in several at a time.
        told: gets what went wrong with an association.
        instance_limit: bytes of the largest data set of a C-STORE that is taken.
    """

    destination: Destination
    peer: Peer
    offers: Callable[[str], bool]
    syntaxes: Collection[str]
    talk: Callable[[Association, Message], None]
    told: Callable[[str], None]
    instance_limit: int = 1 << 26


async def serving(service: Service, work: Callable[[], Awaitable[R]]) -> R:
    """Do some work, and take associations meanwhile. One at a time does so at a port.

    Raises:
        TransportError: the port cannot be listened at.
        SeriesIOError: that of the work.
    """
    results: list[R] = []
    failures: list[SeriesIOError] = []
    async with _lock_of(service.destination):
        # It waits for nothing. Made in a thread, it would be lost to a call that is cancelled then.
        listener = _listen(service.destination.port)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_accept_all, service, listener)
                try:
                    results.append(await work())
                except SeriesIOError as error:
                    failures.append(error)
                group.cancel_scope.cancel()
        finally:
            listener.close()
    if failures:
        raise failures[0]
    return results[0]


def _lock_of(destination: Destination) -> anyio.Lock:
    """One at a time for each port."""
    try:
        known = _locks.get()
    except LookupError:
        known = {}
        _locks.set(known)
    return known.setdefault(destination.port, anyio.Lock())


def _listen(port: int) -> socket.socket:
    """Listen at a port of all addresses; non-blocking.

    Raises:
        TransportError: it is taken, or we may not.
    """
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        listener = socket.create_server(
            ("", port), family=family, dualstack_ipv6=family == socket.AF_INET6
        )
    except OSError as error:
        raise TransportError(f"cannot listen at port {port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


async def _accept_all(service: Service, listener: socket.socket) -> None:
    """Take associations until cancelled."""
    slots = anyio.Semaphore(_INBOUND)
    async with anyio.create_task_group() as group:
        while True:
            await slots.acquire()
            try:
                connection, address = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:  # they have gone again, or we have no file left for them
                service.told(f"a connection could not be taken: {error.strerror}")
                slots.release()
                await anyio.sleep(_PAUSE)
                continue
            group.start_soon(_take, service, connection, str(address[0]), slots)


async def _take(
    service: Service, connection: socket.socket, host: str, slots: anyio.Semaphore
) -> None:
    port = service.destination.port
    sender = replace(service.peer, host=host, port=port, ssl_context=None)
    limit = service.instance_limit
    association = Association(sender, instance_limit=limit, alive=lambda: True)
    try:
        await use(association, partial(_converse, service, connection))
    except SeriesIOError as error:
        service.told(str(error))
    finally:
        connection.close()
        slots.release()


def _converse(service: Service, connection: socket.socket, association: Association) -> None:
    """Take what one association brings, until it is released."""
    choose = partial(_choose, service)
    association.accept(connection, choose, service.destination.ssl_context)
    while True:
        try:
            came = association.receive()
        except AssociationError:
            if association.released:
                return
            raise
        if came.command.field == C_ECHO_RQ:
            association.send(came.context, echo_response(came.command.message))
        else:
            service.talk(association, came)


def _choose(service: Service, request: Request) -> Mapping[int, Context] | None:
    """The contexts that can be taken, with the first transfer syntax that we know."""
    if request.called != service.destination.ae_title:
        return None
    chosen: dict[int, Context] = {}
    for number, proposal in request.contexts:
        known = [syntax for syntax in proposal.syntaxes if syntax in service.syntaxes]
        if known and (proposal.abstract == _VERIFICATION or service.offers(proposal.abstract)):
            scp = True if proposal.scp else None
            chosen[number] = Context(number, proposal.abstract, known[0], scp)
    return chosen
