"""Bytes of a blob as they are, from front to back; many of them by two threads. Blocking."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from .cancel import canceller

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...blob import Blob, BlobReader

__all__ = ["BLOCK", "PlainStream"]

BLOCK: Final = 64 << 20
"""Bytes that are read at once: between two looks at a cancellation."""

_PART: Final = 8 << 20  # the same where two threads share the reading
_MANY: Final = 4 * _PART  # bytes that are worth a second thread


class PlainStream:
    """The bytes of a blob as they are, from ``offset`` on."""

    def __init__(self, blob: Blob, offset: int = 0) -> None:
        self.name = blob.name
        self.size = blob.size
        self.check_cancelled = canceller()
        self._blob = blob
        self._reader = blob.open()
        self._start = self._offset = offset

    def rewind(self) -> None:
        self._offset = self._start

    def readinto(self, view: memoryview) -> int:
        if view.nbytes < _MANY or self._blob.sequential:
            blocks = _Blocks(view, self._offset, BLOCK)
            blocks.read(self._reader, self.check_cancelled)
        else:
            blocks = _Blocks(view, self._offset, _PART)
            self._with_another(blocks)
        done = blocks.filled()
        self._offset += done
        return done

    def _with_another(self, blocks: _Blocks) -> None:
        """Share the blocks with a second thread: one alone does not fill memory at its speed."""
        given_up = _GivenUp()
        with ThreadPoolExecutor(1) as executor:
            other = executor.submit(blocks.read_apart, self._blob, given_up.check)
            try:
                blocks.read(self._reader, self.check_cancelled)
            except BaseException:
                given_up.set()
                raise
            other.result()

    def finish(self) -> int:
        return max(self.size - self._offset, 0)

    def close(self) -> None:
        self._reader.close()


class _Blocks:
    """Parts of a view that are to be filled; each goes to the thread that asks next."""

    def __init__(self, view: memoryview, offset: int, size: int) -> None:
        self._view, self._offset, self._size = view, offset, size
        self._starts = iter(range(0, view.nbytes, size))
        self._counts: dict[int, int] = {}

    def read(self, reader: BlobReader, check: Callable[[], None]) -> None:
        for start in self._starts:
            check()
            part = self._view[start : start + self._size]
            count = self._counts[start] = reader.readinto(part, self._offset + start)
            if count < part.nbytes:
                break

    def read_apart(self, blob: Blob, check: Callable[[], None]) -> None:
        """Read with a reader of its own: one is not for two threads."""
        reader = blob.open()
        try:
            self.read(reader, check)
        finally:
            reader.close()

    def filled(self) -> int:
        """How many bytes are there from the front on without a gap."""
        done = 0
        while (count := self._counts.get(done, 0)) == self._size:
            done += count
        return done + count


class _GivenUp(threading.Event):
    """Ends the reading of a thread that nobody waits for any more."""

    def check(self) -> None:
        if self.is_set():
            raise CancelledError
