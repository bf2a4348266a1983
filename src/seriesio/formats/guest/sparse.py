"""A file in memory without its voxels: what a library writes around them, and where they belong.

HDF5 and TIFF libraries lay out a file, with room for the voxels; those are put there in passing.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from .blobs import Voxels, voxels_blob

if TYPE_CHECKING:
    from ...blob import Blob

__all__ = ["SparseFile"]


class SparseFile(io.RawIOBase):
    """A binary file that keeps what was written; all else is zero and takes no memory."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[tuple[int, bytes]] = []
        self._place = 0
        self._size = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}
        self._place = starts[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def truncate(self, size: int | None = None) -> int:
        self._size = self._place if size is None else size
        return self._size

    def write(self, data: Any) -> int:
        kept = bytes(data)
        self._written.append((self._place, kept))
        self._place += len(kept)
        self._size = max(self._size, self._place)
        return len(kept)

    def readinto(self, view: Any) -> int:
        target = memoryview(view).cast("B")
        part = self.span(self._place, min(self._place + len(target), self._size))
        target[: len(part)] = part
        self._place += len(part)
        return len(part)

    def span(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to ``stop``."""
        found = bytearray(max(stop - start, 0))
        for place, data in self._written:
            first, last = max(place, start), min(place + len(data), stop)
            if first < last:
                found[first - start : last - start] = data[first - place : last - place]
        return bytes(found)

    def blob(self, name: str, offset: int, voxels: Voxels) -> Blob:
        """The file, with voxels from ``offset`` on."""
        end = offset + len(voxels) * voxels.frame_size
        return voxels_blob(name, self.span(0, offset), voxels, self.span(end, self._size))
