"""Flat lists of elements in Implicit VR Little Endian: command sets and identifiers; pure, no I/O.

They are read and written here without a dataset in between (PS3.5 section 7.1.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from struct import Struct
from typing import Final, TypeAlias

from ..errors import DicomError

__all__ = ["Elements", "decode_elements", "encode_elements"]

Elements: TypeAlias = "dict[int, bytes]"

_ELEMENT: Final = Struct("<HHI")
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM_END, _SEQUENCE_END = 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST: Final = 32


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
