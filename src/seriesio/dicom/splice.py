"""A header's bytes with a few elements changed, all others byte for byte.

The result is a list of pieces: slices of the original header and the newly encoded elements,
ready for a gathering write; nothing that stays is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from struct import pack
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ..errors import EncodeError
from .element_header import element_header
from .part10 import PIXEL_TAGS, UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .part10 import Layout, RawHeader

__all__ = ["Change", "Piece", "encoded", "splice"]

Change: TypeAlias = tuple[str, Any] | None
Piece: TypeAlias = bytes | memoryview

_WITH_TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "SQ", "ST", "UC", "UT"})
_CHARACTER_SET = 0x00080005
# File meta elements that repeat an element of the dataset (PS3.10 section 7.1).
_REPEATED: Final = {0x00080016: 0x00020002, 0x00080018: 0x00020003}
_PIXEL_TAG: Final = {"OF": 0x7FE00008, "OD": 0x7FE00009}
_PIXEL_GROUP = 0x7FE0


class _Edit(NamedTuple):
    """Bytes ``start`` to ``end`` of the header give way to ``data``; a group's length changes."""

    start: int
    end: int
    data: bytes
    group: int

    @property
    def growth(self) -> int:
        return len(self.data) - (self.end - self.start)


def splice(
    raw: RawHeader, changes: Mapping[int, Change], pixel: tuple[str, int] | None = None
) -> list[Piece]:
    """The header up to the first byte of the pixel value, with changes, in pieces.

    ``changes`` maps a top-level tag to (VR, value as pydicom holds it), or to None to leave the
    element out. Changed elements are encoded in the instance's transfer syntax and character
    set and stand in ascending order; lengths of their groups and the UIDs in the file meta
    information follow. Changes in group 2 are for writers that change the transfer syntax; what
    has no file meta information gets none. ``pixel`` gives the pixel element a new VR and
    length (in bytes; -1 for encapsulated pixels). Without changes the result is the original.

    Raises:
        HeaderError: a value does not fit its element.
        EncodeError: more pixels than an element can hold.
    """
    if not changes and pixel is None:
        return [raw.data]
    edits = [edit for tag in sorted(changes) for edit in _edits(raw, tag, changes)]
    edits += _meta_edits(raw, changes)
    edits += _pixel_edit(raw, pixel)
    edits += _length_edits(raw, edits, pixel)
    # Stable: at one place new elements keep their order and come before the one replaced there.
    edits.sort(key=lambda edit: (edit.start, edit.end))
    return _pieces(raw.data, edits)


def _pieces(data: memoryview, edits: Sequence[_Edit]) -> list[Piece]:
    pieces: list[Piece] = []
    fresh: list[bytes] = []
    position = 0
    for edit in edits:
        if edit.start > position:
            pieces += [b"".join(fresh)] if fresh else []
            pieces.append(data[position : edit.start])
            fresh = []
        fresh.append(edit.data)
        position = max(position, edit.end)
    pieces.append(b"".join(fresh))
    if position < data.nbytes:
        pieces.append(data[position:])
    return [piece for piece in pieces if len(piece)]


# --- edits ------------------------------------------------------------------------------------


def _edits(raw: RawHeader, tag: int, changes: Mapping[int, Change]) -> list[_Edit]:
    """One element's edits: in place of it, or where it belongs; doubles of it go."""
    if tag >> 16 == 2 and not _members(raw.layout, 2):
        return []
    data = encoded(raw, tag, changes)
    if tag not in raw.layout.lookup:
        start = _gap(raw, tag)
        return [_Edit(start, start, data, tag >> 16)] if data else []
    places = _places(raw.layout, tag)
    first = _replaced(raw, places[0], data)
    return [first, *(_replaced(raw, place, b"") for place in places[1:])]


def _replaced(raw: RawHeader, place: int, data: bytes) -> _Edit:
    end = int(raw.offsets[place]) + int(raw.lengths[place])
    return _Edit(int(raw.starts[place]), end, data, raw.layout.tags[place] >> 16)


def _gap(raw: RawHeader, tag: int) -> int:
    """Where a new element belongs: before the first one with a greater tag."""
    place = _follower(raw.layout, tag)
    if place < len(raw.layout.tags):
        return int(raw.starts[place])
    return int(raw.offsets[-1]) + int(raw.lengths[-1]) if place else raw.data.nbytes


# Instances of a series share a few layouts.


@lru_cache(maxsize=1024)
def _places(layout: Layout, tag: int) -> tuple[int, ...]:
    """Where a tag stands; more than once only in files that break the rules."""
    return tuple(place for place, other in enumerate(layout.tags) if other == tag)


