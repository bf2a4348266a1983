"""Memory to receive into, used again and again.

Fresh pages cost more than all copies of what they hold: the system clears them, and a fault for
each. What has been received and moved to its place leaves memory that is neither.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from collections.abc import Generator
from contextlib import suppress
from typing import Final

import numpy as np

from ..errors import TooLargeError

__all__ = ["Slabs", "mapped", "shared"]

_SPARE: Final = 1 << 26  # bytes that are kept free, together
_HUGE: Final = 1 << 21  # bytes of a large page


class Slabs:
    """Pieces of memory of one size; a piece is free again when the last view of it is gone.

    Views may be let go of in any thread, and slabs taken in any.

    Args:
        size: bytes of each.
        spare: how many that are free are kept.
    """

    __slots__ = ("__weakref__", "_coming", "_free", "_lock", "_size", "_spare")

    def __init__(self, size: int, spare: int) -> None:
        self._size = size
        self._spare = spare
        self._free: list[mmap.mmap] = []
        self._coming = 0  # how many will be taken
        self._lock = threading.RLock()  # a view may be let go of while it is held

    def endless(self, expected: int | None = None) -> Generator[memoryview, None, None]:
        """One after the other; nobody has a view of it, and it holds whatever it held before.

        Of those that are free no more are kept than will be taken: by all who take from these
        slabs. What one of them foresaw and has not taken no longer counts once its generator is
        closed, so whoever made it closes it, with no thread in it.

        Args:
            expected: about how many bytes will be wanted; None: any number.

        Raises:
            TooLargeError: there is no memory.
        """
        left = self._spare if expected is None else -(-expected // self._size)
        self._expect(left)
        try:
            while True:
                foreseen = 1 if left and expected is not None else 0
                left -= foreseen
                yield self._taken(foreseen)
        finally:
            self._expect(-left)

    def _expect(self, count: int) -> None:
        with self._lock:
            self._coming += count
            del self._free[self._coming :]

    def _taken(self, foreseen: int) -> memoryview:
        with self._lock:
            memory = self._free.pop() if self._free else None
            self._expect(-foreseen)
        if memory is None:
            memory = mapped(self._size)
        lent = np.frombuffer(memory, np.uint8)  # what views keep alive, and no longer
        weakref.finalize(lent, _give_back, weakref.ref(self), memory).atexit = False
        return lent.data

    def _keep(self, memory: mmap.mmap) -> None:
        with self._lock:
            if len(self._free) < min(self._coming, self._spare):
                self._free.append(memory)


def _give_back(slabs: weakref.ref[Slabs], memory: mmap.mmap) -> None:
    if (takes := slabs()) is not None:
        takes._keep(memory)


_shared: weakref.WeakValueDictionary[int, Slabs] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def shared(size: int) -> Slabs:
    """The slabs of this size that all use who receive now; gone when the last of them is done."""
    with _sharing:
        slabs = _shared.get(size)
        if slabs is None:
            slabs = _shared[size] = Slabs(size, max(_SPARE // size, 1))
        return slabs


def mapped(size: int) -> mmap.mmap:
    """Memory that goes back to the system when the last view of it is gone.

    Raises:
        TooLargeError: there is none.
    """
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError, ValueError) as error:
        raise TooLargeError(f"no memory to receive {size} bytes into") from error
    if size >= _HUGE and (advice := getattr(mmap, "MADV_HUGEPAGE", None)) is not None:
        with suppress(OSError):  # a system that has none
            memory.madvise(advice)
    return memory
