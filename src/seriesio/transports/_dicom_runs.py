"""PDUs that are like the last one, received with their data side by side; pure, no I/O.

Many archives send instances in P-DATA-TF PDUs of 16 kB. Where one is followed by others like it,
their heads are received into memory of their own, and their data become one piece: as if the PDU
had been as large as the memory. Whatever comes otherwise is put in order as it was sent.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["HEAD", "Like", "Run"]

HEAD: Final = 12  # bytes of a PDU's head with that of its only presentation data value
_MOST: Final = 64  # heads of one system call


class Like(NamedTuple):
    """What PDUs have in common: their first bytes, and how many follow."""

    head: bytes
    size: int


class Run:
    """What is foreseen of one receive: the rest of a value, then heads and data in turn."""

    __slots__ = ("_count", "_heads", "_like")

    def __init__(self) -> None:
        self._heads = memoryview(bytearray(HEAD * _MOST))
        self._like = Like(b"", 0)
        self._count = 0

    def views(self, slab: memoryview, end: int, rest: int, like: Like) -> list[memoryview]:
        """Where the next bytes go: ``rest`` of them from ``end`` on; none if there is no room.

        There is room left for the heads, in case that they have to be among the data.
        """
        at, size = end + rest, like.size
        self._like = like
        self._count = min((len(slab) - at) // (HEAD + size), _MOST)
        if self._count < 1:
            return []
        views = [slab[end:at]] if rest else []
        for head in range(0, HEAD * self._count, HEAD):
            views.append(self._heads[head : head + HEAD])
            views.append(slab[at : at + size])
            at += size
        return views

    def received(self, slab: memoryview, at: int, count: int) -> tuple[int, bool, int]:
        """What ``count`` bytes behind the rest of the value are, whose data begin at ``at``.

        Returns:
            bytes of whole values from ``at`` on; whether another one like them has begun; and the
            bytes that lie behind them, which are of that one, or else of the stream as it came.
        """
        head, size = self._like
        whole, over = divmod(count, HEAD + size)
        begun = over >= HEAD
        same = self._same(whole + begun, head)
        if same < whole + begun:
            loose = self._in_order(slab, at, same, count)
            return same * size, False, loose
        if begun:
            return whole * size, True, over - HEAD
        end = at + whole * size
        slab[end : end + over] = self._heads[HEAD * whole : HEAD * whole + over]
        return whole * size, False, over

    def _same(self, count: int, head: bytes) -> int:
        """How many heads are the expected one, up to the first that is not."""
        came = bytes(self._heads[: HEAD * count])
        if came == head * count:
            return count
        return next(n for n in range(count) if came[HEAD * n : HEAD * (n + 1)] != head)

    def _in_order(self, slab: memoryview, at: int, first: int, count: int) -> int:
        """Put heads and data, from a head on, one after the other; how many bytes that are."""
        size = self._like.size
        left = count - first * (HEAD + size)
        start, last = at + first * size, first + left // (HEAD + size)
        parts: list[memoryview] = []
        for number in range(first, min(last + 1, self._count)):
            place = at + number * size
            parts += [self._heads[HEAD * number : HEAD * (number + 1)], slab[place : place + size]]
        slab[start : start + left] = b"".join(parts)[:left]
        return left
