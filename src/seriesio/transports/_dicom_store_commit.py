"""Storage commitment: will the archive keep what it was sent (PS3.4 annex J)?

The report comes on the association that has asked for it, or, where the archive knows us as a
destination, on one of its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from struct import pack
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydicom.filereader import read_dataset
from pydicom.uid import generate_uid

from ..errors import AssociationError, StatusError
from ._dicom_association import Association, Proposal
from ._dicom_dimse import NO_DATASET, RESPONSE, SUCCESS
from ._dicom_elements import encode_elements
from ._dicom_inbound import Service, serving
from ._dicom_query import IMPLICIT
from ._dicom_session import use
from ._dicom_status import status_words
from ._dicom_store_instance import COMMITMENT, NATIVE, Stored

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from ._dicom_association import Message, Peer
    from ._dicom_inbound import Destination

__all__ = ["commit_all"]

Failed = list[tuple[str, str]]

_WELL_KNOWN: Final = "1.2.840.10008.1.20.1.1"
_N_EVENT_REPORT_RQ, _N_ACTION_RQ = 0x0100, 0x0130
_NO_SUCH_OBJECT: Final = 0x0112  # PS3.7 section C.5.13
_LOOK: Final = 0.5  # seconds between two looks whether the report has come elsewhere


async def commit_all(
    stored: Sequence[Stored], peer: Peer, destination: Destination | None = None
) -> Failed:
    """Names of stored instances that the archive does not commit itself to, with the reason.

    It is asked in the name of the destination: that is whom it reports to.

    Raises:
        UnsupportedByPeerError: the peer has no storage commitment.
        TransportError: the destination's port cannot be listened at.
        AssociationError, StatusError: it does not answer as it should, or no report comes in time.
    """
    kinds = {one.name: one.sop_class for one in stored}
    report = _Report(peer, destination is not None)
    if destination is None:
        await use(Association(peer), partial(_ask, report, kinds))
        return _uncommitted(report.told(), kinds)
    known = replace(peer, calling=destination.ae_title)

    async def ask() -> None:
        quick = replace(peer.timeouts, answer=_LOOK, idle=_LOOK)
        association = Association(replace(known, timeouts=quick), alive=report.awaited)
        await use(association, partial(_ask, report, kinds))
        with anyio.move_on_after(report.left()):
            await report.arrived.wait()

    service = Service(
        destination,
        peer,
        offers=lambda sop_class: sop_class == COMMITMENT,
        syntaxes=NATIVE,
        talk=report.take,
        told=report.complaints.append,
    )
    await serving(service, ask)
    return _uncommitted(report.told(), kinds)


class _Report:
    """The report on one transaction, from whatever association it comes.

    Made in the event loop; threads bring what arrives.
    """

    def __init__(self, peer: Peer, elsewhere: bool) -> None:
        self._peer, self.elsewhere = peer, elsewhere
        self.transaction = str(generate_uid(None))
        self.arrived = anyio.Event()
        self.complaints: list[str] = []
        self._end = time.monotonic() + peer.timeouts.answer
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._told: Dataset | None = None

    def left(self) -> float:
        """Seconds that are left to wait."""
        return max(self._end - time.monotonic(), 0.0)

    def awaited(self) -> bool:
        """It has not come yet, and there is time."""
        return self._told is None and self.left() > 0

    def take(self, association: Association, came: Message) -> None:
        """A message that should be the report; it is answered.

        Raises:
            AssociationError: it is none.
        """
        if came.command.field != _N_EVENT_REPORT_RQ:
            raise AssociationError(
                f"{association.peer}: sends something else than a commitment report"
            )
        told = _decoded(association, came)
        ours = str(told.get("TransactionUID", "")) == self.transaction
        status = SUCCESS if ours else _NO_SUCH_OBJECT
        association.send(came.context, _reported(came.command.message, status))
        if not ours:
            raise AssociationError(f"{association.peer}: reports on another storage commitment")
        with self._lock:
            self._told = told
        self._loop.call_soon_threadsafe(self.arrived.set)

    def told(self) -> Dataset:
        """What it says.

        Raises:
            AssociationError: it has not come.
        """
        if self._told is not None:
            return self._told
        how = (
            ""
            if self.elsewhere
            else ' on the same association (move_to=("AET", port) hears others)'
        )
        told = "; ".join(self.complaints[:3])
        raise AssociationError(f"{self._peer}: no report on storage commitment came{how}: {told}")


def _ask(report: _Report, kinds: Mapping[str, str], association: Association) -> None:
    """Ask for storage commitment, and wait for the report as long as it may come here."""
    association.open([Proposal(COMMITMENT, (IMPLICIT,))])
    context = association.context_for(COMMITMENT)
    assert context is not None
    message = association.next_message()
    association.send(context, _action(message), [_wanted(report.transaction, kinds.items())])
    _check(association, association.receive(first=True), message)
    try:
        came = association.receive(first=True)
    except AssociationError as error:  # silent or gone: it may still come elsewhere, or has
        report.complaints.append(str(error))
    else:
        report.take(association, came)
    association.release()


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
    implicit = report.context.syntax == IMPLICIT
    try:
        return read_dataset(BytesIO(report.joined()), implicit, is_little_endian=True)
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


def _reported(message: int, status: int) -> bytes:
    """N-EVENT-REPORT-RSP."""
    return _command(
        {
            0x0002: _uid(COMMITMENT),
            0x0100: pack("<H", _N_EVENT_REPORT_RQ | RESPONSE),
            0x0120: pack("<H", message),
            0x0800: pack("<H", NO_DATASET),
            0x0900: pack("<H", status),
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
