"""Encapsulated pixel data: items, offset tables, and which fragments make which frame.

Sources: PS3.5 annex A.4, PS3.3 C.7.6.3.1.8 (Extended Offset Table).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import DicomError, TruncatedError
from .pixels import PixelLayout

__all__ = ["Items", "fragments", "scan_items"]

_ITEM = 0xE000FFFE
_DELIMITER = 0xE0DDFFFE
_UNDEFINED = 0xFFFFFFFF
_HEADER = struct.Struct("<II")
_RLE = "1.2.840.10008.1.2.5"
# SOI; SOC with SIZ; the JP2 signature box.
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """The items of an encapsulated value.

    ``table`` holds the bytes of the Basic Offset Table (the first item); ``starts`` where each
    fragment's item begins, counted from the first fragment's item; ``parts`` their bytes;
    ``end`` the offset in the value behind the Sequence Delimitation Item.
    """

    table: memoryview
    starts: tuple[int, ...]
    parts: tuple[memoryview, ...]
    end: int


def scan_items(value: bytes | bytearray | memoryview) -> Items:
    """Walk the items of an encapsulated value up to its Sequence Delimitation Item.

    ``value`` begins with the first item; bytes behind the delimiter are left alone.

    Raises:
        TruncatedError: an item, or the delimiter, is missing or cut short.
        DicomError: something else than an item stands where one has to be.
    """
    view = memoryview(value).cast("B").toreadonly()
    places: list[int] = []
    parts: list[memoryview] = []
    position = 0
    while (length := _item_length(view, position)) is not None:
        start = position + _HEADER.size
        places.append(position)
        parts.append(view[start : start + length])
        position = start + length
    if not parts:
        raise DicomError("encapsulated pixel data have no Basic Offset Table item")
    starts = tuple(place - places[1] for place in places[1:])
    return Items(parts[0], starts, tuple(parts[1:]), position + _HEADER.size)


def _item_length(view: memoryview, position: int) -> int | None:
    if position + _HEADER.size > view.nbytes:
        raise TruncatedError("encapsulated pixel data end without Sequence Delimitation Item")
    tag, length = _HEADER.unpack_from(view, position)
    if tag == _DELIMITER:
        return None
    if tag != _ITEM:
        raise DicomError(f"no item tag at byte {position} of the encapsulated pixel data")
    if length == _UNDEFINED:
        raise DicomError(f"the item at byte {position} of the pixel data has undefined length")
    missing = position + _HEADER.size + length - view.nbytes
    if missing > 0:
        raise TruncatedError(
            f"the fragment at byte {position} of the pixel data ends {missing} bytes short"
        )
    return int(length)


def fragments(
    value: bytes | bytearray | memoryview,
    layout: PixelLayout,
    extended_offsets: bytes | bytearray | memoryview | None = None,
    extended_lengths: bytes | bytearray | memoryview | None = None,
) -> list[list[memoryview]]:
    """The fragments of each frame: ``layout.frames`` lists of at least one view on ``value``.

    ``extended_offsets`` and ``extended_lengths`` are the raw values of Extended Offset Table
    (7FE0,0001) and Extended Offset Table Lengths (7FE0,0002). Without any table, fragments are
    frames, or are told apart by the markers that begin or end a JPEG or JPEG 2000 codestream.

    Raises:
        TruncatedError: fewer fragments than frames, or an item cut short.
        DicomError: tables or markers that do not fit the fragments.
    """
    items = scan_items(value)
    if len(items.parts) < layout.frames:
        raise TruncatedError(
            f"{layout.frames} frames are announced, but there are {len(items.parts)} fragments"
        )
    if extended_offsets is not None and len(extended_offsets):
        return _by_extended_table(items, layout.frames, extended_offsets, extended_lengths)
    if items.table.nbytes:
        return _group(items, _basic_offsets(items, layout.frames))
    return _group(items, _without_table(items, layout))


def _numbers(raw: bytes | bytearray | memoryview, code: str, frames: int, name: str) -> list[int]:
    data = memoryview(raw).cast("B")
    if data.nbytes != frames * struct.calcsize("<" + code):
        raise DicomError(f"the {name} has {data.nbytes} bytes, not one entry for {frames} frames")
    return [number for (number,) in struct.iter_unpack("<" + code, data)]


def _basic_offsets(items: Items, frames: int) -> list[int]:
    name = "Basic Offset Table"
    return _places(items, _numbers(items.table, "I", frames, name), name)


def _places(items: Items, offsets: list[int], name: str) -> list[int]:
    """Which fragment each offset points to."""
    lookup = {start: place for place, start in enumerate(items.starts)}
    try:
        places = [lookup[offset] for offset in offsets]
    except KeyError as error:
        raise DicomError(
            f"the {name} points to {error.args[0]}, where no fragment begins"
        ) from None
    if places[0] != 0 or any(b <= a for a, b in pairwise(places)):
        raise DicomError(f"the offsets of the {name} do not ascend from 0")
    return places


def _by_extended_table(
    items: Items,
    frames: int,
    raw_offsets: bytes | bytearray | memoryview,
    raw_lengths: bytes | bytearray | memoryview | None,
) -> list[list[memoryview]]:
    name = "Extended Offset Table"
    places = _places(items, _numbers(raw_offsets, "Q", frames, name), name)
    if raw_lengths is None or len(items.parts) != frames:
        raise DicomError(f"an {name} needs its lengths, and exactly one fragment for each frame")
    lengths = _numbers(raw_lengths, "Q", frames, f"{name} Lengths")
    return [[_cut(items.parts[p], length)] for p, length in zip(places, lengths, strict=True)]


def _cut(part: memoryview, length: int) -> memoryview:
    if not 0 < length <= part.nbytes:
        raise DicomError(
            f"Extended Offset Table Lengths says {length} of a fragment of {part.nbytes} bytes"
        )
    return part[:length]


def _without_table(items: Items, layout: PixelLayout) -> list[int]:
    count = len(items.parts)
    if layout.frames == 1:
        return [0]
    if count == layout.frames:
        return list(range(count))
    if layout.syntax_uid != _RLE:  # there, a fragment is a frame
        for found in (_begun(items.parts), _ended(items.parts)):
            if len(found) == layout.frames and found[0] == 0:
                return found
    raise DicomError(
        f"{count} fragments without offset table cannot be told apart as {layout.frames} frames"
    )


def _begun(parts: Sequence[memoryview]) -> list[int]:
    """Fragments that begin with the first marker of a codestream."""
    return [i for i, part in enumerate(parts) if bytes(part[:12]).startswith(_STARTS)]


def _ended(parts: Sequence[memoryview]) -> list[int]:
    """Fragments that follow one which ends with the last marker of a codestream."""
    closed = [_END in bytes(part[-4:]) for part in parts]
    return [0, *(i for i in range(1, len(parts)) if closed[i - 1])]


def _group(items: Items, places: list[int]) -> list[list[memoryview]]:
    stops = [*places[1:], len(items.parts)]
    return [list(items.parts[a:b]) for a, b in zip(places, stops, strict=True)]
