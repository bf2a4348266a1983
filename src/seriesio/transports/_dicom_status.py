"""What a status of a DIMSE response means (PS3.7 annex C, PS3.4 annexes B and C); pure."""

from __future__ import annotations

from typing import Final

from ._dicom_dimse import C_STORE_RQ, PENDING, RESPONSE, SUCCESS

__all__ = ["is_failure", "is_pending", "is_warning", "status_words"]

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
