"""The few attributes of a DICOM file that name a scan, read from its head. Pure, and blocking.

Transports know nothing of DICOM's pixels; XNAT's catalogue wants number, modality and
description, and files of several series belong into several scans.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydicom.charset import python_encoding

from ..blob import read_at
from ..inflate import decompressobj, inflate_errors

if TYPE_CHECKING:
    from ..blob import Blob

__all__ = ["Described", "describe", "describe_all"]

_HEAD: Final = 1 << 16
_MOST: Final = 1 << 24
_PREFIX: Final = 128  # PS3.10 section 7.1
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEPTH: Final = 32
_LONG: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV"}) | frozenset(
    {b"UC", b"UN", b"UR", b"UT", b"UV"}
)  # PS3.5 section 7.1.2: their length has 32 bits
_SYNTAX: Final = 0x00020010
_CHARSET, _MODALITY, _DESCRIPTION = 0x00080005, 0x00080060, 0x0008103E
_UID, _NUMBER, _FRAMES = 0x0020000E, 0x00200011, 0x00280008
_WANTED: Final = frozenset({_CHARSET, _MODALITY, _DESCRIPTION, _UID, _NUMBER, _FRAMES})
_IMPLICIT: Final = "1.2.840.10008.1.2"
_BIG: Final = "1.2.840.10008.1.2.2"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"


@dataclass(frozen=True, slots=True)
class Described:
    """What the head of a DICOM file says of its series; "" and None for what it does not say."""

    uid: str
    number: int | None
    modality: str
    description: str
    frames: int


class _MoreNeeded(Exception):
    """The head ends before what is looked for."""


def describe(blob: Blob) -> Described | None:
    """What a file says of its series; None if it is no DICOM file that can be read.

    Raises:
        TransportError: its bytes cannot be read.
    """
    length = min(_HEAD, blob.size)
    while True:
        head = bytearray(length)
        del head[read_at(blob, memoryview(head)) :]
        if head[_PREFIX : _PREFIX + 4] != b"DICM":
            return None
        whole = length >= min(blob.size, _MOST)
        try:
            return _described(bytes(head), whole)
        except _MoreNeeded:
            if whole:
                return None
            length = min(length * 16, blob.size, _MOST)


def describe_all(blobs: Sequence[Blob]) -> list[Described | None]:
    """:func:`describe` for each of several blobs."""
    return [describe(blob) for blob in blobs]


def _described(head: bytes, whole: bool) -> Described:
    meta: dict[int, bytes] = {}
    start = _Walk(head, "<", True, meta, frozenset({_SYNTAX})).run(_PREFIX + 4, 0x0002FFFF)
    syntax = _ascii(meta.get(_SYNTAX, b""))
    if syntax == _DEFLATED:
        head, start = _inflated(head[start:]), 0
    found: dict[int, bytes] = {}
    order = ">" if syntax == _BIG else "<"
    try:
        _Walk(head, order, syntax != _IMPLICIT, found, _WANTED).run(start, _FRAMES)
    except _MoreNeeded:
        if not whole:
            raise
    return Described(
        _ascii(found.get(_UID, b"")),
        _number(found.get(_NUMBER, b"")),
        _ascii(found.get(_MODALITY, b"")),
        _text(found.get(_DESCRIPTION, b""), _ascii(found.get(_CHARSET, b""))),
        max(_number(found.get(_FRAMES, b"")) or 1, 1),
    )


def _inflated(packed: bytes) -> bytes:
    try:
        return decompressobj(-15).decompress(packed, _MOST)
    except inflate_errors():
        raise _MoreNeeded from None


class _Walk:
    """A walk over the elements of a data set (PS3.5 section 7.1) that keeps the wanted ones."""

    def __init__(
        self,
        data: bytes,
        order: str,
        explicit: bool,
        found: dict[int, bytes],
        wanted: frozenset[int],
    ) -> None:
        self._data = data
        self._tag = struct.Struct(order + "2H")
        self._short = struct.Struct(order + "H")
        self._long = struct.Struct(order + "L")
        self._explicit = explicit
        self._found = found
        self._wanted = wanted

    def run(self, at: int, last: int) -> int:
        """Walk from ``at`` to the first element behind the tag ``last``; where that is."""
        while at < len(self._data):
            tag, length, start = self._header(at)
            if tag > last:
                return at
            at = self._behind(start, length, 0)
            if tag in self._wanted and length != _UNDEFINED:
                self._found[tag] = self._data[start:at]
        raise _MoreNeeded

    def _header(self, at: int) -> tuple[int, int, int]:
        """(tag, length of the value, where the value begins)."""
        try:
            group, element = self._tag.unpack_from(self._data, at)
            tag = group << 16 | element
            if not self._explicit or group == 0xFFFE:
                return tag, self._long.unpack_from(self._data, at + 4)[0], at + 8
            if self._data[at + 4 : at + 6] in _LONG:
                return tag, self._long.unpack_from(self._data, at + 8)[0], at + 12
            return tag, self._short.unpack_from(self._data, at + 6)[0], at + 8
        except struct.error:
            raise _MoreNeeded from None

    def _behind(self, start: int, length: int, depth: int) -> int:
        """Where a value ends."""
        if length != _UNDEFINED:
            if start + length > len(self._data):
                raise _MoreNeeded
            return start + length
        if depth > _DEPTH:
            raise _MoreNeeded
        return self._to_end(start, _SEQUENCE_END, depth)

    def _to_end(self, at: int, end: int, depth: int) -> int:
        """Behind the delimiter of a sequence or an item of undefined length."""
        while True:
            tag, length, start = self._header(at)
            if tag == end:
                return start
            if tag == _ITEM and length == _UNDEFINED:
                at = self._to_end(start, _ITEM_END, depth + 1)
            else:
                at = self._behind(start, length, depth + 1)


def _ascii(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


def _number(value: bytes) -> int | None:
    text = _ascii(value).partition("\\")[0].strip()
    return int(text) if text.removeprefix("-").isdecimal() and len(text) <= 12 else None


def _text(value: bytes, charset: str) -> str:
    """Text in the character set that the file names; nothing where that is not known."""
    try:
        codec = python_encoding[charset.partition("\\")[0].strip() or "ISO_IR 6"]
        return value.decode(codec).strip(" \0")
    except (KeyError, LookupError, ValueError):
        return ""
