"""C-GET: instances over the association that asked for them (PS3.4 section C.4.3).

Blocking, for the thread that owns the association.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from ..errors import AssociationError, UnsupportedByPeerError
from ._dicom_association import Proposal
from ._dicom_dimse import (
    C_GET_RQ,
    C_STORE_RQ,
    RESPONSE,
    SUCCESS,
    Command,
    get_request,
    store_response,
)
from ._dicom_elements import decode_elements
from ._dicom_jobs import Outcome
from ._dicom_pynetdicom import MOST_CONTEXTS
from ._dicom_query import IMPLICIT, SERIES, SOP_INSTANCE, STUDY, identifier, is_uid
from ._dicom_status import is_pending

if TYPE_CHECKING:
    from ._dicom_association import Association, Message
    from ._dicom_intake import Intake
    from ._dicom_jobs import Job, Queue

__all__ = ["COMMON_CLASSES", "get_session", "outcome_of", "query_of", "storage"]

PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.3"
_ROOTS: Final = (Proposal(STUDY_ROOT, (IMPLICIT,)), Proposal(PATIENT_ROOT, (IMPLICIT,)))
_FAILED: Final = 0x00080058  # Failed SOP Instance UID List
_PATIENT: Final = 0x00100020

EXPLICIT: Final = "1.2.840.10008.1.2.1"
NATIVE: Final = (EXPLICIT, IMPLICIT)
# What an archive may have kept as it came, the usual ones first.
ENCODED: Final = (
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.5",  # RLE lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.50",  # JPEG baseline, 8 bits
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.51",  # JPEG extended, 12 bits
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K lossless with RPCL options
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.2",  # explicit VR big endian
)
# For an archive that does not tell the SOP classes of instances.
COMMON_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.2.1",  # enhanced CT
    "1.2.840.10008.5.1.4.1.1.4.1",  # enhanced MR
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.130",  # enhanced PET
    "1.2.840.10008.5.1.4.1.1.20",  # NM
    "1.2.840.10008.5.1.4.1.1.6.1",  # US
    "1.2.840.10008.5.1.4.1.1.3.1",  # US multi-frame
    "1.2.840.10008.5.1.4.1.1.7",  # secondary capture
    "1.2.840.10008.5.1.4.1.1.7.2",  # multi-frame grayscale byte secondary capture
    "1.2.840.10008.5.1.4.1.1.7.3",  # multi-frame grayscale word secondary capture
    "1.2.840.10008.5.1.4.1.1.7.4",  # multi-frame true colour secondary capture
    "1.2.840.10008.5.1.4.1.1.1",  # CR
    "1.2.840.10008.5.1.4.1.1.1.1",  # DX for presentation
    "1.2.840.10008.5.1.4.1.1.1.2",  # mammography for presentation
    "1.2.840.10008.5.1.4.1.1.12.1",  # XA
    "1.2.840.10008.5.1.4.1.1.12.2",  # XRF
    "1.2.840.10008.5.1.4.1.1.481.1",  # RT image
    "1.2.840.10008.5.1.4.1.1.481.2",  # RT dose
    "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
    "1.2.840.10008.5.1.4.1.1.30",  # parametric map
    "1.2.840.10008.5.1.4.1.1.13.1.3",  # breast tomosynthesis
    "1.2.840.10008.5.1.4.1.1.2.2",  # legacy converted enhanced CT
    "1.2.840.10008.5.1.4.1.1.4.4",  # legacy converted enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.3",  # enhanced MR colour
)


def storage(classes: Iterable[str], syntaxes: Sequence[str] | None) -> list[Proposal]:
    """Presentation contexts to take instances of these SOP classes by, most important first.

    Each transfer syntax has a context of its own, so that the peer can send what it has as it is.
    Room is left for the contexts of the request.

    Args:
        classes: SOP class UIDs.
        syntaxes: those to take, the preferred one first; None: all that can be read.
    """
    uids, wanted = dict.fromkeys(classes), syntaxes or (*NATIVE, *ENCODED)
    proposals = [Proposal(uid, (syntax,), scp=True) for syntax in wanted for uid in uids]
    return proposals[: MOST_CONTEXTS - len(_ROOTS)]


def get_session(
    queue: Queue, intake: Intake, proposals: Sequence[Proposal]
) -> Callable[[Association], None]:
    """What the thread of an association does: jobs of the queue, until none is left.

    Raises (when called):
        UnsupportedByPeerError: the peer has no C-GET, or does not let us be SCP.
        AssociationError, DicomError: it breaks its rules.
    """

    def session(association: Association) -> None:
        job = queue.next()
        if job is None:
            return
        try:
            association.open([*_ROOTS, *proposals])
            _check_roles(association)
        except BaseException:
            queue.give_back(job)
            raise
        while job is not None:
            queue.done(_get(association, intake, job))
            job = queue.next()
        association.release()

    return session


def _check_roles(association: Association) -> None:
    """Complain if there is no way in for instances.

    Raises:
        UnsupportedByPeerError: there is none.
    """
    if association.context_for(STUDY_ROOT, PATIENT_ROOT) is None:
        raise UnsupportedByPeerError(f"{association.peer}: has no C-GET")
    roots = (STUDY_ROOT, PATIENT_ROOT)
    ways = [context for context in association.contexts.values() if context.abstract not in roots]
    if not ways:
        raise UnsupportedByPeerError(
            f"{association.peer}: has C-GET, but accepts none of the SOP classes of the series"
        )
    # A peer that says nothing about roles is taken at its word: it sends, or it does not.
    if all(context.scp is False for context in ways):
        raise UnsupportedByPeerError(
            f"{association.peer}: has C-GET, but refuses the role in which instances could be sent"
        )


def query_of(job: Job, patient_root: bool) -> bytes:
    """The identifier that asks for the instances of a job, with all UIDs above them."""
    keys = {STUDY: job.series.study, SERIES: job.series.uid}
    if patient_root:
        keys[_PATIENT] = job.series.patient
    if not job.uids:
        return identifier("SERIES", keys)
    return identifier("IMAGE", {**keys, SOP_INSTANCE: "\\".join(job.uids)})


def _get(association: Association, intake: Intake, job: Job) -> Outcome:
    """One C-GET, from the request to the last response."""
    context = association.context_for(STUDY_ROOT, PATIENT_ROOT)
    assert context is not None
    message = association.next_message()
    request = get_request(message, context.abstract)
    association.send(context, request, [query_of(job, context.abstract == PATIENT_ROOT)])
    first = True
    while True:
        came = association.receive(first=first)
        first = False
        if came.command.field == C_STORE_RQ:
            _take(association, intake, came)
        elif came.command.field != C_GET_RQ | RESPONSE or came.command.message != message:
            raise AssociationError(f"{association.peer}: answers a C-GET with something else")
        elif not is_pending(came.command.status):
            return outcome_of(job, came)


def _take(association: Association, intake: Intake, came: Message) -> None:
    """Pass an instance on, then say so: a peer waits for that before it sends the next one."""
    if came.context.abstract != came.command.sop_class:
        raise AssociationError(
            f"{association.peer}: sends an instance in a context of another SOP class: "
            f"{came.command.sop_instance[:64]!r}"
        )
    intake.take(came)
    association.send(came.context, _stored(came.command))


def _stored(command: Command) -> bytes:
    return store_response(command.message, command.sop_class, command.sop_instance, SUCCESS)


def outcome_of(job: Job, last: Message) -> Outcome:
    """What the last response says.

    Raises:
        DicomError: its list of failed instances is malformed.
    """
    command = last.command
    failed: tuple[str, ...] = ()
    if last.data:
        value = decode_elements(last.joined()).get(_FAILED, b"")
        names = value.decode("ascii", "replace").split("\\")
        failed = tuple(name for name in (one.strip(" \0") for one in names) if is_uid(name))
    return Outcome(job, command.status, failed, command.failed or 0, command.warning or 0)