@lru_cache(maxsize=1024)
def _members(layout: Layout, group: int) -> tuple[int, ...]:
    """Where the elements of a group stand, its length left out."""
    return tuple(n for n, tag in enumerate(layout.tags) if tag >> 16 == group and tag & 0xFFFF)


@lru_cache(maxsize=1024)
def _follower(layout: Layout, tag: int) -> int:
    """The first element with a greater tag; file meta information is apart from the dataset."""
    same_part = (
        n
        for n, other in enumerate(layout.tags)
        if other > tag and (other >> 16 != 2 or tag >> 16 == 2)
    )
    return next(same_part, len(layout.tags))


def _meta_edits(raw: RawHeader, changes: Mapping[int, Change]) -> list[_Edit]:
    """The file meta information repeats the SOP UIDs."""
    repeated = {
        meta: changes[tag]
        for tag, meta in _REPEATED.items()
        if changes.get(tag) is not None and meta not in changes
    }
    return [edit for tag in sorted(repeated) for edit in _edits(raw, tag, repeated)]


def _pixel_edit(raw: RawHeader, pixel: tuple[str, int] | None) -> list[_Edit]:
    if pixel is None:
        return []
    vr, length = pixel
    if length >= UNDEFINED:
        raise EncodeError(f"{length} bytes of pixels are more than one instance can hold")
    header = _header(raw, _PIXEL_TAG.get(vr, 0x7FE00010), vr, UNDEFINED if length < 0 else length)
    start = int(raw.starts[-1]) if raw.has_pixels else raw.data.nbytes
    return [_Edit(start, raw.data.nbytes, header, _PIXEL_GROUP)]


def _length_edits(
    raw: RawHeader, edits: Sequence[_Edit], pixel: tuple[str, int] | None
) -> list[_Edit]:
    """Group lengths (PS3.5 section 7.2) of the groups that were touched."""
    pixels = raw.pixel_length if pixel is None and raw.has_pixels else pixel[1] if pixel else 0
    found = []
    for group in sorted({edit.group for edit in edits}):
        place = raw.layout.lookup.get(group << 16)
        if place is None:
            continue
        growth = sum(edit.growth for edit in edits if edit.group == group)
        length = _group_size(raw, group) + growth + (pixels if group == _PIXEL_GROUP else 0)
        # Undefined or beyond 32 bits it cannot be said, and then the pixels' group has none.
        said = (group != _PIXEL_GROUP or pixels >= 0) and length < UNDEFINED
        found.append(_replaced(raw, place, _group_length(raw, group, length) if said else b""))
    return found


def _group_size(raw: RawHeader, group: int) -> int:
    """Bytes of a group's elements behind its length, before the edits; no pixel value."""
    size = 0
    for place in _members(raw.layout, group):
        size += int(raw.offsets[place]) - int(raw.starts[place])
        size += 0 if raw.layout.tags[place] in PIXEL_TAGS else int(raw.lengths[place])
    return size


# --- encoding ---------------------------------------------------------------------------------


def encoded(raw: RawHeader, tag: int, changes: Mapping[int, Change]) -> bytes:
    """The bytes of a changed element; none where it goes.

    Raises:
        HeaderError: a value does not fit its element.
    """
    change = changes[tag]
    if change is None:
        return b""
    vr, value = change
    encode, codecs_for = _encoders()
    implicit, little = _syntax(raw, tag >> 16)
    codecs = codecs_for(raw, changes.get(_CHARACTER_SET)) if vr in _WITH_TEXT else ()
    data = encode(tag, vr, value, implicit, little, codecs)
    return _header(raw, tag, vr, len(data)) + data


@cache
def _encoders() -> tuple[Callable[..., bytes], Callable[..., tuple[str, ...]]]:
    """Imported late: writing an unchanged series needs no pydicom."""
    from .value_bytes import encode
    from .values import changed_codecs

    return encode, changed_codecs


def _syntax(raw: RawHeader, group: int) -> tuple[bool, bool]:
    """(implicit, little): file meta information is always explicit little endian."""
    return (False, True) if group == 2 else (raw.syntax.implicit, raw.syntax.little)


def _header(raw: RawHeader, tag: int, vr: str, length: int) -> bytes:
    return element_header(tag, vr, length, *_syntax(raw, tag >> 16))


def _group_length(raw: RawHeader, group: int, length: int) -> bytes:
    order = "<" if _syntax(raw, group)[1] else ">"
    return _header(raw, group << 16, "UL", 4) + pack(f"{order}L", length)
