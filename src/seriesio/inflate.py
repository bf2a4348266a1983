"""Deflate and CRC-32 from the fastest that there is.

Our own code, where it could be built (:mod:`seriesio.native`), inflates zip members straight into
their place in half of zlib's time. The standard library's zlib always works. With the extra
``fast``, python-isal inflates quicker than zlib where nothing could be built, and zlib-ng deflates
about twice as fast at the same size (python-isal deflates faster still, but its members come out
up to 20 % larger than zlib's). Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
import zlib
from functools import cache
from typing import Any, Protocol, cast

from . import native
from .blob import copy
from .native import Bytes, Inflater

__all__ = ["DEFAULT_LEVEL", "compressobj", "crc32", "decompressobj", "inflate_errors", "inflater"]

# On CT and MR series level 4 is within 6 % of the size of level 6 in a third of its time.
DEFAULT_LEVEL = 4


class Compressor(Protocol):
    """What :func:`compressobj` gives."""

    def compress(self, data: Bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Decompressor(Protocol):
    """What :func:`decompressobj` gives."""

    @property
    def eof(self) -> bool: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: Bytes, max_length: int = 0, /) -> bytes: ...


def _first(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return zlib


@cache
def _inflater() -> Any:
    return _first("isal.isal_zlib", "zlib_ng.zlib_ng")


@cache
def _deflater() -> Any:
    return _first("zlib_ng.zlib_ng")


def decompressobj(wbits: int = zlib.MAX_WBITS) -> Decompressor:
    """A decompressor; ``wbits`` as in :func:`zlib.decompressobj` (-15: no zlib wrapper)."""
    return cast("Decompressor", _inflater().decompressobj(wbits))


def inflater() -> Inflater:
    """What inflates a raw deflate stream into memory that is there already."""
    return native.inflater() or _Copying(decompressobj(-zlib.MAX_WBITS))


class _Copying:
    """An :class:`Inflater` on a decompressor that gives bytes of its own."""

    def __init__(self, stream: Decompressor) -> None:
        self._stream = stream

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def into(self, data: Bytes, out: memoryview, /) -> tuple[int, int]:
        if self._stream.eof:
            return 0, 0
        try:
            made = self._stream.decompress(data, out.nbytes)
        except inflate_errors() as error:
            raise ValueError(f"does not inflate: {error}") from error
        copy(memoryview(made), out[: len(made)])
        left = len(self._stream.unconsumed_tail) + len(self._stream.unused_data)
        return len(data) - left, len(made)


def compressobj(level: int | None = None, wbits: int = zlib.MAX_WBITS) -> Compressor:
    """A compressor; ``level`` is 0 to 9, None the one that serves image series best."""
    chosen = DEFAULT_LEVEL if level is None else level
    return cast("Compressor", _deflater().compressobj(chosen, zlib.DEFLATED, wbits))


def crc32(data: Bytes, value: int = 0) -> int:
    """The CRC-32 of ``data``, going on from ``value``."""
    return cast("int", _crc32()(data, value))


@cache
def _crc32() -> Any:
    return native.crc32 or _inflater().crc32


@cache
def inflate_errors() -> tuple[type[Exception], ...]:
    """What the decompressors raise over damaged data."""
    return tuple({zlib.error, _inflater().error})
