"""PDUs out and in over a connection: deadlines, aborts, and what ends an association. Blocking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NoReturn, TypeAlias

from ..errors import AssociationError
from ._dicom_pdu import (
    A_ABORT,
    A_ASSOCIATE_RJ,
    A_RELEASE_RQ,
    ABORT,
    RELEASE_RP,
    Event,
    Pdu,
    PduError,
    PduReader,
)
from ._dicom_peer import Peer
from ._dicom_wire import Wire, WireClosed
from ._dicom_words import abort_words, alert_words, rejection_words

__all__ = ["MAX_PDU", "BrokenError", "Buffer", "Channel"]

MAX_PDU: Final = 1 << 20  # bytes of a P-DATA-TF that we take: fewer and larger ones cost less
_PROGRESS: Final = 1 << 16  # bytes that count as a sign of life; a dripping peer is none

Buffer: TypeAlias = "memoryview | bytes"


class BrokenError(AssociationError):
    """The peer has ended an association in the middle: another one may do better."""


class Channel:
    """A connection to a peer, in PDUs; owned by one thread, aborted by any.

    Args:
        peer: whom to talk to; named in every error.
        alive: asked when nothing came for too long; true if there was a sign of life elsewhere.
    """

    def __init__(self, peer: Peer, alive: Callable[[], bool]) -> None:
        self.peer = peer
        self._alive = alive
        self._wire: Wire | None = None
        self._reader = PduReader(MAX_PDU)
        self._events: Iterator[Event] = iter(())
        self._aborted = self._established = self._released = False
        self._progress = 0
        self._deadline = 0.0

    def _keep(self, wire: Wire) -> None:
        """Take a connection that is being made: it can be interrupted from now on."""
        self._wire = wire
        if self._aborted:
            raise WireClosed

    def abort(self) -> None:
        """End it at once; from any thread, does not block. The owner still has to close it."""
        self._aborted = True
        if (wire := self._wire) is not None:
            wire.interrupt()

    def close(self) -> None:
        """Close the socket; abort the association first if it was not released."""
        wire, self._wire = self._wire, None
        if wire is not None:
            if self._established:
                wire.farewell(ABORT)
            wire.close()
        self._established = False

    # --- bytes ----------------------------------------------------------------------------

    def _transmit(self, buffers: Sequence[Buffer]) -> None:
        if self._wire is None or self._aborted:
            self._gone(None)
        try:
            self._wire.send(buffers, self.peer.timeouts.idle)
        except TimeoutError as error:
            seconds = self.peer.timeouts.idle
            raise AssociationError(f"{self.peer}: took nothing for {seconds:g} seconds") from error
        except WireClosed as error:
            self._last_word()
            self._gone(error)

    def _last_word(self) -> None:
        """What the peer has said before it closed the connection, if it was an abort."""
        self._wait(0.0)
        with suppress(WireClosed, PduError):
            while self._wire is not None and not self._aborted:
                for event in self._events:
                    if isinstance(event, Pdu) and event.kind in (A_ABORT, A_ASSOCIATE_RJ):
                        self._unexpected(event)
                count = self._wire.receive([self._reader.space()])
                if not count:
                    return
                self._events = self._reader.received(count)

    def _wait(self, seconds: float) -> None:
        self._deadline, self._progress = time.monotonic() + seconds, 0

    def _event(self, awaited: str) -> Event:
        """The next PDU, or part of one.

        Raises:
            AssociationError: the connection has ended, nothing came for too long, or nonsense.
        """
        try:
            while (event := next(self._events, None)) is None:
                self._events = self._reader.received(self._fill(awaited))
        except PduError as error:
            raise AssociationError(f"{self.peer}: sends {error}") from error
        return event

    def _fill(self, awaited: str) -> int:
        """Receive some bytes; how many."""
        while True:
            if self._wire is None or self._aborted:
                self._gone(None)
            try:
                reader = self._reader
                space = reader.spaces() if self._wire.scatters else [reader.space()]
                count = self._wire.receive(space)
            except WireClosed as error:
                self._gone(error)
            if count and self._in_time(count):
                return count
            if time.monotonic() > self._deadline:
                if not self._alive():
                    self._late(awaited)
                self._wait(self.peer.timeouts.idle)

    def _in_time(self, count: int) -> bool:
        """Count bytes; true while they come quickly enough."""
        now, begun = time.monotonic(), self._progress > 0
        self._progress += count
        if self._progress >= _PROGRESS:
            self._wait(self.peer.timeouts.idle)
        elif not begun:  # an answer has begun: if that is late, it may be we who were
            self._deadline = now + self.peer.timeouts.idle
        return now <= self._deadline

    def _late(self, awaited: str) -> NoReturn:
        how = "sends too slowly" if self._progress or self._reader.inside else "is silent"
        raise AssociationError(f"{self.peer}: {how}: {awaited} did not come in time")

    def _gone(self, error: Exception | None) -> NoReturn:
        if self._aborted:
            raise AssociationError(f"{self.peer}: the association was aborted") from error
        told = alert_words(error)
        if not told and self.peer.ssl_context is not None and not self._established:
            told = " (over TLS: it may ask for a client certificate, ssl_context=)"
        raise BrokenError(
            f"{self.peer}: the association has ended: the peer closed the connection{told}"
        ) from error

    def _unexpected(self, pdu: Pdu) -> NoReturn:
        """Whatever comes in place of data ends the association."""
        if pdu.kind == A_ABORT:
            self._established = False
            source, reason = pdu.body[2:4]
            raise BrokenError(
                f"{self.peer}: aborted the association ({abort_words(source, reason)})"
            )
        if pdu.kind == A_ASSOCIATE_RJ:
            self._reject(pdu)
        if pdu.kind == A_RELEASE_RQ:
            self._transmit([RELEASE_RP])
            self._established, self._released = False, True
            raise BrokenError(f"{self.peer}: released the association before it was done")
        self._fail(f"sends a PDU of type 0x{pdu.kind:02X} where none may come")

    def _fail(self, what: str) -> NoReturn:
        raise AssociationError(f"{self.peer}: {what}")

    def _reject(self, pdu: Pdu) -> NoReturn:
        _, result, source, reason = pdu.body[:4]
        raise AssociationError(
            f"{self.peer}: rejects the association: {rejection_words(result, source, reason)}",
            (result, source, reason),
        )
