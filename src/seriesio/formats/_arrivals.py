"""Instances that come over a network: their pixels move to where the volume will be as they arrive.

The sort goes on beside it; where the order of arrival is not that of the slots, the frames are
permuted in place. So there is never a second volume, and what was received is gone when all has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..blob import ReceivedBlob
from ..dicom.pixel_layout import LITTLE_HOST
from ..memory import fresh

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..blob import Announced, Blob
    from ..dicom.part10 import RawHeader
    from ..dicom.plan import Plan
    from ..dicom.table import HeaderGroup

__all__ = ["Arena", "Arrivals", "Arrived", "arrived"]

_PARTS: Final = 8  # in which frames are permuted, side by side
_DONE: Final = -1
_MAX_TAIL: Final = 1 << 16  # more than a little behind the pixels is not worth a copy


@dataclass(slots=True, eq=False)
class Arena:
    """The pixels of a series in the order of arrival: (announced, bytes of one instance)."""

    rows: NDArray[np.uint8]
    used: int = 0

    def fits(self, length: int) -> bool:
        return self.used < len(self.rows) and self.rows.shape[1] == length

    def take(self) -> tuple[int, memoryview]:
        """The next row, and its number."""
        number, self.used = self.used, self.used + 1
        return number, self.rows[number].data


class Arrivals:
    """Gives the pixels of received instances their places; blocking, for one thread at a time.

    Args:
        memory: bytes that the pixels of a series may take.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._arenas: dict[str, Arena | None] = {}

    def settle(
        self, groups: Iterable[tuple[HeaderGroup, Sequence[int]]], blobs: Mapping[int, Blob]
    ) -> None:
        """Move the pixels of instances whose headers are known; compressed ones stay as they are.

        Their headers are views of the ones that were walked from now on.
        """
        for group, indices in groups:
            if not group.syntax.encapsulated and not group.syntax.deflated:
                for header, index in zip(group.headers(range(len(group))), indices, strict=True):
                    blob = blobs[index]
                    if isinstance(blob, ReceivedBlob) and blob.of is not None:
                        self._move(blob, blob.of, header)

    def _move(self, blob: ReceivedBlob, of: Announced, header: RawHeader) -> None:
        start, length = header.pixel_offset, header.pixel_length
        end = start + length
        if not header.has_pixels or length <= 0 or not 0 <= blob.size - end <= _MAX_TAIL:
            return
        arena = self._arena(of, length)
        if arena is None or not arena.fits(length):
            return
        number, row = arena.take()
        tail = memoryview(bytearray(blob.size - end))
        reader = blob.open()
        reader.readinto(row, start)
        reader.readinto(tail, end)
        blob.settle((header.data, row, tail), (arena, number))

    def _arena(self, of: Announced, length: int) -> Arena | None:
        """The arena of a series, made for as many instances as were announced; None: too much."""
        if of.key not in self._arenas:
            self._arenas[of.key] = self._made(of.count, length)
        return self._arenas[of.key]

    def _made(self, count: int, length: int) -> Arena | None:
        if count * length > self._memory:
            return None
        try:
            return Arena(fresh(count * length).reshape(count, length))
        except (MemoryError, ValueError):  # what has come is placed once all has
            return None


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """Pixels that lie where the volume will be, though not yet in its order.

    Attributes:
        rows: (n, bytes of a frame) in the order of arrival.
        order: (n,) the row that belongs into each slot.
        tails: what lies behind the pixels, by instance.
    """

    rows: NDArray[np.uint8]
    order: NDArray[np.intp]
    tails: dict[int, bytes]

    def volume(self, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The same memory as a volume."""
        return self.rows.reshape(-1).view(dtype).reshape(shape)

    def parts(self) -> list[slice]:
        """Columns of the rows that are to be permuted side by side; none if all is in order."""
        count, width = self.rows.shape
        if np.array_equal(self.order, np.arange(count)):
            return []
        step = max(-(-width // _PARTS), 1)
        return [slice(start, start + step) for start in range(0, width, step)]

    def permute(self, part: slice) -> None:
        """Bring some columns of all rows into the order of the slots, where they are."""
        columns, order = self.rows[:, part], self.order.tolist()
        for first in range(len(order)):
            if order[first] in (first, _DONE):
                continue
            slot, held = first, columns[first].copy()
            while order[slot] != first:  # along the cycle that ends where it begins
                source, order[slot] = order[slot], _DONE
                columns[slot] = columns[source]
                slot = source
            columns[slot], order[slot] = held, _DONE


def arrived(plan: Plan, blobs: Sequence[Blob]) -> Arrived | None:
    """The pixels of a plan's instances, if they can become the volume where they lie.

    That is so where all have arrived, and nothing else has, as whole frames of the volume's size,
    and no value can turn out to need a wider type. They are no longer the blobs' from then on.
    """
    received = [blob for blob in blobs if isinstance(blob, ReceivedBlob) and blob.pieces]
    found = _one_arena(received)
    if found is None or len(received) != len(blobs) or not _alike(plan, len(blobs)):
        return None
    arena, numbers = found
    frame = int(np.prod(plan.frame_shape)) * plan.values.dtype.itemsize
    if arena.rows.shape[1] != frame:
        return None
    tails = {i: bytes(blob.pieces[-1]) for i, blob in enumerate(received) if blob.pieces[-1]}
    for blob in received:
        blob.discard()
    return Arrived(arena.rows[: arena.used], numbers[plan.slots[:, 0]], tails)


def _one_arena(received: Sequence[ReceivedBlob]) -> tuple[Arena, NDArray[np.intp]] | None:
    """The arena that holds the pixels of these blobs and of no others, and their rows in it."""
    places = [blob.place for blob in received if blob.place is not None]
    arenas = {id(arena): arena for arena, _ in places}
    if len(places) != len(received) or len(arenas) != 1:
        return None
    (arena,) = arenas.values()
    if not isinstance(arena, Arena) or arena.used != len(places):
        return None
    return arena, np.array([number for _, number in places], np.intp)


def _alike(plan: Plan, count: int) -> bool:
    """One frame of each instance, each in a slot, as its bytes lie in this machine's order."""
    return (
        plan.values.low is None
        and not plan.frames.multiframe
        and len(plan.slots) == count
        and len(np.unique(plan.slots[:, 0])) == count
        and all(group.syntax.little == LITTLE_HOST for group in plan.table.groups)
    )
