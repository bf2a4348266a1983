"""The door to compiled code: passes over bytes that are too slow in Python.

They are built with the package where a C compiler is (``src/native``), and always optional: each
has an equal in Python or numpy, which gives the same results and is taken where it was not built
or where the environment has ``SERIESIO_PURE`` set.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

__all__ = [
    "UNSEEN",
    "Bytes",
    "Cells",
    "Inflater",
    "Listed",
    "Span",
    "compiled",
    "crc32",
    "finish",
    "inflater",
    "listing",
    "lockstep",
    "md5",
    "modified_ns",
    "read",
    "read_cells",
]

Bytes: TypeAlias = bytes | bytearray | memoryview
# A path or an open file, offset, what is to be filled from there, CRC-32 so far or -1, and the
# st_mtime_ns that a path is to have.
Span: TypeAlias = tuple[str | int, int, memoryview, int, int]
UNSEEN: Final = -(1 << 63)  # not known: any will do
_LATEST: Final = (1 << 63) // 10**9 * 10**9  # whole seconds, as modified_ns in C has it
# Name, error of looking at it or 0, st_mode, st_size, st_dev, st_ino, st_mtime_ns.
Listed: TypeAlias = tuple[str, int, int, int, int, int, int]
Cells: TypeAlias = tuple[Span, int, memoryview]  # what to add, and where the sums go


class Inflater(Protocol):
    """Inflates one raw deflate stream (RFC 1951); for one thread at a time."""

    @property
    def eof(self) -> bool:
        """True once the stream has come to its own end."""
        ...

    def into(self, data: Bytes, out: memoryview, /) -> tuple[int, int]:
        """Inflate into ``out``: how many bytes of ``data`` were used, how many were filled.

        Raises:
            ValueError: damaged data.
        """
        ...


def _built(name: str) -> Any:
    if os.environ.get("SERIESIO_PURE"):
        return None
    try:
        return importlib.import_module(f"{__package__}.{name}")
    except ImportError:
        return None


_native: Final = _built("_native")
_inflater: Final = _built("_inflater")

compiled: Final = frozenset(
    name for name, module in (("passes", _native), ("inflate", _inflater)) if module
)

crc32: Final[Callable[..., int] | None] = getattr(_native, "crc32", None)
"""As :func:`zlib.crc32`, some times as fast; None where it is not."""


def inflater() -> Inflater | None:
    """An inflater that writes where its caller wants; None where there is none."""
    return None if _inflater is None else cast("Inflater", _inflater.Inflater())


def listing(path: str) -> list[Listed] | None:
    """What a directory holds, in no order: each entry itself, not what a link leads to; blocking.

    Returns:
        None where it is not built.

    Raises:
        OSError: the directory cannot be read.
    """
    call = getattr(_native, "listing", None)
    return None if call is None else cast("list[Listed]", call(path))


def modified_ns(status: os.stat_result) -> int:
    """When a file was changed last, in nanoseconds since 1970; UNSEEN: more than 64 bits."""
    found = status.st_mtime_ns
    return found if -_LATEST <= found < _LATEST else UNSEEN


def md5(items: Sequence[tuple[Bytes, ...]]) -> list[bytes]:
    """The MD5 of each item, which is made of pieces: against transmission errors, not attackers.

    Eight at a time take twice as long as one alone: worth it unless most is in one of them.
    """
    sizes = [sum(len(piece) for piece in pieces) for pieces in items]
    if _native is not None and sizes and 2 * max(sizes) <= sum(sizes):
        return cast("list[bytes]", _native.md5(items))
    return [_md5(pieces) for pieces in items]


def _md5(pieces: Sequence[Bytes]) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def lockstep(*tables: object) -> bool:
    """The element headers of files against those of one, for :mod:`seriesio.dicom.lockstep`.

    Returns:
        False, and nothing done, where it is not built.

    Raises:
        ValueError: tables of sizes that do not agree, or files outside of the arena.
    """
    if _native is not None:
        _native.lockstep(*tables)
    return _native is not None


def finish(
    cells: memoryview, slots: int, signed: bool, add: int, columns: int, sums: memoryview
) -> tuple[int, int] | None:
    """One pass over the 16-bit cells of some slots, in this machine's byte order.

    Adds ``add`` to each, modulo 2^16, and fills ``sums`` with the sums of the slots' 64-bit words
    in columns, as :func:`seriesio.dicom.fingerprint.column_sums` does.

    Returns:
        The least and the greatest cell before that; None, and nothing done, where it is not built.

    Raises:
        ValueError: buffers of other sizes than announced.
    """
    if _native is None:
        return None
    found = _native.finish(cells, slots, signed, add % (1 << 16), columns, sums)
    return cast("tuple[int, int]", found)


def read(spans: Sequence[Span]) -> list[tuple[int, int]] | None:
    """Fill memory from files, opening and closing those that are not open; blocking.

    Returns:
        For each span the bytes that were there, or minus the number of the system's error
        (ESTALE: a file that has changed), and the CRC-32 with them; None, and nothing done, where
        it is not built.
    """
    call = getattr(_native, "read", None)
    return None if call is None else cast("list[tuple[int, int]]", call(spans))


def read_cells(cells: Sequence[Cells], signed: bool) -> list[tuple[int, int, int, int]] | None:
    """As :func:`read`, and each span that was filled is one slot for :func:`finish`.

    Returns:
        (bytes, CRC-32 of them, least, greatest) for each span; None, and nothing done, where it
        is not built.
    """
    call = getattr(_native, "read_cells", None)
    if call is None:
        return None
    words = [(*span, add % (1 << 16), sums) for span, add, sums in cells]
    return cast("list[tuple[int, int, int, int]]", call(words, signed))
