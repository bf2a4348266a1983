"""One association with a DICOM peer, owned by one worker thread.

Blocking: :meth:`Association.open`, then messages out and in, then :meth:`Association.release`, and
:meth:`Association.close` in any case. :meth:`Association.abort` may be called from any thread at
any time: whatever the owner waits for ends with an error.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ..errors import AssociationError, DicomError, TooLargeError, UnsupportedByPeerError
from ._dicom_channel import MAX_PDU, Buffer, Channel
from ._dicom_dimse import Command, decode_command
from ._dicom_pdu import (
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    RELEASE_RQ,
    Fragment,
    Pdu,
    fragments,
)
from ._dicom_peer import Peer, Timeouts, accept_from, connect
from ._dicom_pynetdicom import (
    Answer,
    Context,
    Identity,
    Proposal,
    Request,
    decode_accept,
    decode_request,
    encode_accept,
    encode_request,
)
from ._dicom_wire import WireClosed
from ._dicom_words import result_words

__all__ = [
    "MAX_PDU",
    "Association",
    "Context",
    "Identity",
    "Message",
    "Peer",
    "Proposal",
    "Timeouts",
]

_LARGEST_SENT: Final = 1 << 20  # of those that we send where the peer takes any
_COMMAND_LIMIT: Final = 1 << 16
_IDENTIFIER_LIMIT: Final = 1 << 22
# A-ASSOCIATE-RJ: permanent, by the service user, called AE title not recognized.
_NOT_CALLED: Final = b"\x03\0\0\0\0\4\0\1\1\7"
_SIGNATURES: Final = (0x15, 0x16)  # TLS records: alert, handshake (RFC 8446 section 5.1)

_TINY, _MOST_TINY = 1 << 10, 1 << 12  # bytes, and how many such fragments are kept apart
_BATCH, _MOST_BUFFERS = 1 << 18, 512  # bytes and buffers that go out with one call


@dataclass(slots=True)
class Message:
    """A DIMSE message: the command, and the pieces of the data set, as they were received."""

    context: Context
    command: Command
    data: list[memoryview] = field(default_factory=list, repr=False)

    def joined(self) -> bytes:
        """The data set in one piece: for identifiers."""
        return b"".join(self.data)


class Association(Channel):
    """An association, from before it is asked for until after it has ended.

    Args:
        peer: whom to talk to.
        instance_limit: bytes of the largest data set of a C-STORE that is taken.
        alive: asked when nothing came for too long; true if there was a sign of life elsewhere.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        instance_limit: int = 1 << 32,
        alive: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(peer, alive)
        self._instance_limit = instance_limit
        self._answer = Answer({}, {}, 0, 1)
        self._messages = 0

    def __repr__(self) -> str:
        return f"<Association {self.peer}>"

    # --- negotiation ----------------------------------------------------------------------

    def open(self, proposals: Sequence[Proposal], *, operations: int = 1) -> None:
        """Connect, and ask for an association with these presentation contexts (at most 128).

        ``operations``: requests that are to be under way at a time, 0 for any number; what the
        peer grants is :attr:`operations`.

        Raises:
            AssociationError: the peer cannot be reached, rejects it, does not answer in time, or
                has TLS where we have not or the other way round.
            UnsupportedByPeerError: none of the contexts is accepted.
        """
        try:
            self._open(proposals, operations)
        except BaseException:
            self.close()
            raise

    def _open(self, proposals: Sequence[Proposal], operations: int) -> None:
        peer = self.peer
        request = encode_request(
            peer.calling,
            peer.called,
            proposals,
            max_pdu=MAX_PDU,
            identity=peer.identity,
            operations=operations,
        )
        connect(peer, self._keep)
        self._transmit([request])
        self._answer = self._accepted(proposals)
        self._established = True
        if not self._answer.contexts:
            reasons = sorted(set(map(result_words, self._answer.rejected.values())))
            self._close_politely()
            raise UnsupportedByPeerError(
                f"{peer}: accepts none of {len(proposals)} presentation contexts "
                f"({'; '.join(reasons) or 'no word on them'})"
            )

    def accept(
        self,
        connection: socket.socket,
        choose: Callable[[Request], Mapping[int, Context] | None],
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Be asked for an association, over a connection that a peer has made.

        ``choose`` says which contexts are accepted; None rejects the association. With
        ``ssl_context`` it has to come over TLS.

        Raises:
            AssociationError: nothing sensible came, or it was rejected.
        """
        accept_from(self.peer, connection, ssl_context, self._keep)
        self._wait(self.peer.timeouts.association)
        try:
            pdu = self._event("a request for an association")
        except AssociationError as error:
            if ssl_context is None and self._reader.begins_with(_SIGNATURES):
                self._fail("calls us in TLS (move_to=(AET, port, SSLContext) takes that)")
            raise error
        if isinstance(pdu, Fragment):
            self._fail("sends data before it has asked for an association")
        if pdu.kind != A_ASSOCIATE_RQ:
            self._unexpected(pdu)
        try:
            request = decode_request(pdu.body)
        except DicomError as error:
            raise AssociationError(f"{self.peer}: {error}") from error
        contexts = choose(request)
        if contexts is None:
            self._transmit([_NOT_CALLED])
            self._fail("has called another AE title than ours")
        self._answer = Answer(contexts, {}, request.max_pdu, 1)
        self._transmit([encode_accept(request, contexts, max_pdu=MAX_PDU)])
        self._established = True

    def _accepted(self, proposals: Sequence[Proposal]) -> Answer:
        self._wait(self.peer.timeouts.association)
        try:
            pdu = self._event("the request for an association")
        except AssociationError as error:
            raise self._perhaps_tls(error) from error
        if isinstance(pdu, Fragment):
            self._fail("sends data before it has accepted the association")
        if pdu.kind == A_ASSOCIATE_RJ:
            self._reject(pdu)
        if pdu.kind != A_ASSOCIATE_AC:
            self._unexpected(pdu)
        try:
            return decode_accept(pdu.body, proposals)
        except DicomError as error:
            raise AssociationError(f"{self.peer}: {error}") from error

    def _perhaps_tls(self, error: AssociationError) -> AssociationError:
        if self.peer.ssl_context is None and self._reader.begins_with(_SIGNATURES):
            return AssociationError(f"{self.peer}: speaks TLS (a dicoms:// URL asks for that)")
        hung_up = isinstance(error.__cause__, WireClosed) and not self._aborted
        if self.peer.ssl_context is None and hung_up:
            return AssociationError(
                f"{error} (a peer that expects TLS does that: a dicoms:// URL asks for it)"
            )
        return error

    # --- what was negotiated --------------------------------------------------------------

    @property
    def released(self) -> bool:
        """The peer has asked for the end, and got it."""
        return self._released

    @property
    def opened(self) -> bool:
        """It was accepted once, whatever became of it."""
        return bool(self._answer.contexts)

    @property
    def contexts(self) -> dict[int, Context]:
        """The accepted presentation contexts, by ID."""
        return dict(self._answer.contexts)

    @property
    def rejected(self) -> dict[str, int]:
        """Abstract syntax → result (PS3.8 table 9-18) of the contexts that were not accepted."""
        return dict(self._answer.rejected)

    @property
    def operations(self) -> int:
        """Requests that may be under way at a time; 0 for any number."""
        return self._answer.operations

    @property
    def max_pdu(self) -> int:
        """Bytes of the variable field of the P-DATA-TF PDUs that we send."""
        return max(min(self._answer.max_pdu or _LARGEST_SENT, _LARGEST_SENT), 16)

    def context_for(self, *abstracts: str) -> Context | None:
        """The first accepted context with the first of these abstract syntaxes that has one."""
        for abstract in abstracts:
            for context in self._answer.contexts.values():
                if context.abstract == abstract:
                    return context
        return None

    def next_message(self) -> int:
        """A Message ID that was not used lately."""
        self._messages = self._messages % 0xFFFF + 1
        return self._messages

    # --- messages -------------------------------------------------------------------------

    def send(self, context: Context, command: bytes, data: Iterable[Buffer] | None = None) -> None:
        """Send a message: a command set, and the pieces of a data set, which are not copied.

        Raises:
            AssociationError: the association has ended, or the peer takes nothing.
        """
        number, largest = context.number, self.max_pdu
        buffers = _flat(fragments(number, [command], largest, command=True))
        batch: list[Buffer] = [*buffers]
        size = 0
        for buffer in _flat(fragments(number, data, largest, command=False)) if data else ():
            batch.append(buffer)
            size += len(buffer)
            if size >= _BATCH or len(batch) >= _MOST_BUFFERS:
                self._transmit(batch)
                batch, size = [], 0
        self._transmit(batch)

    def receive(self, *, first: bool = False) -> Message:
        """The next message; ``first``: it is the first answer to a request.

        Raises:
            AssociationError: the association has ended, the peer breaks its rules, or is silent
                for too long.
            TooLargeError: a data set above the limit.
        """
        timeouts = self.peer.timeouts
        self._wait(timeouts.answer if first else timeouts.idle)
        head, number = self._collect(True, 0, _COMMAND_LIMIT)
        command, context = self._command(head), self._answer.contexts.get(number)
        if context is None:
            self._fail(f"uses the presentation context {number}, which was not accepted")
        if not command.has_dataset:
            return Message(context, command)
        limit = _IDENTIFIER_LIMIT if command.field & 0x8000 else self._instance_limit
        data, _ = self._collect(False, number, limit)
        return Message(context, command, data)

    def _command(self, data: list[memoryview]) -> Command:
        try:
            return decode_command(b"".join(data))
        except DicomError as error:
            raise AssociationError(f"{self.peer}: {error}") from error

    def _collect(self, command: bool, number: int, limit: int) -> tuple[list[memoryview], int]:
        """The fragments of a command set or data set, and their presentation context ID."""
        pieces: list[memoryview] = []
        size = tiny = 0
        while True:
            event = self._event("data" if pieces or not command else "an answer")
            if not isinstance(event, Fragment):
                self._unexpected(event)
            if event.command is not command or (number and event.context != number):
                self._fail("mixes up the parts of its messages")
            number = event.context
            size += len(event.data)
            if size > limit:
                what = "command set" if command else "data set"
                kind = AssociationError if limit < self._instance_limit else TooLargeError
                raise kind(f"{self.peer}: a {what} of more than {limit} bytes")
            pieces.append(event.data)
            tiny += len(event.data) < _TINY
            if tiny == _MOST_TINY:
                pieces[-tiny:], tiny = [memoryview(b"".join(pieces[-tiny:]))], 0
            if event.last:
                return pieces, number

    # --- the end --------------------------------------------------------------------------

    def release(self) -> None:
        """Ask for the end, wait a while for the answer, close. Never raises."""
        if self._wire is not None and self._established and not self._aborted:
            self._close_politely()
        self.close()

    def _close_politely(self) -> None:
        with suppress(AssociationError, TooLargeError):
            self._transmit([RELEASE_RQ])
            self._wait(self.peer.timeouts.release)
            while True:
                event = self._event("the release")
                if isinstance(event, Pdu) and event.kind == A_RELEASE_RP:
                    self._established = False
                    return


def _flat(pdus: Iterable[tuple[bytes, Sequence[memoryview]]]) -> Iterator[Buffer]:
    for head, views in pdus:
        yield head
        yield from views
