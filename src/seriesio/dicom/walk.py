"""The walk over element headers: from one to the next, values left alone.

It visits the headers of the top-level elements (PS3.5 section 7.1) up to the pixel data and
steps over their values. It descends only where it must: into sequences and items of undefined
length (PS3.5 section 7.5), whose end is not known otherwise.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ..errors import DicomError, TooLargeError, TruncatedError
from .raw import (
    EXPLICIT,
    IMPLICIT,
    LENGTH,
    LONG_VRS,
    MAX_DEPTH,
    MAX_HEADER,
    PIXEL_TAGS,
    UNDEFINED,
    VR_NAMES,
    Kind,
    Layout,
    MoreNeeded,
    RawHeader,
    Syntax,
    Tokens,
    is_vr,
)

__all__ = ["ITEM", "ITEM_END", "SEQUENCE_END", "Walk"]

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_TOKENS: Final = 1 << 22


class _Level(NamedTuple):
    """Where the walk is in nested sequences: among a sequence's items, or in one of them."""

    among_items: bool
    implicit: bool
    little: bool


class Walk:
    """One walk over the first bytes (``data``) of a file of ``size`` bytes.

    Every method that walks raises :class:`MoreNeeded` where the bytes at hand end,
    ``TruncatedError`` where the file does, ``TooLargeError`` beyond the limits, and
    ``DicomError`` for what has no place where it stands.
    """

    def __init__(self, data: memoryview, size: int, name: str) -> None:
        self.data = data
        self.have = data.nbytes
        self.size = size
        self.name = name
        # One entry for each element header visited.
        self.starts: list[int] = []
        self.kinds: list[int] = []
        self.values: list[int] = []
        self.rigid: list[int] = []  # tokens whose length, if different, would mean something else
        # One entry for each top-level element.
        self.top: list[int] = []
        self.after: list[int] = []
        self.tags: list[int] = []
        self.vrs: list[str] = []
        self.offsets: list[int] = []
        self.lengths: list[int] = []

    def short(self, position: int) -> Exception:
        """What to raise when ``position`` lies behind the bytes at hand."""
        if position > self.size:
            return TruncatedError(
                f"{self.name}: {position - self.size} bytes short: an element ends at byte "
                f"{position}, the file at {self.size}"
            )
        if position > MAX_HEADER:
            return TooLargeError(f"{self.name}: header longer than {MAX_HEADER} bytes")
        return MoreNeeded(position)

    def need(self, position: int) -> None:
        if position > self.have:
            raise self.short(position)

    def _token(self, start: int, kind: int, length: int) -> None:
        if len(self.starts) >= _MAX_TOKENS:
            raise TooLargeError(f"{self.name}: more than {_MAX_TOKENS} elements")
        self.starts.append(start)
        self.kinds.append(kind)
        self.values.append(length)

    # --- file meta information --------------------------------------------------------------

    def meta(self, position: int) -> int:
        """Walk the file meta information (PS3.10 section 7.1); returns where it ends."""
        while position != self.size:
            self.need(position + 2)
            if bytes(self.data[position : position + 2]) != b"\2\0":
                break
            self.need(position + 8)
            position = self._meta_element(position)
        return position

    def _meta_element(self, start: int) -> int:
        group, element, vr, length = EXPLICIT[True].unpack_from(self.data, start)
        offset, kind = start + 8, Kind.SHORT
        if vr in LONG_VRS:
            self.need(start + 12)
            (length,) = LENGTH[True].unpack_from(self.data, start + 8)
            offset, kind = start + 12, Kind.LONG
        elif not is_vr(vr):  # against the rules, but some writers leave the VR out here too
            (length,) = LENGTH[True].unpack_from(self.data, start + 4)
            vr, kind = b"", Kind.BARE
            self.rigid.append(len(self.starts))
        if length == UNDEFINED:
            raise DicomError(f"{self.name}: undefined length in the file meta information")
        self.need(offset + length)
        self.top.append(len(self.starts))
        self._token(start, kind, length)
        self.after.append(len(self.starts))
        self.tags.append(group << 16 | element)
        self.vrs.append(vr.decode("latin-1"))
        self.offsets.append(offset)
        self.lengths.append(length)
        return offset + int(length)

    # --- dataset ----------------------------------------------------------------------------

    def dataset(self, position: int, syntax: Syntax) -> None:
        """Walk the top-level elements up to the pixel data or the end of the file."""
        # The hottest loop of the plain walk: no calls, no attributes for the usual element.
        little, implicit = syntax.little, syntax.implicit
        explicit_unpack = EXPLICIT[little].unpack_from
        implicit_unpack = IMPLICIT[little].unpack_from
        length_unpack = LENGTH[little].unpack_from
        data, have, size = self.data, self.have, self.size
        starts, kinds, values = self.starts, self.kinds, self.values
        top, after = self.top, self.after
        tags, vrs, offsets, lengths = self.tags, self.vrs, self.offsets, self.lengths
        long, pixels, names = LONG_VRS, PIXEL_TAGS, VR_NAMES
        if implicit:
            # A length that spells a VR is taken for one, in the first element.
            self.rigid.append(len(starts))
        while position != size:
            if position + 8 > have:
                if size - position < 8 and not any(data[position:size]):
                    return  # padding with zeros behind the last element
                raise self.short(position + 8)
            if implicit:
                group, element, length = implicit_unpack(data, position)
                vr, offset, kind = b"", position + 8, 2
            else:
                group, element, vr, length = explicit_unpack(data, position)
                if vr in long:
                    if position + 12 > have:
                        raise self.short(position + 12)
                    (length,) = length_unpack(data, position + 8)
                    offset, kind = position + 12, 1
                elif vr in names or (vr.isalpha() and vr.isupper()):
                    offset, kind = position + 8, 0
                else:
                    # An implicit element inside an explicit dataset: some writers do that.
                    group, element, length = implicit_unpack(data, position)
                    vr, offset, kind = b"", position + 8, 2
                    self.rigid.append(len(starts))
            tag = group << 16 | element
            if (tag == 0 and length == 0) or group == 0xFFFE or len(starts) >= _MAX_TOKENS:
                self._stop(position, tag)
                return
            if not tag:
                self.rigid.append(len(starts))  # with no length it would be padding
            top.append(len(starts))
            starts.append(position)
            kinds.append(kind)
            values.append(length)
            tags.append(tag)
            vrs.append(names.get(vr) or vr.decode("latin-1"))
            offsets.append(offset)
            if tag in pixels:
                lengths.append(-1 if length == UNDEFINED else length)
                after.append(len(starts))
                return
            if length == UNDEFINED and kind:
                position = self._undefined(offset, vr, syntax)
            else:
                position = offset + length
                if position > have:
                    raise self.short(position)
            lengths.append(position - offset)
            after.append(len(starts))

    def _stop(self, position: int, tag: int) -> None:
        """End the walk where no element can be: quietly if nothing but zeros follow."""
        if tag == 0 and not bytes(self.data[position:]).strip(b"\0"):
            return
        if len(self.starts) >= _MAX_TOKENS:
            raise TooLargeError(f"{self.name}: more than {_MAX_TOKENS} elements")
        what = "zeros in place of an element" if tag == 0 else "a delimiter outside a sequence"
        raise DicomError(f"{self.name}: {what} at byte {position}")

    def _undefined(self, offset: int, vr: bytes, syntax: Syntax) -> int:
        """Walk a top-level value of undefined length; returns where it ends."""
        if vr not in (b"SQ", b"UN", b""):
            raise DicomError(
                f"{self.name}: undefined length of a {vr.decode('latin-1')} element before "
                f"byte {offset}"
            )
        # PS3.5 section 6.2.2 note 4: UN of undefined length holds implicit little endian.
        unknown = vr == b"UN"
        implicit = syntax.implicit or vr != b"SQ"
        return self._sequence(offset, _Level(True, implicit, syntax.little or unknown))

    # --- sequences of undefined length ------------------------------------------------------

    def _sequence(self, position: int, level: _Level) -> int:
        """Walk a sequence from behind its header; returns where it ends."""
        levels = [level]
        while levels:
            self.need(position + 8)
            among_items, implicit, little = levels[-1]
            group, element, length = IMPLICIT[little].unpack_from(self.data, position)
            if among_items or group == 0xFFFE:
                position = self._item(position, group << 16 | element, length, levels)
            else:
                position = self._nested(position, length, implicit, little, levels)
            if len(levels) > 2 * MAX_DEPTH:
                raise TooLargeError(f"{self.name}: sequences nested more than {MAX_DEPTH} deep")
            self.need(position)
        return position

    def _item(self, position: int, tag: int, length: int, levels: list[_Level]) -> int:
        """Step over the header of an item, or over a delimiter."""
        among_items, implicit, little = levels[-1]
        if tag == ITEM and among_items:
            self._token(position, Kind.BARE, length)
            if length != UNDEFINED:
                return position + 8 + length
            levels.append(_Level(False, implicit, little))
            return position + 8
        if tag != (SEQUENCE_END if among_items else ITEM_END):
            raise DicomError(
                f"{self.name}: ({tag >> 16:04X},{tag & 0xFFFF:04X}) at byte {position} has no "
                "place in a sequence"
            )
        self.rigid.append(len(self.starts))
        self._token(position, Kind.BARE, length)
        levels.pop()
        return position + 8

    def _nested(
        self, position: int, length: int, implicit: bool, little: bool, levels: list[_Level]
    ) -> int:
        """Step over an element of an item, or into it if its length is undefined."""
        vr, kind, offset = b"", Kind.BARE, position + 8
        if not implicit:
            _, _, vr, short = EXPLICIT[little].unpack_from(self.data, position)
            if vr in LONG_VRS:
                self.need(position + 12)
                (length,) = LENGTH[little].unpack_from(self.data, position + 8)
                kind, offset = Kind.LONG, position + 12
            elif is_vr(vr):
                length, kind = short, Kind.SHORT
            else:
                vr = b""
                self.rigid.append(len(self.starts))
        self._token(position, kind, length)
        if length != UNDEFINED:
            return offset + length
        levels.append(_Level(True, implicit or vr != b"SQ", little or vr == b"UN"))
        return offset

    # --- results ----------------------------------------------------------------------------

    def tokens(self) -> Tokens:
        lengths = np.array(self.values, np.int64)
        fixed = lengths == UNDEFINED
        fixed[np.array(self.rigid, np.intp)] = True
        return Tokens(
            np.array(self.starts, np.int64),
            np.array(self.kinds, np.uint8),
            lengths,
            fixed,
            np.array(self.top, np.int64),
            np.array(self.after, np.int64),
        )

    def header(self, syntax: Syntax, meta_end: int) -> RawHeader:
        pixels = bool(self.tags) and self.tags[-1] in PIXEL_TAGS
        end = self.offsets[-1] if pixels else self.have
        tags = tuple(self.tags)
        lookup = {tag: place for place, tag in enumerate(tags)}
        return RawHeader(
            self.data[:end],
            Layout(tags, tuple(self.vrs), lookup),
            np.array(self.starts, np.int64)[np.array(self.top, np.intp)],
            np.array(self.offsets, np.int64),
            np.array(self.lengths, np.int64),
            syntax,
            meta_end,
        )
