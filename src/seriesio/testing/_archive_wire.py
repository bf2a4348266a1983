"""What pynetdicom does not offer in public, in one place: raw datasets, sockets, reactors.

Here, and only here, the archive uses attributes of pynetdicom 3 that begin with an underscore, or
replaces methods of its objects; tests/testing/test_archive_wire.py fails when a version moves them.
"""

from __future__ import annotations

import math
import queue
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from pydicom.dataset import Dataset
from pynetdicom import _config
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from ._archive_gate import Gate

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import P_DATA
    from pynetdicom.presentation import PresentationContext

    from ._archive_instance import Instance

__all__ = [
    "after_answer",
    "begin_end",
    "drip",
    "end",
    "find_context",
    "guard",
    "hang_up",
    "hurry",
    "quiet",
    "replace_sender",
    "send_instance",
    "silence",
    "wake",
]

_MAX_PDU: Final = 1 << 20  # bytes of a PDU that is taken; we announce less
_MAX_QUEUED: Final = 16  # requests that a peer may send without waiting for answers
_LOOK: Final = 0.05  # seconds between two looks whether an association is still there
_POLL: Final = 0.0002  # seconds between two looks at the socket, five times a millisecond
_ABORT: Final = b"\x07\0\0\0\0\4\0\0\0\0"  # by the service user (PS3.8 section 9.3.8)


def quiet() -> None:
    """Keep pynetdicom from logging identifiers: they hold patients' attributes."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False


def hurry(association: Association) -> None:
    """Shorten the naps of an association's thread that looks after the socket."""
    association.dul._run_loop_delay = _POLL


# --- receiving --------------------------------------------------------------------------------


def guard(association: Association, limit: int) -> None:
    """Bound what a peer can make an association hold: PDUs, a message, messages waiting."""
    wrapper = association.dul.socket
    assert wrapper is not None

    def recv(nr_bytes: int) -> bytearray:
        if nr_bytes > _MAX_PDU or association.dimse.msg_queue.qsize() > _MAX_QUEUED:
            raise ConnectionError("more than the archive takes")
        message = association.dimse.message
        if message is not None and message.data_set is not None:
            held = message.data_set.tell() + message.encoded_command_set.tell()
            if held + nr_bytes > limit + _MAX_PDU:
                raise ConnectionError("an instance larger than the archive takes")
        assert wrapper.socket is not None
        return _receive(wrapper.socket, nr_bytes)

    wrapper.recv = recv  # type: ignore[method-assign]
    _abort_on_nonsense(association)


def _abort_on_nonsense(association: Association) -> None:
    """A command that cannot be decoded would end pynetdicom's thread: abort, as for a bad PDU."""
    original = association.dimse.receive_primitive

    def receive_primitive(primitive: P_DATA) -> None:
        try:
            original(primitive)
        except Exception:  # pydicom raises whatever it trips over
            association.dul.event_queue.put("Evt19")  # PS3.8 table 9-10: an invalid PDU

    association.dimse.receive_primitive = receive_primitive  # type: ignore[method-assign]


def _receive(connection: socket.socket, size: int) -> bytearray:
    """So many bytes, fewer at the end of the connection."""
    data = bytearray(size)
    view, place = memoryview(data), 0
    while place < size:
        count = connection.recv_into(view[place:])
        if not count:
            return data[:place]
        place += count
    return data


# --- sending ----------------------------------------------------------------------------------


def find_context(
    association: Association, sop_class: str, syntax: str, *, any_role: bool
) -> PresentationContext | None:
    """The accepted context for exactly this SOP class and transfer syntax."""
    for context in association.accepted_contexts:
        fits = context.abstract_syntax == sop_class and context.transfer_syntax[0] == syntax
        if fits and (any_role or context.as_scu):
            return context
    return None


def send_instance(
    association: Association,
    context: PresentationContext,
    instance: Instance,
    data: bytes,
    *,
    message_id: int,
    originator: tuple[str, int] | None,
    max_pdu: int | None,
) -> Dataset:
    """C-STORE an encoded dataset as it is, and wait for the answer: a Dataset with its Status.

    It is empty where there was none.
    """
    request = C_STORE()
    request.MessageID = message_id
    request.Priority = 2
    request.AffectedSOPClassUID = instance.sop_class
    request.AffectedSOPInstanceUID = instance.sop_instance
    if originator is not None:
        request.MoveOriginatorApplicationEntityTitle = originator[0]
        request.MoveOriginatorMessageID = originator[1]
    request.DataSet = BytesIO(data)
    if association.is_requestor:
        _pause(association)
    try:
        if not association.is_established:  # nothing more will come: whoever waited would for ever
            return Dataset()
        _send(association, request, context.context_id or 0, max_pdu)
        answer = _answer(association)
    finally:
        association._reactor_checkpoint.set()
    if answer is None:
        association._handle_no_response()
        return Dataset()
    return association._check_received_status(answer)


