"""A header as raw bytes and where in them its elements are: the values that the walk gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Final

from ..errors import FormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "EXPLICIT",
    "IMPLICIT",
    "LENGTH",
    "LONG_VRS",
    "MAX_DEPTH",
    "MAX_HEADER",
    "PIXEL_TAGS",
    "UNDEFINED",
    "VR_NAMES",
    "Kind",
    "Layout",
    "MoreNeeded",
    "NoDicomError",
    "RawHeader",
    "Syntax",
    "Tokens",
    "is_vr",
    "syntax_for",
]

PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED: Final = 0xFFFFFFFF
MAX_DEPTH: Final = 100  # sequences inside of each other
MAX_HEADER: Final = 1 << 30  # bytes

# Value representations with a length of 4 bytes behind 2 reserved ones (PS3.5 table 7.1-1).
LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_NAMES: Final = (
    "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR "
    "US UT UV"
)
VR_NAMES: Final = {name.encode(): name for name in _NAMES.split(" ")}
# Element headers by byte order; the key is True for little endian.
EXPLICIT: Final = {True: Struct("<HH2sH"), False: Struct(">HH2sH")}
IMPLICIT: Final = {True: Struct("<HHL"), False: Struct(">HHL")}
LENGTH: Final = {True: Struct("<L"), False: Struct(">L")}


def is_vr(vr: bytes) -> bool:
    """True if two bytes stand where a VR belongs and look like one, known or not."""
    return vr in VR_NAMES or (vr.isalpha() and vr.isupper())


class MoreNeeded(Exception):
    """The header goes on behind the bytes at hand: come again with at least ``count`` bytes."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


class NoDicomError(FormatError):
    """The bytes are not DICOM at all (as against DICOM that is damaged)."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """A transfer syntax (PS3.5 section 10) as far as reading elements needs it."""

    uid: str
    implicit: bool
    little: bool
    deflated: bool
    encapsulated: bool


_NATIVE: Final = {
    "1.2.840.10008.1.2": Syntax("1.2.840.10008.1.2", True, True, False, False),
    "1.2.840.10008.1.2.1": Syntax("1.2.840.10008.1.2.1", False, True, False, False),
    "1.2.840.10008.1.2.1.99": Syntax("1.2.840.10008.1.2.1.99", False, True, True, False),
    "1.2.840.10008.1.2.2": Syntax("1.2.840.10008.1.2.2", False, False, False, False),
}


def syntax_for(uid: str) -> Syntax:
    """The transfer syntax of a UID; every unknown one is encapsulated explicit little endian."""
    known = _NATIVE.get(uid)
    return known if known is not None else Syntax(uid, False, True, False, True)


class Kind:
    """Where an element header keeps its length: 2 bytes at 6, 4 bytes at 8, or 4 bytes at 4."""

    SHORT: Final = 0
    LONG: Final = 1
    BARE: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The sequence of top-level elements; many headers of a series share one.

    ``vrs`` are as in the file, "" where it has none; ``lookup`` leads from a tag to its place,
    the last one of a tag that is doubled (as pydicom has it).
    """

    tags: tuple[int, ...]
    vrs: tuple[str, ...]
    lookup: dict[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Every element header that a walk visited, nested ones too: what lockstep compares."""

    starts: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    fixed: NDArray[np.bool_]  # another length would have changed how the walk went on
    top: NDArray[np.int64]  # the token of each top-level element
    after: NDArray[np.int64]  # the token that follows its value; one past the end for the last


@dataclass(slots=True, eq=False)
class RawHeader:
    """One instance's header: its raw bytes, and where in them each top-level element is.

    ``data`` runs from the first byte of the file to the first byte of the pixel value (or to
    the end where there is none). ``lengths`` counts value bytes; for an undefined-length
    sequence up to and including its delimiter; -1 for encapsulated pixel data.
    """

    data: memoryview = field(repr=False)
    layout: Layout = field(repr=False)
    starts: NDArray[np.int64] = field(repr=False)
    offsets: NDArray[np.int64] = field(repr=False)
    lengths: NDArray[np.int64] = field(repr=False)
    syntax: Syntax
    meta_end: int

    def raw(self, tag: int) -> memoryview | None:
        """The value bytes of a top-level element, None where there is none."""
        place = self.layout.lookup.get(tag)
        if place is None:
            return None
        start = int(self.offsets[place])
        return self.data[start : start + int(self.lengths[place])]

    @property
    def has_pixels(self) -> bool:
        tags = self.layout.tags
        return bool(tags) and tags[-1] in PIXEL_TAGS

    @property
    def pixel_offset(self) -> int:
        """Where the pixel value begins in the file."""
        return int(self.offsets[-1])

    @property
    def pixel_length(self) -> int:
        """Bytes of the pixel value as its header says; -1 where undefined."""
        return int(self.lengths[-1])
