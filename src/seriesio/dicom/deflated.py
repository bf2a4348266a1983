"""Deflated datasets (PS3.5 section A.5): inflated as far as header and pixels reach, no further."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from ..errors import DicomError, TooLargeError, TruncatedError
from .raw import MAX_HEADER, MoreNeeded
from .walk import Walk

if TYPE_CHECKING:
    from .raw import RawHeader, Syntax

__all__ = ["walk_deflated"]

_FIRST: Final = 1 << 16
_MAX_INFLATED: Final = MAX_HEADER
_MAX_RATIO: Final = 1032  # more than that deflate cannot pack


def walk_deflated(
    data: memoryview, start: int, meta_end: int, syntax: Syntax, name: str
) -> tuple[Walk, RawHeader, memoryview]:
    """Walk a whole file whose dataset is deflated; the file as if it were not comes with it.

    Raises:
        DicomError, TruncatedError, TooLargeError: as the walk does; a damaged or cut stream, or
            one that expands beyond the limit.
    """
    inflater = _Inflater(data, meta_end, name)
    walk, header = _header(inflater, start, meta_end, syntax, name)
    if header.has_pixels:
        inflater.grow(header.pixel_offset + max(header.pixel_length, 0) + _FIRST)
    view = memoryview(inflater.plain)
    header.data = view[: header.data.nbytes]
    return walk, header, view


def _header(
    inflater: _Inflater, start: int, meta_end: int, syntax: Syntax, name: str
) -> tuple[Walk, RawHeader]:
    wanted = meta_end + _FIRST
    while True:
        inflater.grow(wanted)
        plain = bytes(inflater.plain)  # a copy: the original goes on growing
        size = len(plain) if inflater.ended else max(inflater.limit, len(plain))
        walk = Walk(memoryview(plain), size, name)
        try:
            walk.meta(start)
            walk.dataset(meta_end, syntax)
        except MoreNeeded as more:
            wanted = max(more.count, 2 * len(plain))
        else:
            return walk, walk.header(syntax, meta_end)


class _Inflater:
    def __init__(self, data: memoryview, meta_end: int, name: str) -> None:
        self._name = name
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._packed: bytes | memoryview = data[meta_end:]
        self.plain = bytearray(data[:meta_end])
        self.ended = False
        self.limit = meta_end + _MAX_RATIO * len(self._packed) + 1

    def grow(self, count: int) -> None:
        """Inflate until ``count`` bytes are there, or the stream ends."""
        if min(count, self.limit) > _MAX_INFLATED:
            raise TooLargeError(f"{self._name}: inflates to more than {_MAX_INFLATED} bytes")
        while not self.ended and len(self.plain) < count:
            part = self._inflate(count - len(self.plain))
            self.plain += part
            self._packed = self._stream.unconsumed_tail
            self.ended = self._stream.eof or not (part or self._packed)
        if self.ended and not self._stream.eof and len(self.plain) < count - _FIRST:
            raise TruncatedError(
                f"{self._name}: the deflated dataset ends early, after {len(self.plain)} bytes"
            )

    def _inflate(self, count: int) -> bytes:
        try:
            return self._stream.decompress(self._packed, count)
        except zlib.error:
            raise DicomError(f"{self._name}: the deflated dataset is damaged") from None
