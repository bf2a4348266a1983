"""Storage commitment, push model: PS3.4 annex J."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context, build_role

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from ._archive_holdings import Holdings
    from ._archive_service import Destination

__all__ = ["commitment", "report", "report_to"]

_CLASS: Final = "1.2.840.10008.1.20.1"
_INSTANCE: Final = "1.2.840.10008.1.20.1.1"  # the well-known one
_PATIENCE: Final = 5.0  # seconds for the answer: a peer that releases too early gives none
_NO_SUCH_INSTANCE, _CLASS_CONFLICT = 0x0112, 0x0119


def commitment(request: Dataset, holdings: Holdings) -> tuple[str, int, Dataset]:
    """Transaction UID, event type (1: all are kept, 2: not all) and event information."""
    report = Dataset()
    report.TransactionUID = transaction = str(request.get("TransactionUID", ""))
    items = [(item, _reason(item, holdings)) for item in request.get("ReferencedSOPSequence", [])]
    kept = [_reference(item) for item, reason in items if not reason]
    failed = [_reference(item, reason) for item, reason in items if reason]
    if kept:
        report.ReferencedSOPSequence = Sequence(kept)
    if failed:
        report.FailedSOPSequence = Sequence(failed)
    return transaction, 2 if failed else 1, report


def _reason(item: Dataset, holdings: Holdings) -> int:
    """Why an instance cannot be vouched for; 0 if it can."""
    instance = holdings.get(str(item.get("ReferencedSOPInstanceUID", "")))
    if instance is None:
        return _NO_SUCH_INSTANCE
    same = instance.sop_class == str(item.get("ReferencedSOPClassUID", ""))
    return 0 if same else _CLASS_CONFLICT


def _reference(item: Dataset, reason: int = 0) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID = item.get("ReferencedSOPClassUID", "")
    made.ReferencedSOPInstanceUID = item.get("ReferencedSOPInstanceUID", "")
    if reason:
        made.FailureReason = reason
    return made


def report_to(
    title: str, requestor: str, destination: Destination, kind: int, information: Dataset
) -> None:
    """Send the report over an association of its own, if that can be had. Blocks.

    Args:
        title: of the archive.
        requestor: the AE title of who has asked, which is called.
        destination: where that is.
        kind, information: event type and event information.
    """
    entity = ApplicationEntity(title)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = _PATIENCE
    context = destination.ssl_context
    association = entity.associate(
        destination.host,
        destination.port,
        [build_context(_CLASS)],
        requestor,
        ext_neg=[build_role(_CLASS, scp_role=True)],
        tls_args=None if context is None else (context, destination.host),
    )
    if association.is_established:
        association.send_n_event_report(information, kind, _CLASS, _INSTANCE)
        association.release()


def report(association: Association, kind: int, information: Dataset) -> None:
    """Send the report on the association that has asked, if it still stands. Blocks."""
    if association.is_established:
        association.dimse_timeout = _PATIENCE
        association.send_n_event_report(information, kind, _CLASS, _INSTANCE)