def _answer(association: Association) -> Any:
    """The answer to a request; None if none comes in time, or before the association has ended.

    The word that wakes a waiting thread may have been taken by the wait before: look, too.
    """
    provider = association.dimse
    patience = provider.dimse_timeout
    until = math.inf if patience is None else time.monotonic() + patience
    while association.is_established and (left := until - time.monotonic()) > 0:
        with suppress(queue.Empty):
            return provider.msg_queue.get(timeout=min(_LOOK, left))[1]
    with suppress(queue.Empty):
        return provider.msg_queue.get_nowait()[1]
    return None


def _pause(association: Association) -> None:
    """Keep the association's own thread from taking the answer, as pynetdicom's senders do."""
    if not isinstance(association._reactor_checkpoint, Gate):
        association._reactor_checkpoint = Gate(association)
    association._reactor_checkpoint.clear()


def _send(association: Association, request: C_STORE, context: int, max_pdu: int | None) -> None:
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    sizes = [size for size in (association.dimse.maximum_pdu_size, max_pdu) if size]
    for part in message.encode_msg(context, min(sizes, default=0)):
        association.dul.send_pdu(part)


def after_answer(association: Association, then: Callable[[], None]) -> None:
    """Call ``then`` once, right after the next message has been handed over for sending."""
    provider, original = association.dimse, association.dimse.send_msg

    def send_msg(primitive: Any, context_id: int) -> None:
        provider.send_msg = original  # type: ignore[method-assign]
        original(primitive, context_id)
        then()

    provider.send_msg = send_msg  # type: ignore[method-assign]


def replace_sender(association: Association, sender: Any) -> None:
    """Let pynetdicom's C-GET and C-MOVE services send their sub-operations by ``sender``."""
    association.send_c_store = sender  # type: ignore[method-assign]


# --- misbehaving ------------------------------------------------------------------------------


def drip(association: Association, seconds: float, wait: Callable[[float], bool]) -> None:
    """From now on send one byte at a time; ``wait`` sleeps, and is true when it is time to end."""
    wrapper = association.dul.socket
    assert wrapper is not None

    def send(bytestream: bytes) -> None:
        for place in range(len(bytestream)):
            if wait(seconds) or wrapper.socket is None:
                return
            try:
                wrapper.socket.sendall(bytestream[place : place + 1])
            except OSError:
                association.dul.event_queue.put("Evt17")  # the connection is closed
                return

    wrapper.send = send  # type: ignore[method-assign]


def silence(association: Association) -> None:
    """Never answer a release."""

    def send_release(is_response: bool = False) -> None:
        """Nothing is sent."""

    association.acse.send_release = send_release  # type: ignore[method-assign]


def hang_up(association: Association) -> None:
    """Close the connection without a word."""
    wrapper = association.dul.socket
    if wrapper is not None:
        wrapper.close()
    association.kill()


# --- ending -----------------------------------------------------------------------------------


def begin_end(association: Association) -> None:
    """Abort an association if it is still there; whoever waits for its peer goes on."""
    wrapper = association.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        _say_goodbye(wrapper.socket)
    association.is_established = False
    wake(association)


def end(association: Association) -> None:
    """Abort an association if it is still there, close its socket, join its threads. Blocks."""
    wrapper = association.dul.socket
    connection = None if wrapper is None else wrapper.socket
    begin_end(association)
    association.kill()
    for thread in (association.dul, association):
        if thread.is_alive():
            thread.join(10)
    if connection is not None:
        connection.close()


def _say_goodbye(connection: socket.socket) -> None:
    """An A-ABORT if the line is free, and the end of the connection: threads on it wake up.

    Past pynetdicom, whose state machine takes no abort in some states that last an instant.
    """
    try:
        if not isinstance(connection, ssl.SSLSocket):  # two threads must not write there
            connection.send(_ABORT, socket.MSG_DONTWAIT)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed already
        return


def wake(association: Association) -> None:
    """Let an association's thread go on that waits for a request or an answer: it gets none."""
    association.dimse.msg_queue.put((None, None))
    association.dul.to_user_queue.put(None)
