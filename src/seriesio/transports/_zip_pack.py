"""Packing blobs for a zip file: read in pieces, summed and deflated. All of it blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..blob import Blob, BlobReader, read_fully
from ..inflate import Compressor, compressobj, crc32
from ._zip_directory import DEFLATED

__all__ = ["GradualPacker", "Packed", "pack"]

_STEP = 256 << 10


class _Packer:
    """Takes a member's bytes in order, gives its packed bytes."""

    def __init__(self, method: int, level: int | None) -> None:
        self.crc = 0
        self.packed = 0
        self._deflate: Compressor | None = None
        if method == DEFLATED:
            self._deflate = compressobj(level, -15)

    def feed(self, data: memoryview) -> bytes:
        self.crc = crc32(data, self.crc)
        return self._counted(self._deflate.compress(data) if self._deflate else bytes(data))

    def flush(self) -> bytes:
        return self._counted(self._deflate.flush() if self._deflate else b"")

    def _counted(self, data: bytes) -> bytes:
        self.packed += len(data)
        return data


@dataclass(frozen=True, slots=True)
class Packed:
    """A member that is ready to be written."""

    name: str
    pieces: list[bytes]
    crc: int
    packed: int
    size: int


def pack(blob: Blob, method: int, level: int | None) -> Packed:
    """Read and pack a whole blob.

    Raises:
        TransportError: it cannot be read, or is shorter than it said.
    """
    packer = _Packer(method, level)
    reader = blob.open()
    try:
        pieces = [packer.feed(data) for data in _pieces(blob, reader, 0, blob.size)]
    finally:
        reader.close()
    pieces.append(packer.flush())
    return Packed(blob.name, [p for p in pieces if p], packer.crc, packer.packed, blob.size)


class GradualPacker:
    """Packs a large blob in steps, so that it never has to be in memory whole."""

    def __init__(self, blob: Blob, method: int, level: int | None) -> None:
        self.blob = blob
        self._packer = _Packer(method, level)
        self._reader: BlobReader | None = None
        self._offset = 0

    @property
    def crc(self) -> int:
        return self._packer.crc

    @property
    def packed(self) -> int:
        return self._packer.packed

    @property
    def done(self) -> bool:
        return self._offset >= self.blob.size

    def step(self, count: int) -> Iterator[bytes]:
        """Packed bytes of the next ``count`` bytes."""
        if self._reader is None:
            self._reader = self.blob.open()
        stop = min(self._offset + count, self.blob.size)
        for data in _pieces(self.blob, self._reader, self._offset, stop):
            yield self._packer.feed(data)
        self._offset = stop
        if self.done:
            yield self._packer.flush()

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def _pieces(blob: Blob, reader: BlobReader, start: int, stop: int) -> Iterator[memoryview]:
    """The blob's bytes from ``start`` to ``stop``; each piece is valid until the next one.

    An empty blob is read too, so that its reader can verify what there is to verify.
    """
    buffer = memoryview(bytearray(min(_STEP, stop - start)))
    for offset in range(start, max(stop, start + 1), _STEP):
        view = buffer[: stop - offset]
        read_fully(reader, view, offset, blob.name)
        yield view
