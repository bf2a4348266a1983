"""After C-STORE: is all there (C-FIND), and will the archive keep it (storage commitment)?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from struct import pack
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydicom.filereader import read_dataset
from pydicom.uid import generate_uid

from ..errors import AssociationError, StatusError
from ._dicom_association import Association, Proposal
from ._dicom_dimse import (
    NO_DATASET,
    RESPONSE,
    SUCCESS,
    encode_elements,
    status_words,
)
from ._dicom_find import FIND_PROPOSALS, IMPLICIT, Finder, FoundSeries
from ._dicom_session import use
from ._dicom_store_instance import COMMITMENT, Stored

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from ._dicom_association import Message, Peer

__all__ = ["commit_all", "verify_all"]

Failed = list[tuple[str, str]]

_TRIES: Final = 5  # archives may take a moment until what they have stored is found
_PAUSE: Final = 0.1  # seconds before the second try; twice as long before each further one

_WELL_KNOWN: Final = "1.2.840.10008.1.20.1.1"
_N_EVENT_REPORT_RQ, _N_ACTION_RQ = 0x0100, 0x0130


# --- verification -----------------------------------------------------------------------------


async def verify_all(stored: Sequence[Stored], peer: Peer) -> Failed:
    """Names of stored instances that C-FIND does not tell of, with the reason.

    Raises:
        UnsupportedByPeerError: the peer has no C-FIND.
        AssociationError, StatusError: it does not answer as it should.
    """
    left = list(stored)
    for tries in range(_TRIES):
        await anyio.sleep(_PAUSE * (2**tries - 1))
        left = await use(Association(peer), partial(_not_found, left))
        if not left:
            break
    return [(one.name, "said to be stored, but C-FIND does not find it") for one in left]


def _not_found(stored: Sequence[Stored], association: Association) -> list[Stored]:
    association.open(FIND_PROPOSALS)
    finder = Finder(association)
    series = dict.fromkeys(one.parents for one in stored if one.parents is not None)
    known = {found.uid for parents in series for found in finder.instances(FoundSeries(*parents))}
    association.release()
    return [one for one in stored if one.name not in known]


# --- storage commitment -----------------------------------------------------------------------


async def commit_all(stored: Sequence[Stored], peer: Peer) -> Failed:
    """Names of stored instances that the archive does not commit itself to, with the reason.

    The report has to come on the association that has asked for it.

    Raises:
        UnsupportedByPeerError: the peer has no storage commitment.
        AssociationError, StatusError: it does not answer as it should, or no report comes in time.
    """
    return await use(Association(peer), partial(_commit, stored))


def _commit(stored: Sequence[Stored], association: Association) -> Failed:
    association.open([Proposal(COMMITMENT, (IMPLICIT,))])
    context = association.context_for(COMMITMENT)
    assert context is not None
    transaction = str(generate_uid(None))
    message = association.next_message()
    kinds = {one.name: one.sop_class for one in stored}
    association.send(context, _action(message), [_wanted(transaction, kinds.items())])
    _check(association, association.receive(first=True), message)
    report = _report(association)
    if report.command.field != _N_EVENT_REPORT_RQ:
        raise AssociationError(f"{association.peer}: sends something else than a commitment report")
    told = _decoded(association, report)
    association.send(context, _reported(report.command.message))
    association.release()
    if str(told.get("TransactionUID", "")) != transaction:
        raise AssociationError(f"{association.peer}: reports on another storage commitment")
    return _uncommitted(told, kinds)


def _report(association: Association) -> Message:
    try:
        return association.receive(first=True)
    except AssociationError as error:
        raise AssociationError(
            f"{error} (a report on storage commitment is awaited on the association that has "
            "asked for it; one that comes over another association is not heard)"
        ) from error


def _check(association: Association, answer: Message, message: int) -> None:
    command = answer.command
    if command.field != _N_ACTION_RQ | RESPONSE or command.message != message:
        raise AssociationError(f"{association.peer}: answers an N-ACTION with something else")
    if command.status != SUCCESS:
        words = f"storage commitment failed: {status_words(command.status)}"
        raise StatusError(f"{association.peer}: {words}", command.status)


def _uncommitted(told: Dataset, kinds: dict[str, str]) -> Failed:
    """What is not in the list of what is kept (PS3.4 section J.3.3)."""
    kept = {str(one.get("ReferencedSOPInstanceUID", "")) for one in _items(told, "ReferencedSOP")}
    reasons = {
        str(one.get("ReferencedSOPInstanceUID", "")): int(one.get("FailureReason", 0) or 0)
        for one in _items(told, "FailedSOP")
    }
    return [
        (name, f"stored, but not committed to: {status_words(reasons[name])}")
        if name in reasons
        else (name, "stored, but the report on storage commitment does not tell of it")
        for name in kinds
        if name in reasons or name not in kept
    ]


def _items(told: Dataset, which: str) -> Iterator[Any]:
    yield from told.get(f"{which}Sequence", None) or ()


def _decoded(association: Association, report: Message) -> Dataset:
    try:
        return read_dataset(BytesIO(report.joined()), is_implicit_VR=True, is_little_endian=True)
    except Exception as error:  # pydicom raises whatever it trips over
        raise AssociationError(f"{association.peer}: a malformed commitment report") from error


# --- messages (PS3.7 section 10.3) ------------------------------------------------------------


def _action(message: int) -> bytes:
    """N-ACTION-RQ, action type 1: request storage commitment."""
    return _command(
        {
            0x0003: _uid(COMMITMENT),
            0x0100: pack("<H", _N_ACTION_RQ),
            0x0110: pack("<H", message),
            0x0800: pack("<H", NO_DATASET - 1),
            0x1001: _uid(_WELL_KNOWN),
            0x1008: pack("<H", 1),
        }
    )


def _reported(message: int) -> bytes:
    """N-EVENT-REPORT-RSP."""
    return _command(
        {
            0x0002: _uid(COMMITMENT),
            0x0100: pack("<H", _N_EVENT_REPORT_RQ | RESPONSE),
            0x0120: pack("<H", message),
            0x0800: pack("<H", NO_DATASET),
            0x0900: pack("<H", SUCCESS),
            0x1000: _uid(_WELL_KNOWN),
        }
    )


def _command(elements: dict[int, bytes]) -> bytes:
    body = encode_elements(elements)
    return encode_elements({0: pack("<L", len(body))}) + body


def _wanted(transaction: str, kinds: Iterable[tuple[str, str]]) -> bytes:
    """Action information: Transaction UID, Referenced SOP Sequence (PS3.4 table J.3-1)."""
    items = [encode_elements({0x00081150: _uid(k), 0x00081155: _uid(n)}) for n, k in kinds]
    sequence = b"".join(pack("<HHL", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return encode_elements({0x00081195: _uid(transaction), 0x00081199: sequence})


def _uid(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)
