"""DIMSE messages: the command sets that we send and receive (PS3.7 section 6.3); pure, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final

from ..errors import DicomError
from ._dicom_elements import Elements, decode_elements, encode_elements

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
    "cancel_request",
    "decode_command",
    "echo_request",
    "echo_response",
    "find_request",
    "get_request",
    "move_request",
    "store_request",
    "store_response",
]

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
