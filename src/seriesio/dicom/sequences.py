"""Sequences out of raw bytes: just enough to read functional groups without a Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import DicomError, TooLargeError
from .raw import EXPLICIT, IMPLICIT, LENGTH, LONG_VRS, MAX_DEPTH, UNDEFINED, is_vr
from .walk import ITEM, ITEM_END, SEQUENCE_END

if TYPE_CHECKING:
    from .raw import Syntax

__all__ = ["flat_items"]


def flat_items(value: memoryview, syntax: Syntax) -> list[dict[int, bytes]]:
    """The items of a sequence, each as {tag: value bytes} with nested items poured in.

    Nested sequences of several items contribute their first item; within an item, the
    outermost element of a tag wins. That is what functional groups need: each of their
    macros is a sequence of one item (PS3.3 section C.7.6.16.2). Private sequences contribute
    nothing: what vendors keep in them (Philips: whole classic headers) stands under public
    tags, and is not what the functional groups say.

    Raises:
        DicomError: lengths that do not hold together.
        TooLargeError: nested too deep.
    """
    reader = _Reader(value, syntax.implicit, syntax.little)
    items: list[dict[int, bytes]] = []
    position = 0
    while position < len(value):
        tag, length, offset = reader.bare(position)
        if tag == SEQUENCE_END:
            break
        if tag != ITEM:
            raise DicomError("a sequence holds something that is no item")
        found: dict[int, bytes] = {}
        position = reader.item(offset, length, found, 0)
        items.append(found)
    return items


def _public(tag: int) -> bool:
    return not tag >> 16 & 1


class _Element(NamedTuple):
    tag: int
    vr: bytes  # b"" where the element has none
    length: int
    offset: int  # of the value


class _Reader:
    """Reads nested elements of one encoding; another reader serves what is hidden in UN."""

    def __init__(self, value: memoryview, implicit: bool, little: bool) -> None:
        self.value = value
        self.implicit = implicit
        self.little = little

    def bare(self, position: int) -> tuple[int, int, int]:
        """(tag, length, offset of what follows) of an item, or of an element without VR."""
        if position + 8 > len(self.value):
            raise DicomError("a sequence ends in the middle of an element")
        group, element, length = IMPLICIT[self.little].unpack_from(self.value, position)
        return group << 16 | element, length, position + 8

    def element(self, position: int) -> _Element:
        tag, length, offset = self.bare(position)
        if self.implicit or tag >> 16 == 0xFFFE:
            return _Element(tag, b"", length, offset)
        _, _, vr, short = EXPLICIT[self.little].unpack_from(self.value, position)
        if vr not in LONG_VRS:
            if not is_vr(vr):  # as in the walk: implicit among explicit ones
                return _Element(tag, b"", length, offset)
            return _Element(tag, vr, short, offset)
        if offset + 4 > len(self.value):
            raise DicomError("a sequence ends in the middle of an element")
        return _Element(tag, vr, LENGTH[self.little].unpack_from(self.value, offset)[0], offset + 4)

    def item(self, position: int, length: int, found: dict[int, bytes], depth: int) -> int:
        """Pour an item's elements into ``found``; returns where the item ends."""
        if depth > MAX_DEPTH:
            raise TooLargeError(f"sequences nested more than {MAX_DEPTH} deep")
        end = self._end(position, length, "an item")
        nested: list[dict[int, bytes]] = []
        while position < end:
            element = self.element(position)
            if element.tag == ITEM_END:
                position = element.offset
                break
            position = self._pour(element, end, found, nested, depth)
        for inner in nested:
            for tag, value in inner.items():
                found.setdefault(tag, value)
        return position

    def _pour(
        self,
        element: _Element,
        end: int,
        found: dict[int, bytes],
        nested: list[dict[int, bytes]],
        depth: int,
    ) -> int:
        """Pour one element of an item, or what is nested in it; returns where it ends."""
        tag, vr, length, offset = element
        inner: dict[int, bytes] = {}
        if vr == b"SQ" or (length == UNDEFINED and vr in (b"UN", b"")):
            reader = self if vr == b"SQ" else _Reader(self.value, True, self.little or vr == b"UN")
            position = reader.sequence(offset, length, inner, depth + 1)
            nested += [inner] if _public(tag) else []
        elif length == UNDEFINED:
            position = self._fragments(offset)
        else:
            position = offset + length
            if position <= end and not vr and self._holds_items(offset, length, inner, depth):
                nested += [inner] if _public(tag) else []
            elif position <= end:
                found.setdefault(tag, bytes(self.value[offset:position]))
        if position > end:
            raise DicomError("an element reaches past the end of its item")
        return position

    def _holds_items(self, offset: int, length: int, found: dict[int, bytes], depth: int) -> bool:
        """Without a VR only the bytes can tell: a sequence, if they hold together as one."""
        if length < 8 or self.bare(offset)[0] != ITEM:
            return False
        try:
            return self.sequence(offset, length, found, depth + 1) == offset + length
        except DicomError:
            found.clear()
            return False

    def sequence(self, position: int, length: int, found: dict[int, bytes], depth: int) -> int:
        """Pour a nested sequence's first item into ``found``; returns where it ends."""
        end = self._end(position, length, "a sequence")
        first = True
        while position < end:
            tag, size, offset = self.bare(position)
            if tag == SEQUENCE_END:
                return offset
            if tag != ITEM:
                raise DicomError("a sequence holds something that is no item")
            position = self.item(offset, size, found if first else {}, depth)
            first = False
        return position

    def _fragments(self, position: int) -> int:
        """Step over encapsulated pixel data, of an icon say; returns where it ends."""
        while True:
            tag, length, offset = self.bare(position)
            if tag == SEQUENCE_END:
                return offset
            if tag != ITEM:
                raise DicomError("compressed pixels hold something that is no item")
            position = self._end(offset, length, "a fragment") if length != UNDEFINED else offset

    def _end(self, position: int, length: int, what: str) -> int:
        end = len(self.value) if length == UNDEFINED else position + length
        if end > len(self.value):
            raise DicomError(f"{what} reaches past the end of what holds it")
        return end
