"""The associations of an embedded archive: who may have one, how it misbehaves, how it ends."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pynetdicom import evt

from ._archive_contexts import supported
from ._archive_faults import Faults
from ._archive_records import AssociationRecord, Identity, Ledger
from ._archive_wire import begin_end, drip, end, guard, hang_up, hurry, silence, wake

if TYPE_CHECKING:
    from socket import socket

    from pynetdicom.association import Association
    from pynetdicom.events import Event

    from ._archive_holdings import Holdings

__all__ = ["Associations"]

_BAD_PDUS: Final = {
    "type": b"\x99\x00\x00\x00\x00\x04none",
    "length": b"\x04\x00\xff\xff\xff\xff\x00\x00\x00\x04",
}
_PATIENCE: Final = 30.0  # seconds for a peer to react to a bad PDU


@dataclass(eq=False)
class Associations:
    """All associations with the archive, and its own with others. Handlers run in their threads."""

    holdings: Holdings
    faults: Faults
    authenticate: Callable[[Identity | None], bool] | None
    max_associations: int
    ledger: Ledger = field(default_factory=Ledger)
    stopping: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _live: dict[Association, int] = field(default_factory=dict)
    _sockets: dict[Association, socket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def handlers(self) -> list[Any]:
        """Events and who answers them."""
        return [
            (evt.EVT_CONN_OPEN, self.on_open),
            (evt.EVT_REQUESTED, self.on_requested),
            (evt.EVT_ACCEPTED, self.on_accepted),
            (evt.EVT_REJECTED, self.on_rejected),
            (evt.EVT_RELEASED, self.on_released),
            (evt.EVT_ABORTED, self.on_aborted),
            (evt.EVT_CONN_CLOSE, self.on_close),
            (evt.EVT_USER_ID, self.on_identity),
        ]

    @property
    def open(self) -> int:
        """Associations that peers have with the archive now."""
        return sum(one.is_acceptor and one.is_established for one in self._members())

    def _members(self) -> list[Association]:
        with self._lock:
            for association in [one for one in self._live if _is_gone(one)]:
                self.ledger.end(self._live.pop(association), "lost")
                # pynetdicom does not close what could not be connected.
                self._sockets.pop(association).close()
            return list(self._live)

    def number(self, association: Association) -> int:
        """An association's number; 0 of one of the archive's own."""
        return self._live.get(association, 0)

    def end_all(self) -> None:
        """End every association, and wait for its threads."""
        self.stopping.set()
        for association in self._members():  # all first: one's thread may wait for another
            self.ledger.end(self.number(association), "aborted")
            begin_end(association)
        for association in self._members():
            end(association)
        self._members()

    def on_open(self, event: Event) -> None:
        """A connection, or one that is about to be made: keep an eye on it."""
        self._members()
        association = event.assoc
        wrapper = association.dul.socket
        if association in self._live or wrapper is None or wrapper.socket is None:
            return
        with self._lock:
            self._live[association] = next(self._numbers)
            self._sockets[association] = wrapper.socket
        guard(association, self.holdings.instance_limit)
        hurry(association)

    def on_requested(self, event: Event) -> None:
        """Somebody asks for an association: note it, refuse it, or say what is supported."""
        association, faults = event.assoc, self.faults
        self.ledger.begin(_record(association, self.number(association)))
        if faults.stall_accept:
            self.pause(association, faults.stall)
        if rejection := self._rejection(association):
            association.acse.send_reject(*rejection)
            association.kill()
            return
        requestor = association.requestor
        taking = {str(uid) for uid, role in requestor.role_selection.items() if role.scp_role}
        association.acceptor.supported_contexts = supported(
            requestor.requested_contexts, frozenset(taking), faults, self.holdings.syntaxes
        )
        if faults.max_pdu is not None:
            association.acceptor.maximum_length = faults.max_pdu

    def _rejection(self, association: Association) -> tuple[int, int, int] | None:
        """Result, source and reason (PS3.8 table 9-21) if an association is not wanted."""
        faults = self.faults
        if faults.reject is not None:
            return faults.reject
        most = self.max_associations if faults.max_associations is None else faults.max_associations
        if self.open >= most:
            return 2, 3, 2
        identity = _identity(association)
        refused = faults.refuse_identity and identity is not None
        if refused or (self.authenticate is not None and not self.authenticate(identity)):
            return 1, 2, 1
        return None

    def on_accepted(self, event: Event) -> None:
        """An association stands."""
        association, faults = event.assoc, self.faults
        contexts = association.accepted_contexts
        pairs = tuple((str(cx.abstract_syntax), str(cx.transfer_syntax[0])) for cx in contexts)
        self.ledger.accept(self.number(association), pairs)
        if faults.drip is not None:
            drip(association, faults.drip, self.stopping.wait)
        if faults.no_release:
            silence(association)

    def on_identity(self, event: Event) -> tuple[bool, bytes | None]:
        """Identities were looked at when the association was requested."""
        return True, b""

    def on_rejected(self, event: Event) -> None:
        """Note the end."""
        self.ledger.end(self.number(event.assoc), "rejected")

    def on_released(self, event: Event) -> None:
        """Note the end."""
        self.ledger.end(self.number(event.assoc), "released")

    def on_aborted(self, event: Event) -> None:
        """Note the end."""
        self.ledger.end(self.number(event.assoc), "aborted")

    def on_close(self, event: Event) -> None:
        """Note the end, if nothing was said before."""
        rejected = event.assoc.is_rejected
        self.ledger.end(self.number(event.assoc), "rejected" if rejected else "lost")
        if event.assoc.requestor.primitive is None:  # nobody will ask for anything
            wake(event.assoc)

    # --- faults ---------------------------------------------------------------------------

    def checkpoint(self, association: Association, done: int) -> bool:
        """Misbehave if it is time to, after so many operations; False if that was the end."""
        faults = self.faults
        if faults.stall_after == done:
            self.pause(association, faults.stall)
        if faults.bad_pdu_after == done:
            self._send_bytes(association, _BAD_PDUS[faults.bad_pdu])
        if faults.close_after == done:
            hang_up(association)
        if faults.abort_after == done:
            type(association).abort(association)
        while self.stopping.is_set() and association.is_established:
            time.sleep(0.001)  # the archive is about to end it
        return bool(association.is_established)

    def pause(self, association: Association, seconds: float) -> None:
        """Say nothing for a while, or until the peer has gone."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.stopping.wait(0.01):
            if association.dul.state_machine.current_state == "Sta1":
                return

    def _send_bytes(self, association: Association, data: bytes) -> None:
        wrapper = association.dul.socket
        if wrapper is not None and wrapper.socket is not None:
            wrapper.send(data)
        self.pause(association, _PATIENCE)


def _is_gone(association: Association) -> bool:
    """Its threads have ended; not so if they are just about to start."""
    threads = association, association.dul
    return association.dul.ident is not None and not any(one.is_alive() for one in threads)


def _record(association: Association, number: int) -> AssociationRecord:
    """What the request for an association says."""
    requestor, primitive = association.requestor, association.requestor.primitive
    assert primitive is not None
    proposed = tuple(
        (str(context.abstract_syntax), tuple(map(str, context.transfer_syntax)))
        for context in requestor.requested_contexts
    )
    roles = {
        str(uid): (bool(role.scu_role), bool(role.scp_role))
        for uid, role in requestor.role_selection.items()
    }
    return AssociationRecord(
        number,
        str(primitive.calling_ae_title).strip(),
        str(primitive.called_ae_title).strip(),
        proposed,
        roles=roles,
        max_pdu=requestor.maximum_length or 0,
        identified=requestor.user_identity is not None,
    )


def _identity(association: Association) -> Identity | None:
    item = association.requestor.user_identity
    if item is None:
        return None
    kind, primary, secondary = item.user_identity_type, item.primary_field, item.secondary_field
    return Identity(kind or 0, primary or b"", secondary or b"")
