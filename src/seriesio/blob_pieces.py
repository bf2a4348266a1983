"""Blobs piece by piece: one blob's bytes some at a time, and many blobs in groups."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator

from .blob import Blob, MemoryBlob, PiecesBlob, ReceivedBlob, RenamedBlob, read_fully

__all__ = ["batches", "held", "pieces_of"]


def held(blob: Blob) -> tuple[memoryview, ...] | None:
    """The bytes of a blob, in its pieces, if they are in memory; they are not copied."""
    if isinstance(blob, RenamedBlob):
        return held(blob.blob)
    if isinstance(blob, PiecesBlob | ReceivedBlob):
        return tuple(piece.cast("B") for piece in blob.pieces)
    return (memoryview(blob.data).cast("B"),) if isinstance(blob, MemoryBlob) else None


def pieces_of(blob: Blob, size: int) -> Generator[memoryview, None, None]:
    """A blob's bytes, ``size`` at a time; each piece is gone when the next is asked for. Blocking.

    Raises:
        TransportError: it cannot be read, or is shorter than announced.
    """
    reader = blob.open()
    try:
        buffer = memoryview(bytearray(min(size, max(blob.size, 1))))
        for start in range(0, blob.size, len(buffer)):
            part = buffer[: blob.size - start]
            read_fully(reader, part, start, blob.name)
            yield part
    finally:
        reader.close()


async def batches(
    blobs: AsyncIterable[Blob], most: int, files: int
) -> AsyncGenerator[list[Blob], None]:
    """Blobs in groups: of ``most`` bytes or a little more, and of ``files`` blobs at the most."""
    batch: list[Blob] = []
    size = 0
    async for blob in blobs:
        batch.append(blob)
        size += blob.size
        if size >= most or len(batch) >= files:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
