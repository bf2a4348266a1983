"""DIMSE messages: command sets, identifiers, and what a status means; pure, no I/O.

Command sets (PS3.7 section 6.3) and identifiers are flat lists of elements in Implicit VR Little
Endian; they are read and written here without a dataset in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from struct import Struct
from typing import Final, TypeAlias

from ..errors import DicomError

__all__ = [
    "C_CANCEL_RQ",
    "C_ECHO_RQ",
    "C_FIND_RQ",
    "C_GET_RQ",
    "C_MOVE_RQ",
    "C_STORE_RQ",
    "NO_DATASET",
    "PENDING",
    "RESPONSE",
    "SUCCESS",
    "Command",
    "Elements",
    "cancel_request",
    "decode_command",
    "decode_elements",
    "echo_request",
    "echo_response",
    "encode_elements",
    "find_request",
    "get_request",
    "is_failure",
    "is_pending",
    "is_warning",
    "move_request",
    "status_words",
    "store_request",
    "store_response",
]

Elements: TypeAlias = "dict[int, bytes]"

C_STORE_RQ: Final = 0x0001
C_GET_RQ: Final = 0x0010
C_FIND_RQ: Final = 0x0020
C_MOVE_RQ: Final = 0x0021
C_ECHO_RQ: Final = 0x0030
C_CANCEL_RQ: Final = 0x0FFF
RESPONSE: Final = 0x8000  # this bit makes the response of a request (PS3.7 annex E)

SUCCESS: Final = 0x0000
PENDING: Final = 0xFF00
NO_DATASET: Final = 0x0101
_DATASET: Final = 0x0000
_MEDIUM: Final = 0x0000  # priority

# Command elements (PS3.7 section E.1).
_SOP_CLASS: Final = 0x00000002
_FIELD: Final = 0x00000100
_MESSAGE: Final = 0x00000110
_ANSWERED: Final = 0x00000120
_DESTINATION: Final = 0x00000600
_PRIORITY: Final = 0x00000700
_DATASET_TYPE: Final = 0x00000800
_STATUS: Final = 0x00000900
_SOP_INSTANCE: Final = 0x00001000
_REMAINING, _COMPLETED, _FAILED, _WARNING = 0x00001020, 0x00001021, 0x00001022, 0x00001023
_ORIGINATOR: Final = 0x00001031

_ELEMENT: Final = Struct("<HHI")
_US: Final = Struct("<H")
_UL: Final = Struct("<I")
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM_END, _SEQUENCE_END = 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST: Final = 32


@dataclass(frozen=True, slots=True)
class Command:
    """A command set, decoded.

    Attributes:
        field: which message it is (PS3.7 section E.1-1).
        message: Message ID, of the request that is answered in a response.
        status: of a response; 0 where there is none.
        has_dataset: whether a data set follows.
        sop_class, sop_instance: the affected ones.
        remaining, completed, failed, warning: sub-operations; None where they are not told.
        originator: Message ID of the C-MOVE that a C-STORE belongs to.
    """

    field: int
    message: int
    status: int
    has_dataset: bool
    sop_class: str = ""
    sop_instance: str = ""
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    originator: int | None = None


def decode_elements(data: bytes) -> Elements:
    """Tag → value of the elements at the top of an Implicit VR Little Endian data set.

    Sequences are passed over: their value is empty.

    Raises:
        DicomError: it ends in the middle of an element, or is nested too deeply.
    """
    found: Elements = {}
    place, end = 0, len(data)
    while place < end:
        tag, size, place = _header(data, place)
        if size == _UNDEFINED:
            found[tag], place = b"", _after_sequence(data, place, 0)
            continue
        found[tag] = data[place : place + size]
        place += size
        if place > end:
            raise DicomError("a data set of the peer ends in the middle of an element")
    return found


def _header(data: bytes, place: int) -> tuple[int, int, int]:
    if place + 8 > len(data):
        raise DicomError("a data set of the peer ends in the middle of an element")
    group, element, size = _ELEMENT.unpack_from(data, place)
    return group << 16 | element, size, place + 8


def _after_sequence(data: bytes, place: int, depth: int) -> int:
    """Where a sequence or item of undefined length ends."""
    if depth > _DEEPEST:
        raise DicomError("a data set of the peer is nested too deeply")
    while True:
        tag, size, place = _header(data, place)
        if tag in (_SEQUENCE_END, _ITEM_END):
            return place
        place = _after_sequence(data, place, depth + 1) if size == _UNDEFINED else place + size


def encode_elements(elements: Mapping[int, bytes]) -> bytes:
    """A data set in Implicit VR Little Endian; values of odd length are not padded here."""
    pieces = ((_ELEMENT.pack(t >> 16, t & 0xFFFF, len(v)), v) for t, v in sorted(elements.items()))
    return b"".join(chain.from_iterable(pieces))


# --- command sets -----------------------------------------------------------------------------


def decode_command(data: bytes) -> Command:
    """A command set as it was received.

    Raises:
        DicomError: it is malformed, or has not what every command set has.
    """
    values = decode_elements(data)
    field, dataset = _number(values, _FIELD), _number(values, _DATASET_TYPE)
    response = (field or 0) & RESPONSE or field == C_CANCEL_RQ
    message = _number(values, _ANSWERED if response else _MESSAGE)
    if field is None or dataset is None or message is None:
        raise DicomError("a command set of the peer has no command field, message ID or data type")
    if field & RESPONSE and _STATUS not in values:
        raise DicomError("a response of the peer has no status")
    return Command(
        field,
        message,
        _number(values, _STATUS) or 0,
        dataset != NO_DATASET,
        _text(values, _SOP_CLASS),
        _text(values, _SOP_INSTANCE),
        _number(values, _REMAINING),
        _number(values, _COMPLETED),
        _number(values, _FAILED),
        _number(values, _WARNING),
        _number(values, _ORIGINATOR),
    )


def _number(values: Elements, tag: int) -> int | None:
    value = values.get(tag, b"")
    return _US.unpack(value)[0] if len(value) == 2 else None


def _text(values: Elements, tag: int) -> str:
    return values.get(tag, b"").decode("ascii", "replace").strip(" \0")


def _command(field: int, dataset: bool, elements: Mapping[int, int | str]) -> bytes:
    """A command set: elements, and those that it has in any case."""
    told = {**elements, _FIELD: field, _DATASET_TYPE: _DATASET if dataset else NO_DATASET}
    body = encode_elements({tag: _encoded(tag, value) for tag, value in told.items()})
    return _ELEMENT.pack(0, 0, 4) + _UL.pack(len(body)) + body


def _encoded(tag: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return _US.pack(value)
    text = value.encode("ascii", "replace")
    return text + (b" " if tag == _DESTINATION else b"\0") * (len(text) % 2)


def echo_request(message: int) -> bytes:
    """C-ECHO-RQ (PS3.7 table 9.3-12)."""
    return _command(C_ECHO_RQ, False, {_SOP_CLASS: "1.2.840.10008.1.1", _MESSAGE: message})


def echo_response(message: int) -> bytes:
    """C-ECHO-RSP (PS3.7 table 9.3-13)."""
    told: dict[int, int | str] = {_SOP_CLASS: "1.2.840.10008.1.1", _ANSWERED: message}
    return _command(C_ECHO_RQ | RESPONSE, False, {**told, _STATUS: SUCCESS})


def find_request(message: int, sop_class: str) -> bytes:
    """C-FIND-RQ (PS3.7 table 9.3-3); its identifier follows."""
    return _query(C_FIND_RQ, message, sop_class)


def get_request(message: int, sop_class: str) -> bytes:
    """C-GET-RQ (PS3.7 table 9.3-6); its identifier follows."""
    return _query(C_GET_RQ, message, sop_class)


def move_request(message: int, sop_class: str, destination: str) -> bytes:
    """C-MOVE-RQ (PS3.7 table 9.3-9); its identifier follows."""
    return _query(C_MOVE_RQ, message, sop_class, {_DESTINATION: destination})


def _query(
    field: int, message: int, sop_class: str, more: Mapping[int, int | str] | None = None
) -> bytes:
    told: dict[int, int | str] = {_SOP_CLASS: sop_class, _MESSAGE: message, _PRIORITY: _MEDIUM}
    return _command(field, True, {**told, **(more or {})})


def store_request(message: int, sop_class: str, sop_instance: str) -> bytes:
    """C-STORE-RQ (PS3.7 table 9.3-1); the data set follows."""
    return _query(C_STORE_RQ, message, sop_class, {_SOP_INSTANCE: sop_instance})


def store_response(message: int, sop_class: str, sop_instance: str, status: int) -> bytes:
    """C-STORE-RSP (PS3.7 table 9.3-2)."""
    told: dict[int, int | str] = {_SOP_CLASS: sop_class, _ANSWERED: message, _STATUS: status}
    return _command(C_STORE_RQ | RESPONSE, False, {**told, _SOP_INSTANCE: sop_instance})


def cancel_request(message: int) -> bytes:
    """C-CANCEL-RQ of a C-FIND, C-GET or C-MOVE (PS3.7 table 9.3-5)."""
    return _command(C_CANCEL_RQ, False, {_ANSWERED: message})


# --- status -----------------------------------------------------------------------------------

_STORED_WORDS: Final = {
    0xB000: "stored, with data elements coerced",
    0xB006: "stored, with elements discarded",
    0xB007: "stored, though the data set does not match the SOP class",
}
_RETRIEVE_WORDS: Final = {
    0xA701: "refused: out of resources, the matches cannot be counted",
    0xA702: "refused: out of resources, the sub-operations cannot be performed",
    0xA801: "refused: the move destination is unknown to the peer",
    0xAA00: "failed: none of the frames asked for were found in the SOP instance",
    0xAA01: "failed: a new object cannot be made for this SOP class",
    0xAA02: "failed: frames cannot be extracted",
    0xAA03: "failed: a time-based request for something not time-based",
    0xAA04: "failed: the request is invalid",
    0xB000: "complete, with one or more sub-operations failed or warned of",
}
# PS3.7 annex C.
_COMMON_WORDS: Final = {
    0x0000: "success",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such object instance",
    0x0113: "no such event type",
    0x0114: "no such argument",
    0x0115: "invalid argument value",
    0x0116: "attribute value out of range",
    0x0117: "invalid object instance",
    0x0118: "no such SOP class",
    0x0119: "class and instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "refused: SOP class not supported",
    0x0123: "no such action type",
    0x0124: "refused: not authorized",
    0x0210: "duplicate invocation",
    0x0211: "unrecognized operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xFE00: "cancelled",
    0xFF00: "pending",
    0xFF01: "pending, with optional keys not supported",
}


def status_words(status: int, field: int = 0) -> str:
    """A status as "0xA700 (refused: out of resources)".

    The words are those of PS3.7 annex C and PS3.4 sections B.2.3 and C.4, shortened.

    Args:
        status: what a response says.
        field: the request that it answers; some statuses mean one thing or another.
    """
    own = _STORED_WORDS if field & ~RESPONSE == C_STORE_RQ else _RETRIEVE_WORDS
    words = own.get(status) or _COMMON_WORDS.get(status) or _range_words(status)
    return f"0x{status:04X} ({words})"


def _range_words(status: int) -> str:
    if status & 0xFF00 == 0xA700:
        return "refused: out of resources"
    if status & 0xFF00 == 0xA900:
        return "the data set or identifier does not match the SOP class"
    if status & 0xF000 == 0xC000:
        return "cannot understand, or unable to process"
    return "warning" if is_warning(status) else "a status that no service knows"


def is_pending(status: int) -> bool:
    """More responses follow."""
    return status in (PENDING, 0xFF01)


def is_warning(status: int) -> bool:
    """It was done, though not quite as asked for (PS3.7 section C.3)."""
    return status & 0xF000 == 0xB000 or status in (0x0001, 0x0107, 0x0116)


def is_failure(status: int) -> bool:
    """It was not done."""
    return not (status == SUCCESS or is_pending(status) or is_warning(status))
