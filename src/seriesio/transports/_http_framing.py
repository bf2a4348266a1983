"""Where the data of a body lie in the bytes of a connection (RFC 9112): pure, nothing is copied."""

from __future__ import annotations

import re
from typing import Final, Protocol

__all__ = ["Chunked", "Framing", "FramingError", "Sized"]

_LINE: Final = 512  # bytes of a chunk's line, with its extensions
_FIRST: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
_NEXT: Final = re.compile(rb"\r\n" + _FIRST.pattern)


class FramingError(Exception):
    """Bytes that are no body."""


class Framing(Protocol):
    """How a body is told from what is around it."""

    ended: bool

    def data(self, view: memoryview) -> tuple[list[memoryview], bytes]:
        """The data in the next bytes; and those of them that are left to whoever reads on.

        Raises:
            FramingError: they are no body.
        """
        ...


class Sized:
    """A body of ``length`` bytes, behind which nobody reads on (section 6.2)."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.ended = not length

    def data(self, view: memoryview) -> tuple[list[memoryview], bytes]:
        part = view[: self._left]
        self._left -= part.nbytes
        self.ended = not self._left
        return [part], b""


class Chunked:
    """A body in chunks, up to the last, empty one, which is left where it is (section 7.1)."""

    def __init__(self) -> None:
        self._left = 0
        self._line = b""  # what has come of a chunk's line
        self._pattern = _FIRST
        self.ended = False

    def data(self, view: memoryview) -> tuple[list[memoryview], bytes]:
        parts: list[memoryview] = []
        at = 0
        while at < view.nbytes:
            if self._left:
                parts.append(view[at : at + self._left])
                at += parts[-1].nbytes
                self._left -= parts[-1].nbytes
                continue
            line = self._line + bytes(view[at : at + _LINE])
            found = self._pattern.match(line)
            if found is None:
                at = self._unfinished(line, view.nbytes)
                continue
            behind = at + found.end() - len(self._line)
            self._left, self._line, self._pattern = int(found[1], 16), b"", _NEXT
            if not self._left:
                self.ended = True
                return parts, line[found.start(1) : found.end()] + bytes(view[behind:])
            at = behind
        return parts, b""

    def _unfinished(self, line: bytes, end: int) -> int:
        """Keep the beginning of a line whose end is still to come; the place to go on from."""
        if len(line) >= _LINE:
            raise FramingError("a chunk has no size")
        self._line = line
        return end
