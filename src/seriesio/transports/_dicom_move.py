"""C-MOVE to ourselves, for archives that have no C-GET (PS3.4 section C.4.2).

The archive sends to an AE title and port of this machine that it knows; we listen there for as long
as one C-MOVE takes, and take nothing that was not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from ..errors import AssociationError, UnsupportedByPeerError
from ._dicom_association import Association, Proposal
from ._dicom_dimse import (
    C_MOVE_RQ,
    C_STORE_RQ,
    RESPONSE,
    SUCCESS,
    move_request,
    store_response,
)
from ._dicom_get import ENCODED, NATIVE, outcome_of, query_of
from ._dicom_inbound import Service, serving
from ._dicom_intake import RefusedError
from ._dicom_query import IMPLICIT
from ._dicom_session import use
from ._dicom_status import is_pending

if TYPE_CHECKING:
    import anyio

    from ._dicom_association import Message, Peer
    from ._dicom_inbound import Destination
    from ._dicom_intake import Intake
    from ._dicom_jobs import Job, Outcome

__all__ = ["move"]

PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.2"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.2"
_ROOTS: Final = (Proposal(STUDY_ROOT, (IMPLICIT,)), Proposal(PATIENT_ROOT, (IMPLICIT,)))
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."  # SOP classes of instances begin with it
_NOT_AUTHORIZED: Final = 0x0124  # PS3.7 section C.5.23


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

    async def ask() -> list[Outcome]:
        association = Association(peer, alive=_watch(intake))
        return await use(association, partial(_session, destination, jobs), limiter)

    service = Service(
        destination,
        peer,
        offers=lambda sop_class: sop_class.startswith(_STORAGE),
        syntaxes=frozenset((*NATIVE, *ENCODED)),
        talk=partial(_take, intake),
        told=intake.warnings.append,
        instance_limit=instance_limit,
    )
    return await serving(service, ask)


def _watch(intake: Intake) -> Callable[[], bool]:
    """True each time when something has arrived since the last time."""
    seen = [0]

    def alive() -> bool:
        before, seen[0] = seen[0], intake.total
        return seen[0] > before

    return alive


def _session(
    destination: Destination, jobs: Sequence[Job], association: Association
) -> list[Outcome]:
    """Ask for all jobs, one after the other."""
    association.open(_ROOTS)
    outcomes = [_move(association, destination, job) for job in jobs]
    association.release()
    return outcomes


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


def _take(intake: Intake, association: Association, came: Message) -> None:
    """Pass an instance on; what was not asked for is refused, it may be meant for others."""
    command, status = came.command, SUCCESS
    if command.field != C_STORE_RQ:
        raise AssociationError(f"{association.peer}: asks for what we do not offer")
    try:
        intake.take(came)
    except RefusedError as error:
        intake.warnings.append(str(error))
        status = _NOT_AUTHORIZED
    response = store_response(command.message, command.sop_class, command.sop_instance, status)
    association.send(came.context, response)
