"""A native dataset in another encoding: implicit or explicit VR, little endian.

Values are carried over byte for byte (swapped where they come from big endian); sequences and
items keep their kind of length, defined or undefined; group lengths say what is right again.
Sources: PS3.5 sections 6.2.2 (UN), 7.1, 7.2, 7.5 and 7.8.1, annex A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import pack
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from ..dicom.element_header import element_header
from ..dicom.part10 import UNDEFINED
from ..dicom.raw import EXPLICIT, IMPLICIT, LENGTH, LONG_VRS, MAX_DEPTH, Syntax, is_vr
from ..dicom.vr import creator_tag, dictionary_vr, private_vr
from ..dicom.walk import ITEM, ITEM_END, SEQUENCE_END
from ..errors import DicomError, TooLargeError, TruncatedError

__all__ = ["Element", "Piece", "Recoder", "joined"]

Piece: TypeAlias = "bytes | memoryview"

_MOST: Final = 1 << 22  # elements
_GROUP_LENGTH: Final = 12  # bytes of such an element, with a VR or without
_PIXEL_REPRESENTATION: Final = 0x00280103
# Bytes of a number, by VR: what big endian turns around.
_WIDTHS: Final = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OL", "OF"), 4),
    **dict.fromkeys(("FD", "OD", "SV", "UV", "OV"), 8),
}
_END_OF_SEQUENCE: Final = pack("<HHL", 0xFFFE, 0xE0DD, 0)
_END_OF_ITEM: Final = pack("<HHL", 0xFFFE, 0xE00D, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """An element as it is to be: its tag, its bytes in pieces, and how many these are."""

    tag: int
    pieces: list[Piece] = field(repr=False)
    size: int


class _Found(NamedTuple):
    """An element as it is: its VR is "" where it has none; where its value begins, its length."""

    tag: int
    vr: str
    start: int
    length: int


@dataclass(slots=True)
class _Level:
    """What elements of one dataset or item tell about those that follow them."""

    end: int
    depth: int
    signed: bool
    creators: dict[int, str] = field(default_factory=dict)


class Recoder:
    """From one native transfer syntax to implicit or explicit VR little endian.

    Args:
        source: as it is encoded; deflated ones are inflated already.
        implicit: as it is to be.
        name: of the file, for errors.
    """

    def __init__(self, source: Syntax, implicit: bool, name: str) -> None:
        self._source, self.implicit, self._name = source, implicit, name
        self._left = _MOST

    def elements(self, data: memoryview, signed: bool = False) -> list[Element]:
        """The top-level elements of (a part of) a dataset; zeros behind the last one are dropped.

        Raises:
            DicomError: lengths that do not hold together, something out of its place.
            TooLargeError: too many elements, nested too deep.
        """
        inner = _Reader(self, data, self._source.implicit, self._source.little)
        found, _ = inner.elements(0, _Level(data.nbytes, 0, signed))
        return found

    def header(self, tag: int, vr: str, length: int) -> bytes:
        """Tag, VR and length; an explicit VR that cannot say the length becomes UN."""
        if length > 0xFFFF and vr.encode() not in LONG_VRS:
            vr = "UN"
        return element_header(tag, vr, length, self.implicit, True)

    def element(self, tag: int, vr: str, value: Sequence[Piece]) -> Element:
        """An element of defined length."""
        size = sum(map(len, value))
        if size >= UNDEFINED:
            raise self.large(f"{size} bytes are more than an element can hold")
        head = self.header(tag, vr, size)
        return Element(tag, [head, *value], len(head) + size)

    def turned(self, value: memoryview, vr: str) -> Piece:
        """A value of the source in little endian.

        Raises:
            DicomError: it is no whole number of values.
        """
        width = 1 if self._source.little else _WIDTHS.get(vr, 1)
        if width == 1 or not value.nbytes:
            return value
        if value.nbytes % width:
            raise self.broken(f"{value.nbytes} bytes are no whole number of {vr} values")
        return np.frombuffer(value, f"u{width}").byteswap().tobytes()

    def count(self) -> None:
        """One element more.

        Raises:
            TooLargeError: there are too many.
        """
        self._left -= 1
        if self._left < 0:
            raise self.large(f"more than {_MOST} elements")

    def broken(self, what: str) -> DicomError:
        """An error that names the file."""
        return DicomError(f"{self._name}: {what}")

    def large(self, what: str) -> TooLargeError:
        """An error that names the file."""
        return TooLargeError(f"{self._name}: {what}")

    def short(self, what: str) -> TruncatedError:
        """An error that names the file."""
        return TruncatedError(f"{self._name}: {what} reaches past the end of what holds it")


def joined(elements: Sequence[Element], implicit: bool) -> list[Piece]:
    """The bytes of a dataset or item, in pieces; its group lengths (PS3.5 section 7.2) are set."""
    sizes: dict[int, int] = {}
    for one in elements:
        if one.tag & 0xFFFF:
            sizes[one.tag >> 16] = sizes.get(one.tag >> 16, 0) + one.size
    pieces: list[Piece] = []
    for one in elements:
        size = sizes.get(one.tag >> 16, 0)
        if one.tag & 0xFFFF or one.size != _GROUP_LENGTH:
            pieces += one.pieces
        elif size < UNDEFINED:  # one that cannot be said is left out: it is retired
            pieces.append(element_header(one.tag, "UL", 4, implicit, True) + pack("<L", size))
    return pieces


class _Reader:
    """Reads elements of one encoding; another one serves what is hidden in UN."""

    def __init__(self, to: Recoder, data: memoryview, implicit: bool, little: bool) -> None:
        self._to, self._data = to, data
        self._implicit, self._little = implicit, little

    # --- elements -------------------------------------------------------------------------

    def elements(self, position: int, level: _Level) -> tuple[list[Element], int]:
        """The elements up to the end of their level, and where that is."""
        found: list[Element] = []
        while position < level.end:
            if level.depth == 0 and self._padding(position):
                return found, level.end
            one = self._element(position, level)
            if one.tag == ITEM_END and level.depth:
                return found, one.start
            made, position = self._made(one, level)
            found.append(made)
        if position != level.end:
            raise self._to.short("an element")
        return found, position

    def _padding(self, position: int) -> bool:
        """True if nothing but zeros follow: no element begins with eight of them."""
        return not any(self._data[position : position + 8]) and not any(self._data[position:])

    def _bare(self, position: int) -> tuple[int, int, int]:
        """(tag, length, where the value begins) of what has no VR."""
        if position + 8 > len(self._data):
            raise self._to.short("an element")
        group, element, length = IMPLICIT[self._little].unpack_from(self._data, position)
        return group << 16 | element, length, position + 8

    def _element(self, position: int, level: _Level) -> _Found:
        self._to.count()
        tag, length, start = self._bare(position)
        vr = b""
        if not self._implicit and tag >> 16 != 0xFFFE:
            _, _, vr, short = EXPLICIT[self._little].unpack_from(self._data, position)
            if vr in LONG_VRS:
                length, start = self._long(position + 8), position + 12
            elif is_vr(vr):
                length = short
            else:
                vr = b""  # as in the walk: implicit among explicit ones
        if tag >> 16 == 0xFFFE and not (tag == ITEM_END and level.depth):
            raise self._to.broken("a delimiter in place of an element")
        if length != UNDEFINED and start + length > level.end:
            raise self._to.short("an element")
        return _Found(tag, vr.decode("latin-1"), start, length)

    def _long(self, position: int) -> int:
        if position + 4 > len(self._data):
            raise self._to.short("an element")
        return int(LENGTH[self._little].unpack_from(self._data, position)[0])

    def _made(self, one: _Found, level: _Level) -> tuple[Element, int]:
        """An element as it is to be, and where the next one begins."""
        vr = one.vr or self._known(one, level)
        if vr == "SQ" or one.length == UNDEFINED:
            return self._sequence(one, vr, level)
        end = one.start + one.length
        value = self._data[one.start : end]
        self._learn(one.tag, value, level)
        turned = value if self._little else self._to.turned(value, vr)
        return self._to.element(one.tag, vr, [turned]), end

    def _known(self, one: _Found, level: _Level) -> str:
        """The VR of an element that came without: the dictionaries', or UN."""
        creator = level.creators.get(creator_tag(one.tag), "")
        vr = dictionary_vr(one.tag) or private_vr(one.tag, creator)
        if vr == "SQ" and not self._holds_items(one):
            return "UN"
        if " or " not in vr:
            return vr or "UN"
        return ("SS" if level.signed else "US") if vr == "US or SS" else "OW"

    def _holds_items(self, one: _Found) -> bool:
        return one.length == 0 or self._bare(one.start)[0] in (ITEM, SEQUENCE_END)

    def _learn(self, tag: int, value: memoryview, level: _Level) -> None:
        if tag == _PIXEL_REPRESENTATION:
            level.signed = any(value)
        elif tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            level.creators[tag] = bytes(value[:64]).decode("latin-1").strip(" \0")

    # --- sequences ------------------------------------------------------------------------

    def _sequence(self, one: _Found, vr: str, level: _Level) -> tuple[Element, int]:
        """A sequence; one of undefined length in UN is implicit little endian inside."""
        if vr not in ("SQ", "UN"):
            raise self._to.broken(f"undefined length of a {vr} element")
        if level.depth >= MAX_DEPTH:
            raise self._to.large(f"sequences nested more than {MAX_DEPTH} deep")
        hidden = one.vr != "SQ"
        little = self._little or one.vr == "UN"
        reader = _Reader(self._to, self._data, True, little) if hidden else self
        defined = one.length != UNDEFINED
        end = one.start + one.length if defined else level.end
        pieces, position = reader._items(one.start, end, defined, level)
        made = self._to.element(one.tag, "SQ", pieces)
        if not defined:
            head = self._to.header(one.tag, "SQ", UNDEFINED)
            made = _closed(one.tag, head, pieces, _END_OF_SEQUENCE)
        return made, position

    def _items(
        self, position: int, end: int, defined: bool, level: _Level
    ) -> tuple[list[Piece], int]:
        """The items of a sequence in pieces, and where the sequence ends."""
        pieces: list[Piece] = []
        while position < end:
            self._to.count()
            tag, length, start = self._bare(position)
            if tag == SEQUENCE_END:
                if defined:
                    raise self._to.broken("a delimiter in a sequence of defined length")
                return pieces, start
            if tag != ITEM:
                raise self._to.broken("a sequence holds something that is no item")
            made, position = self._item(start, length, end, level)
            pieces += made
        if position != end or not defined:
            raise self._to.short("a sequence")
        return pieces, position

    def _item(self, start: int, length: int, limit: int, level: _Level) -> tuple[list[Piece], int]:
        """An item in pieces, and where it ends."""
        defined = length != UNDEFINED
        end = start + length if defined else limit
        if end > limit:
            raise self._to.short("an item")
        found, position = self.elements(start, _Level(end, level.depth + 1, level.signed))
        pieces = joined(found, self._to.implicit)
        size = sum(map(len, pieces))
        if not defined:
            return [pack("<HHL", 0xFFFE, 0xE000, UNDEFINED), *pieces, _END_OF_ITEM], position
        if position != end or size >= UNDEFINED:
            raise self._to.broken("an item that ends before its length")
        return [pack("<HHL", 0xFFFE, 0xE000, size), *pieces], position


def _closed(tag: int, head: bytes, pieces: list[Piece], end: bytes) -> Element:
    """A sequence of undefined length."""
    every = [head, *pieces, end]
    return Element(tag, every, sum(map(len, every)))
