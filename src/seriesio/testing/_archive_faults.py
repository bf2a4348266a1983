"""What an embedded archive can be told to do wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = ["Faults"]


@dataclass(frozen=True, slots=True)
class Faults:
    """Misbehaviour of a :class:`DicomArchive`; none by default, changeable while it runs.

    Sub-operations (of one C-GET or C-MOVE) and stored instances (of one association) are counted
    from 1; what is to happen "after n" happens before operation n + 1, so that 0 is before the
    first. What concerns negotiation holds for associations that begin after the change.
    """

    reject: tuple[int, int, int] | None = None
    """Result, source and reason (PS3.8 table 9-21) with which each association is rejected."""
    refuse_identity: bool = False
    """Reject whoever negotiates a user identity (PS3.7 section D.3.3.7)."""
    max_associations: int | None = None
    """Reject more at a time than this: transient, local limit exceeded."""
    stall_accept: bool = False
    """Never answer a request for an association."""
    refuse_roles: bool = False
    """Answer that the requestor may not be SCP: C-GET then has no way to send."""
    ignore_roles: bool = False
    """Do not answer role items, but send as if they had been accepted, as old archives do."""
    refuse_get: bool = False
    refuse_move: bool = False
    refuse_store: bool = False
    """Presentation contexts of these services (of a requestor that wants to store) are refused."""
    no_study_root: bool = False
    no_patient_root: bool = False
    report_elsewhere: bool = False
    """Storage commitment is reported over an association with the destination of that title."""
    refused_syntaxes: frozenset[str] = frozenset()
    """Transfer syntax UIDs that are never accepted."""
    max_pdu: int | None = None
    """Bytes of the largest PDU that is announced, and of those that carry instances."""
    find_status: int | None = None
    retrieve_status: int | None = None
    """Answered to every C-FIND, C-GET and C-MOVE at once (0xA700, 0xA900, 0xFE00 …)."""
    store_statuses: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    """Which stored instance is answered with which status; warnings are stored all the same."""
    fail_suboperation: int | None = None
    """This sub-operation fails: nothing is sent, its UID is in the list of failed ones."""
    warn_suboperation: int | None = None
    """This one is sent, and counted as a warning (status 0xB000)."""
    abort_after: int | None = None
    close_after: int | None = None
    """The connection is closed without a word."""
    bad_pdu_after: int | None = None
    bad_pdu: Literal["type", "length"] = "type"
    """Bytes that are no PDU; or a PDU header that announces 4 GB."""
    stall_after: int | None = None
    stall: float = 3600.0
    """Seconds of silence at that point."""
    drip: float | None = None
    """Seconds before each byte that is sent, once the association is accepted."""
    no_release: bool = False
    """A release is never answered."""
    omit_instance: int | None = None
    """This sub-operation is reported as done, and nothing was sent."""
    wrong_uids: int | None = None
    """In place of this instance, one of another study and series is sent."""
    corrupt_dataset: int | None = None
    corruption: Literal["cut", "length"] = "cut"
    """This instance ends in the middle of an element; or an element announces too much."""
    duplicate_instance: int | None = None
    """This instance is sent twice."""
    extra_instances: int = 0
    """So many instances more than announced are sent, new ones of the same series."""
