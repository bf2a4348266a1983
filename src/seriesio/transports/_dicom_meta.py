"""What the first bytes of a Part 10 file say: which instance it is, and how it is encoded.

The file meta information (PS3.10 section 7.1) is Explicit VR Little Endian, whatever the dataset
behind it is; nothing of the dataset is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from ..blob import read_at
from ..errors import DicomError, TooLargeError, TruncatedError

if TYPE_CHECKING:
    from ..blob import Blob

__all__ = ["Meta", "parse_meta", "read_meta"]

_PREFIX: Final = 128  # bytes of the preamble
_START: Final = 132
_FIRST: Final = 1024  # bytes that nearly every file meta information ends in
_MOST: Final = 1 << 20
_UNDEFINED: Final = 0xFFFFFFFF
_SHORT: Final = Struct("<HH2sH")
_LONG: Final = Struct("<L")
# Value representations with a length of 4 bytes behind 2 reserved ones (PS3.5 table 7.1-1).
_LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_CLASS, _INSTANCE, _SYNTAX = 0x0002, 0x0003, 0x0010
_NAMES: Final = {
    _CLASS: "Media Storage SOP Class UID",
    _INSTANCE: "Media Storage SOP Instance UID",
    _SYNTAX: "Transfer Syntax UID",
}
# Digits and dots (PS3.5 section 9.1). Scanners put letters into some, and archives keep them: of
# UIDs that exist already no more is asked than that they can be told from other things.
_UID: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")

_At: TypeAlias = Callable[[int], memoryview]


@dataclass(frozen=True, slots=True)
class Meta:
    """Of one instance: its UIDs, its transfer syntax, and the byte at which its dataset begins."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    start: int


def read_meta(blob: Blob) -> Meta:
    """The file meta information of a blob. Blocking.

    Raises:
        DicomError: it is no Part 10 file, or its file meta information is damaged.
        TruncatedError: the file ends within it.
        TooLargeError: it is longer than 1 MiB.
        TransportError: it cannot be read.
    """
    head = memoryview(bytearray(min(_FIRST, blob.size)))
    head = head[: read_at(blob, head)]

    def up_to(end: int) -> memoryview:
        nonlocal head
        if end > len(head) and len(head) < blob.size and end <= _MOST:
            more = memoryview(bytearray(min(max(end, 4 * len(head)), blob.size)))
            head = more[: read_at(blob, more)]
        return head

    return _parse(up_to, blob.name)


def parse_meta(data: bytes | bytearray | memoryview, name: str = "file") -> Meta:
    """The file meta information that the bytes of a file, or its first ones, begin with.

    Raises:
        DicomError: it is no Part 10 file, or its file meta information is damaged.
        TruncatedError: the bytes end within it.
        TooLargeError: it is longer than 1 MiB.
    """
    view = memoryview(data).cast("B")
    return _parse(lambda _: view, name)


def _parse(up_to: _At, name: str) -> Meta:
    if bytes(up_to(_START)[_PREFIX:_START]) != b"DICM":
        raise DicomError(f"{name}: not a DICOM file")
    found: dict[int, str] = {}
    place = _START
    while bytes(up_to(place + 2)[place : place + 2]) == b"\2\0":
        element, start, place = _element(up_to, place, name)
        if element in _NAMES:
            found[element] = _uid(up_to(place)[start:place], element, name)
    if missing := [what for element, what in _NAMES.items() if element not in found]:
        raise DicomError(f"{name}: no {missing[0]} in the file meta information")
    return Meta(found[_CLASS], found[_INSTANCE], found[_SYNTAX], place)


def _element(up_to: _At, place: int, name: str) -> tuple[int, int, int]:
    """An element: its number, where its value begins, and where that ends."""
    _, element, vr, length = _SHORT.unpack_from(_need(up_to, place + 8, name), place)
    start = place + 8
    if vr in _LONG_VRS:
        start = place + 12
        (length,) = _LONG.unpack_from(_need(up_to, start, name), place + 8)
    elif not (vr.isalpha() and vr.isupper()):
        raise DicomError(f"{name}: an element without VR in the file meta information")
    if length == _UNDEFINED:
        raise DicomError(f"{name}: undefined length in the file meta information")
    _need(up_to, start + length, name)
    return element, start, start + length


def _need(up_to: _At, end: int, name: str) -> memoryview:
    """So many bytes of the file at least."""
    if end > _MOST:
        raise TooLargeError(f"{name}: file meta information longer than {_MOST} bytes")
    head = up_to(end)
    if len(head) < end:
        raise TruncatedError(f"{name}: ends within the file meta information")
    return head


def _uid(value: memoryview, element: int, name: str) -> str:
    text = bytes(value).strip(b"\0 ").decode("latin-1")
    if not _UID.fullmatch(text):
        raise DicomError(f"{name}: {_NAMES[element]} is no UID: {text[:64]!a}")
    return text
