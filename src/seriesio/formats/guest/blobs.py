"""Voxels into a guest format's file: no second copy of the volume is made to write it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...blob import Blob, PiecesBlob
from .streams import deflated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...blob import BlobReader

__all__ = ["FramesBlob", "Voxels", "headed_blob", "packed_voxels", "voxels_blob"]


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """An array as a run of bytes: frame after frame, in C order of its leading axes.

    Attributes:
        array: leading axes, then those of a frame.
        leading: how many axes lead.
        dtype: of the bytes.
        transposed: a frame (rows, columns) stands column by column.
    """

    array: NDArray[Any] = field(repr=False)
    leading: int
    dtype: np.dtype[Any]
    transposed: bool = False

    def __len__(self) -> int:
        return math.prod(self.array.shape[: self.leading])

    @property
    def frame_size(self) -> int:
        return math.prod(self.array.shape[self.leading :]) * self.dtype.itemsize

    @property
    def plain(self) -> bool:
        """True if the bytes stand in the array as they are wanted."""
        same = self.array.dtype == self.dtype and not self.transposed
        return same and self.array.flags.c_contiguous

    def frame(self, place: int) -> memoryview:
        """The bytes of one frame."""
        frame = self.array[np.unravel_index(place, self.array.shape[: self.leading])]
        turned = frame.T if self.transposed else frame
        return _bytes(np.ascontiguousarray(turned, self.dtype))

    def pieces(self) -> Iterator[memoryview]:
        """All bytes, in as large pieces as need no copy."""
        if self.plain:
            yield _bytes(self.array)
            return
        yield from map(self.frame, range(len(self)))


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data.toreadonly()


def voxels_blob(name: str, head: bytes, voxels: Voxels, tail: bytes = b"") -> Blob:
    """A file of a header and voxels: views where the voxels stand right, else made in passing."""
    if voxels.plain:
        return _joined(name, (memoryview(head), *voxels.pieces(), memoryview(tail)))
    return FramesBlob(name, head, voxels, tail)


def headed_blob(
    name: str, head: bytes, voxels: Voxels, packed: tuple[memoryview, ...] | None
) -> Blob:
    """A file of a header and voxels: ``packed``, or as they are where that is None."""
    if packed is None:
        return voxels_blob(name, head, voxels)
    return _joined(name, (memoryview(head), *packed))


def _joined(name: str, pieces: Iterable[memoryview]) -> Blob:
    return PiecesBlob(name, tuple(piece for piece in pieces if piece.nbytes))


def packed_voxels(voxels: Voxels, wbits: int) -> tuple[memoryview, ...]:
    """The compressed bytes of the voxels; ``wbits`` as :func:`~.streams.deflated` has it."""
    return tuple(part for part in deflated(voxels.pieces(), wbits) if part)


@dataclass(frozen=True, slots=True)
class FramesBlob:
    """A head, frames that are made when they are asked for, and a tail."""

    name: str
    head: bytes = field(repr=False)
    voxels: Voxels = field(repr=False)
    tail: bytes = field(default=b"", repr=False)
    sequential: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        return len(self.head) + len(self.voxels) * self.voxels.frame_size + len(self.tail)

    def open(self) -> BlobReader:
        return _FramesReader(self)


class _FramesReader:
    def __init__(self, blob: FramesBlob) -> None:
        self._blob: FramesBlob | None = blob
        self._place = -1
        self._frame = memoryview(b"")

    def readinto(self, view: memoryview, offset: int) -> int:
        done = 0
        while done < view.nbytes:
            piece = self._piece(offset + done)[: view.nbytes - done]
            if not piece:
                break
            view[done : done + piece.nbytes] = piece
            done += piece.nbytes
        return done

    def _piece(self, offset: int) -> memoryview:
        """Some bytes from ``offset`` on; none at the end."""
        if self._blob is None:
            return memoryview(b"")
        head, voxels = self._blob.head, self._blob.voxels
        if offset < len(head):
            return memoryview(head)[offset:]
        place, within = divmod(offset - len(head), voxels.frame_size)
        if place < len(voxels):
            return self._made(voxels, place)[within:]
        return memoryview(self._blob.tail)[offset - self._blob.size + len(self._blob.tail) :]

    def _made(self, voxels: Voxels, place: int) -> memoryview:
        if place != self._place:
            self._place, self._frame = place, voxels.frame(place)
        return self._frame

    def close(self) -> None:
        self._blob, self._frame = None, memoryview(b"")
