"""C-MOVE to ourselves, for archives that have no C-GET (PS3.4 section C.4.2).

The archive sends to an AE title and port of this machine that it knows; we listen there for as long
as one C-MOVE takes, and take nothing that was not asked for.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from ..errors import AssociationError, SeriesIOError, TransportError, UnsupportedByPeerError
from ._dicom_association import Association, Context, Proposal
from ._dicom_dimse import (
    C_ECHO_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    RESPONSE,
    SUCCESS,
    echo_response,
    is_pending,
    move_request,
    store_response,
)
from ._dicom_find import IMPLICIT
from ._dicom_get import ENCODED, NATIVE, Job, Outcome, outcome_of, query_of
from ._dicom_intake import RefusedError
from ._dicom_session import use

if TYPE_CHECKING:
    from ._dicom_association import Message, Peer
    from ._dicom_intake import Intake
    from ._dicom_pynetdicom import Request

__all__ = ["Destination", "destination_of", "move"]

PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.2"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.2"
_ROOTS: Final = (Proposal(STUDY_ROOT, (IMPLICIT,)), Proposal(PATIENT_ROOT, (IMPLICIT,)))
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."  # SOP classes of instances begin with it
_VERIFICATION: Final = "1.2.840.10008.1.1"
_NOT_AUTHORIZED: Final = 0x0124  # PS3.7 section C.5.23
_INBOUND: Final = 16  # connections to us at a time

_locks: RunVar[dict[int, anyio.Lock]] = RunVar("seriesio_dicom_ports")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an archive can send to: an AE title and port of this machine that it knows."""

    ae_title: str
    port: int


def destination_of(move_to: str | tuple[str, int] | None) -> Destination | None:
    """``"AET:port"``, or a pair of AE title and port.

    Raises:
        ValueError: it is neither.
    """
    if move_to is None:
        return None
    title, port = move_to.rpartition(":")[::2] if isinstance(move_to, str) else move_to
    try:
        number = int(port)
    except ValueError:
        number = 0
    if not 0 < len(title) <= 16 or not title.isascii() or not 0 < number < 1 << 16:
        raise ValueError(f'move_to has to be "AET:port" or (AET, port), not {move_to!r}')
    return Destination(title, number)


async def move(
    peer: Peer,
    destination: Destination,
    jobs: Sequence[Job],
    intake: Intake,
    instance_limit: int,
    limiter: anyio.CapacityLimiter,
) -> list[Outcome]:
    """Have the instances of some jobs sent to us; what the peer says at the end of each.

    Raises:
        UnsupportedByPeerError: the peer has no C-MOVE.
        TransportError: the port cannot be listened at.
        AssociationError: the peer breaks off, or its rules, or nothing happens for too long.
    """
    results: list[list[Outcome]] = []
    failures: list[Exception] = []

    async def ask() -> None:
        association = Association(peer, alive=_watch(intake))
        try:
            results.append(await use(association, _session(destination, jobs), limiter))
        except SeriesIOError as error:
            failures.append(error)
        group.cancel_scope.cancel()

    async with _lock_of(destination):
        listener = await anyio.to_thread.run_sync(_listen, destination.port)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_serve, listener, peer, destination, intake, instance_limit)
                await ask()
        finally:
            listener.close()
    if failures:
        raise failures[0]
    return results[0]


def _lock_of(destination: Destination) -> anyio.Lock:
    """One C-MOVE at a time for each port."""
    try:
        known = _locks.get()
    except LookupError:
        known = {}
        _locks.set(known)
    return known.setdefault(destination.port, anyio.Lock())


def _watch(intake: Intake) -> Callable[[], bool]:
    """True each time when something has arrived since the last time."""
    seen = [0]

    def alive() -> bool:
        before, seen[0] = seen[0], intake.total
        return seen[0] > before

    return alive


# --- the request ------------------------------------------------------------------------------


def _session(
    destination: Destination, jobs: Sequence[Job]
) -> Callable[[Association], list[Outcome]]:
    def session(association: Association) -> list[Outcome]:
        association.open(_ROOTS)
        outcomes = [_move(association, destination, job) for job in jobs]
        association.release()
        return outcomes

    return session


def _move(association: Association, destination: Destination, job: Job) -> Outcome:
    """One C-MOVE, from the request to the last response."""
    context = association.context_for(STUDY_ROOT, PATIENT_ROOT)
    if context is None:
        raise UnsupportedByPeerError(f"{association.peer}: has neither C-GET nor C-MOVE")
    message = association.next_message()
    request = move_request(message, context.abstract, destination.ae_title)
    association.send(context, request, [query_of(job, context.abstract == PATIENT_ROOT)])
    first = True
    while True:
        came = association.receive(first=first)
        first = False
        if came.command.field != C_MOVE_RQ | RESPONSE or came.command.message != message:
            raise AssociationError(f"{association.peer}: answers a C-MOVE with something else")
        if not is_pending(came.command.status):
            return outcome_of(job, came)


# --- what is sent to us -----------------------------------------------------------------------


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


async def _serve(
    listener: socket.socket, peer: Peer, destination: Destination, intake: Intake, limit: int
) -> None:
    """Take associations until cancelled."""
    slots = anyio.Semaphore(_INBOUND)

    async def take(connection: socket.socket, host: str) -> None:
        sender = replace(peer, host=host, port=destination.port, ssl_context=None)
        association = Association(sender, instance_limit=limit, alive=lambda: True)
        try:
            await use(association, partial(_inbound, connection, destination, intake))
        except SeriesIOError as error:
            # Whoever has asked for the C-MOVE is told what is missing.
            intake.warnings.append(str(error))
        finally:
            connection.close()
            slots.release()

    async with anyio.create_task_group() as group:
        while True:
            await slots.acquire()
            connection, address = await asyncio.get_running_loop().sock_accept(listener)
            group.start_soon(take, connection, str(address[0]))


def _inbound(
    connection: socket.socket, destination: Destination, intake: Intake, association: Association
) -> None:
    """Take what one association brings, until it is released."""
    association.accept(connection, partial(_choose, destination))
    while True:
        try:
            came = association.receive()
        except AssociationError:
            if association.released:
                return
            raise
        if came.command.field == C_ECHO_RQ:
            association.send(came.context, echo_response(came.command.message))
        elif came.command.field == C_STORE_RQ:
            _store(association, intake, came)
        else:
            raise AssociationError(f"{association.peer}: asks for what we do not offer")


def _store(association: Association, intake: Intake, came: Message) -> None:
    """Pass an instance on; what was not asked for is refused, it may be meant for others."""
    command, status = came.command, SUCCESS
    try:
        intake.take(came)
    except RefusedError as error:
        intake.warnings.append(str(error))
        status = _NOT_AUTHORIZED
    response = store_response(command.message, command.sop_class, command.sop_instance, status)
    association.send(came.context, response)


def _choose(destination: Destination, request: Request) -> Mapping[int, Context] | None:
    """The contexts of storage that can be taken, with the first transfer syntax that we know."""
    if request.called != destination.ae_title:
        return None
    chosen: dict[int, Context] = {}
    for number, proposal in request.contexts:
        known = [syntax for syntax in proposal.syntaxes if syntax in (*NATIVE, *ENCODED)]
        if known and proposal.abstract.startswith((_STORAGE, _VERIFICATION)):
            chosen[number] = Context(number, proposal.abstract, known[0])
    return chosen
