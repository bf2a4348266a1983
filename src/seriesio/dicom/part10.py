"""Bytes of a DICOM file to an index of its elements, by walking and never by decoding.

A file is a preamble, file meta information and a dataset (PS3.10 section 7); preamble and meta
information may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ..errors import DicomError, TooLargeError, TruncatedError
from .deflated import walk_deflated
from .lockstep import Pattern
from .raw import (
    LENGTH,
    MAX_HEADER,
    PIXEL_TAGS,
    UNDEFINED,
    VR_NAMES,
    Kind,
    Layout,
    MoreNeeded,
    NoDicomError,
    RawHeader,
    Syntax,
    is_vr,
    syntax_for,
)
from .walk import Walk

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "PIXEL_TAGS",
    "UNDEFINED",
    "Kind",
    "Layout",
    "MoreNeeded",
    "NoDicomError",
    "Parsed",
    "RawHeader",
    "Syntax",
    "meta_length",
    "parse",
    "parse_header",
    "syntax_for",
]

_TRANSFER_SYNTAX, _SOP_CLASS = 0x00020010, 0x00080016
_HEAD: Final = 144  # preamble, prefix and the first element's header
# Groups with which a bare dataset can begin.
_FIRST_GROUPS: Final = frozenset({0x0008, 0x0010, 0x0018, 0x0020, 0x0028})
_FIRST_LENGTH: Final = 1 << 16
_CONVINCING: Final = 4  # so many elements in order are no accident


@dataclass(eq=False)
class Parsed:
    """A header, and what lockstep needs to use it as a template."""

    header: RawHeader
    walk: Walk = field(repr=False)
    deflated: memoryview | None = field(default=None, repr=False)

    @cached_property
    def pattern(self) -> Pattern:
        return Pattern(self.walk.tokens(), self.header.data)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.walk.size


def parse(data: memoryview, size: int, name: str) -> Parsed:
    """Walk the head of a file of ``size`` bytes, of which ``data`` holds the first ones.

    Raises:
        MoreNeeded: the header is longer than ``data``.
        NoDicomError: these are not the bytes of a DICOM file.
        DicomError: they are, but break the standard's rules.
        TruncatedError: an element reaches past the end of the file.
        TooLargeError: a header beyond the limits.
    """
    start = _meta_start(data, size)
    if start is None:
        return _bare(data, size, name)
    walk = Walk(data, size, name)
    meta_end = walk.meta(start)
    syntax = _meta_syntax(walk, meta_end)
    if syntax.deflated:
        return _deflated(walk, start, meta_end, syntax)
    walk.dataset(meta_end, syntax)
    return Parsed(walk.header(syntax, meta_end), walk)


def parse_header(data: bytes | bytearray | memoryview, name: str = "header") -> RawHeader:
    """The header of a file whose bytes are all at hand.

    Raises:
        NoDicomError: these are not the bytes of a DICOM file.
        DicomError: they are, but break the standard's rules.
        TooLargeError: a header beyond the limits.
    """
    view = memoryview(data).cast("B")
    return parse(view, view.nbytes, name).header


def meta_length(data: memoryview) -> int:
    """Where the dataset begins behind preamble and file meta information.

    Raises:
        DicomError: damaged file meta information.
    """
    start = _meta_start(data, data.nbytes)
    return 0 if start is None else Walk(data, data.nbytes, "header").meta(start)


def _meta_start(data: memoryview, size: int) -> int | None:
    """Where the file meta information begins; None for a bare dataset."""
    if data.nbytes < min(size, _HEAD):
        raise MoreNeeded(min(size, _HEAD))
    if bytes(data[128:132]) == b"DICM":
        return 132
    head = bytes(data[:6])
    if head[:4] == b"DICM":  # the preamble was left out, but not the prefix
        return 4
    group_two = head[:2] == b"\2\0" and head[3:4] == b"\0"
    return 0 if group_two and head[4:6] in VR_NAMES else None


# --- bare datasets ----------------------------------------------------------------------------


def _bare(data: memoryview, size: int, name: str) -> Parsed:
    """Walk a dataset without file meta information; what makes no sense was no DICOM at all."""
    syntax = _first_syntax(bytes(data[:8]), size)
    if syntax is None:
        raise NoDicomError(f"{name}: not a DICOM file")
    walk = Walk(data, size, name)
    try:
        walk.dataset(0, syntax)
    except (DicomError, TooLargeError) as error:
        if _convincing(walk.tags):
            raise
        raise NoDicomError(f"{name}: not a DICOM file") from error
    header = walk.header(syntax, 0)
    if _SOP_CLASS not in walk.tags and not header.has_pixels:
        raise NoDicomError(f"{name}: not a DICOM file")
    if header.has_pixels and header.pixel_length < 0:
        raise DicomError(f"{name}: compressed pixels, but no file meta information names how")
    return Parsed(header, walk)


def _convincing(tags: Sequence[int]) -> bool:
    """True if what was walked before it went wrong was DICOM beyond doubt."""
    first = tags[:_CONVINCING]
    in_order = len(first) == _CONVINCING and all(one < other for one, other in pairwise(first))
    return in_order and first[-1] >> 16 <= 0x7FE0


def _first_syntax(head: bytes, size: int) -> Syntax | None:
    """The syntax of a dataset, told by the header of its first element; None if it is none."""
    if len(head) < 8:
        return None
    known = head[4:6] in VR_NAMES
    if int.from_bytes(head[:2], "little") in _FIRST_GROUPS:
        if known:
            return syntax_for("1.2.840.10008.1.2.1")
        if LENGTH[True].unpack_from(head, 4)[0] <= min(size, _FIRST_LENGTH):
            return syntax_for("1.2.840.10008.1.2")
    if int.from_bytes(head[:2], "big") in _FIRST_GROUPS and known:
        return syntax_for("1.2.840.10008.1.2.2")
    return None


# --- behind file meta information -------------------------------------------------------------


def _meta_syntax(walk: Walk, meta_end: int) -> Syntax:
    """The transfer syntax that the file meta information names, or the first element shows."""
    if uid := _transfer_syntax(walk):
        syntax = syntax_for(uid)
        if not syntax.deflated and meta_end != walk.size:
            _check_syntax(walk, syntax, meta_end)
        return syntax
    walk.need(meta_end + 8)
    found = _first_syntax(bytes(walk.data[meta_end : meta_end + 8]), walk.size)
    if found is None:
        raise DicomError(f"{walk.name}: no transfer syntax in the file meta information")
    return found


def _transfer_syntax(walk: Walk) -> str:
    if _TRANSFER_SYNTAX not in walk.tags:
        return ""
    place = len(walk.tags) - 1 - walk.tags[::-1].index(_TRANSFER_SYNTAX)
    start = walk.offsets[place]
    value = bytes(walk.data[start : start + walk.lengths[place]])
    return value.strip(b"\0 ").decode("latin-1")


def _check_syntax(walk: Walk, syntax: Syntax, meta_end: int) -> None:
    """Raise if the first element shows plainly that the meta information lies."""
    walk.need(meta_end + 8)
    head = bytes(walk.data[meta_end : meta_end + 8])
    explicit = head[4:6] in VR_NAMES or (not syntax.implicit and is_vr(head[4:6]))
    little = head[1] == 0 or head[0] != 0
    if explicit == (not syntax.implicit) and little == syntax.little:
        return
    if not any(head):
        raise TruncatedError(f"{walk.name}: nothing but zeros behind the file meta information")
    raise DicomError(
        f"{walk.name}: wrong transfer syntax: the file meta information says "
        f"{syntax.uid[:64]!a}, the first element is {'explicit' if explicit else 'implicit'} VR "
        f"{'little' if little else 'big'} endian"
    )


def _deflated(walk: Walk, start: int, meta_end: int, syntax: Syntax) -> Parsed:
    if walk.size > MAX_HEADER:
        raise TooLargeError(f"{walk.name}: deflated, and longer than {MAX_HEADER} bytes")
    walk.need(walk.size)
    inner, header, plain = walk_deflated(walk.data, start, meta_end, syntax, walk.name)
    return Parsed(header, inner, plain)
