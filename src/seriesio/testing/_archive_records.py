"""What an embedded archive has been asked: for tests to look at."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

__all__ = ["AssociationRecord", "Identity", "Ledger", "Request"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A user identity as it was negotiated (PS3.7 section D.3.3.7).

    Attributes:
        kind: 1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JSON Web Token.
        primary, secondary: the name or ticket; the passcode.
    """

    kind: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AssociationRecord:
    """An association that somebody has asked the archive for.

    Attributes:
        number: counts from 1.
        calling, called: AE titles.
        proposed: abstract syntax and transfer syntaxes of each presentation context.
        accepted: of those accepted, the abstract syntax and the one transfer syntax.
        roles: abstract syntax → (SCU, SCP) as the requestor proposed.
        max_pdu: bytes of the largest PDU that the requestor takes; 0 for any.
        identified: a user identity was negotiated.
        end: how it ended: "" while it goes on.
    """

    number: int
    calling: str
    called: str
    proposed: tuple[tuple[str, tuple[str, ...]], ...] = field(repr=False)
    accepted: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict, repr=False)
    max_pdu: int = 0
    identified: bool = False
    end: Literal["", "rejected", "released", "aborted", "lost"] = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A DIMSE request.

    Attributes:
        association: its number.
        service: C-ECHO, C-FIND, C-GET, C-MOVE, C-STORE or N-ACTION.
        abstract_syntax, transfer_syntax: of the presentation context.
        level: of the query.
        identifier: keyword → key of the query.
        instance: SOP Instance UID of what is stored; Transaction UID of an N-ACTION.
        destination: AE title of a C-MOVE.
    """

    association: int
    service: str
    abstract_syntax: str
    transfer_syntax: str
    level: str = ""
    identifier: Mapping[str, str] = field(default_factory=dict, repr=False)
    instance: str = ""
    destination: str = ""


class Ledger:
    """The records, kept by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._associations: dict[int, AssociationRecord] = {}
        self._requests: list[Request] = []

    @property
    def associations(self) -> tuple[AssociationRecord, ...]:
        with self._lock:
            return tuple(self._associations.values())

    @property
    def requests(self) -> tuple[Request, ...]:
        with self._lock:
            return tuple(self._requests)

    def begin(self, record: AssociationRecord) -> None:
        """Note an association."""
        with self._lock:
            self._associations[record.number] = record

    def accept(self, number: int, accepted: tuple[tuple[str, str], ...]) -> None:
        """Note the contexts that were accepted."""
        with self._lock:
            self._associations[number] = replace(self._associations[number], accepted=accepted)

    def end(self, number: int, how: Literal["rejected", "released", "aborted", "lost"]) -> None:
        """Note how an association ended; the first word counts."""
        with self._lock:
            record = self._associations.get(number)
            if record is not None and not record.end:
                self._associations[number] = replace(record, end=how)

    def add(self, request: Request) -> None:
        """Note a request."""
        with self._lock:
            self._requests.append(request)

    def clear(self) -> None:
        """Forget the requests, and the associations that have ended."""
        with self._lock:
            self._requests.clear()
            going_on = {n: one for n, one in self._associations.items() if not one.end}
            self._associations = going_on
