"""What enhanced objects say of their own dimensions, by index (PS3.3 section C.7.6.17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .criteria import Criterion, Reader, Values
from .keywords import camel_case, keyword_for
from .part10 import PIXEL_TAGS
from .sequences import flat_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .frames import Frames, FrameTable
    from .part10 import RawHeader

__all__ = ["dimensions"]

_SEQUENCE, _POINTER = 0x00209222, 0x00209165
_MOST: Final = 32  # dimensions of one object
# Stack ID, In-Stack Position Number, Image Position and Orientation (Patient), and what counts
# frames and slices: they say where, which the positions say better.
_SPATIAL: Final = frozenset(
    {0x00209056, 0x00209057, 0x00200032, 0x00200037, 0x00201041, 0x00200013, 0x00280008}
)
# Temporal Position Index and Identifier, Frame Acquisition and Reference DateTime.
_TIMES: Final = frozenset({0x00209128, 0x00200100, 0x00189074, 0x00189151})


def dimensions(frames: FrameTable) -> Iterator[Criterion]:
    """The dimensions of enhanced objects that vary and are none of space, as criteria.

    Their values are the indices that Dimension Index Values (0020,9157) give the frames; so they
    are called by the keyword (``effectiveEchoTime``), not as what has a unit (``te``).
    """
    tags = _pointers(frames)
    for place, tag in enumerate(tags):
        if tag in _SPATIAL or tag >> 16 in (0, 0xFFFE) or tag in PIXEL_TAGS:
            continue
        name = "time" if tag in _TIMES else camel_case(keyword_for(tag))
        keyword = f"Dimension Index of {keyword_for(tag)}"
        yield Criterion(name, "", ((keyword, _index(place, len(tags))),))


def _index(place: int, count: int) -> Reader:
    def read(frames: Frames) -> Values:
        return np.asarray(frames.numbers("DimensionIndexValues", count)[:, place])

    return read


def _pointers(frames: FrameTable) -> tuple[int, ...]:
    """The attributes that the dimensions stand for; () unless all instances have the same."""
    if not frames.grouped:
        return ()
    values = frames.instances.column_at(_SEQUENCE, "SQ").values
    if len(values) != 1 or not values[0]:
        return ()
    header = frames.header(int(frames.instance[0]))
    found = tuple(_pointer(item, header) for item in _items(values[0], header))
    return found if len(found) <= _MOST else ()


def _items(value: bytes, header: RawHeader) -> list[dict[int, bytes]]:
    return flat_items(memoryview(value), header.syntax)


def _pointer(item: dict[int, bytes], header: RawHeader) -> int:
    value = item.get(_POINTER, b"")
    order = "little" if header.syntax.little else "big"
    if len(value) != 4:
        return 0
    group, element = (int.from_bytes(part, order) for part in (value[:2], value[2:]))  # type: ignore[arg-type]
    return group << 16 | element
