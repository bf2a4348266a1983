"""Files made ready for one upload: their sums, and the zip that holds them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..blob import MemoryBlob, read_fully
from ..blob_pieces import held, pieces_of
from ..inflate import compressobj, crc32
from ._http_client import Body
from ._zip_records import (
    LIMIT32,
    Written,
    central_entry,
    dos_time,
    encoded_name,
    end_records,
    local_header,
)

if TYPE_CHECKING:
    from ..blob import Blob, BlobReader
    from ..offload import Workers

__all__ = ["Packed", "Sent", "file_body", "pack", "summed"]

_CHUNK: Final = 1 << 18
_READ: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that is sent, as the catalogue should list it afterwards."""

    name: str
    size: int
    digest: str
    crc: int


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A zip file that is made when it is sent: records, and the blobs between them."""

    sent: tuple[Sent, ...]
    parts: tuple[bytes | Blob, ...]
    length: int

    def body(self, workers: Workers) -> Body:
        async def chunks() -> AsyncIterator[bytes]:
            for part in self.parts:
                if isinstance(part, bytes):
                    yield part
                else:
                    async for piece in _read(part, workers):
                        yield piece

        return Body(chunks, self.length, "application/zip")


def file_body(blob: Blob, workers: Workers) -> Body:
    """A file as the body of a request."""
    return Body(lambda: _read(blob, workers), blob.size, "application/octet-stream")


def pack(blobs: Sequence[Blob], deflate: bool) -> Packed:
    """A zip of blobs, sizes and CRCs before their data: the server reads it as a stream.

    Raises:
        TransportError: a blob cannot be read, or is shorter than it says.
        ArchiveError: a name that a zip cannot hold.
    """
    clock = dos_time(time.time())
    sent: list[Sent] = []
    parts: list[bytes | Blob] = []
    entries: list[bytes] = []
    position = 0
    for blob in blobs:
        told = summed(blob)
        data: Blob = _deflated(blob) if deflate and blob.size else blob
        method = 0 if data is blob else 8
        sizes = data.size, blob.size
        name, wide = encoded_name(blob.name), max(sizes) >= LIMIT32
        member = Written(name, method, clock, told.crc, *sizes, position, wide)
        header = local_header(member)
        sent.append(told)
        parts += [header, data]
        entries.append(central_entry(member, 0))
        position += len(header) + data.size
    tail = b"".join(entries) + end_records(entries, position, 0, b"")
    return Packed(tuple(sent), (*parts, tail), position + len(tail))


def summed(blob: Blob) -> Sent:
    """Size, MD5 and CRC-32 of a blob.

    Raises:
        TransportError: it cannot be read, or is shorter than it says.
    """
    digest, crc = hashlib.md5(usedforsecurity=False), 0
    for piece in _pieces(blob):
        digest.update(piece)
        crc = crc32(piece, crc)
    return Sent(blob.name, blob.size, digest.hexdigest(), crc)


def _deflated(blob: Blob) -> MemoryBlob:
    stream = compressobj(None, -15)
    pieces = [stream.compress(piece) for piece in _pieces(blob)]
    return MemoryBlob(blob.name, b"".join((*pieces, stream.flush())))


def _pieces(blob: Blob) -> Iterator[memoryview]:
    """The bytes of a blob; those that are not in memory in pieces of some size."""
    there = held(blob)
    return pieces_of(blob, _READ) if there is None else iter(there)


async def _read(blob: Blob, workers: Workers) -> AsyncIterator[bytes]:
    there = held(blob)
    if there is not None:
        for piece in there:
            for start in range(0, piece.nbytes, _CHUNK):
                yield piece[start : start + _CHUNK]  # type: ignore[misc]  # sent as it is
        return
    reader = await workers.run(blob.open)
    try:
        for start in range(0, blob.size, _READ):
            yield await workers.run(_one, reader, min(_READ, blob.size - start), start, blob.name)
    finally:
        reader.close()


def _one(reader: BlobReader, size: int, start: int, name: str) -> bytes:
    buffer = bytearray(size)
    read_fully(reader, memoryview(buffer), start, name)
    return bytes(buffer)
