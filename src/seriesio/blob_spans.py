"""Spans of many files read with one call; blocking, for worker threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from .blob import Blob, BlobReader, FileBlob, read_at
from .errors import SeriesIOError
from .native import Span, read

__all__ = ["SpanReader", "Wanted", "read_together"]


class SpanReader(ABC):
    """A reader whose bytes stand in a file as they are, so that others may read them for it.

    A base class and no protocol: every blob is asked whether its reader is one.
    """

    @abstractmethod
    def span(self, view: memoryview, offset: int) -> Span | None:
        """Where so many bytes stand from ``offset`` on; None: it has to read them itself."""

    @abstractmethod
    def passed(self, end: int, crc: int) -> None:
        """What it gave the span of was read, up to ``end``, and the CRC is this now.

        Raises:
            TransportError: they are not the bytes that were announced.
        """


class Wanted(NamedTuple):
    """Bytes of a blob from ``offset`` on, and what they are to fill.

    ``reader``: that of a sequential blob, None where it is opened for this alone.
    """

    blob: Blob
    reader: BlobReader | None
    view: memoryview
    offset: int = 0

    def span(self) -> Span | None:
        """Where they stand, if that is in a file, all of them."""
        blob, end = self.blob, self.offset + self.view.nbytes
        if self.offset < 0 or end > blob.size:
            return None
        if isinstance(blob, FileBlob):
            return blob.path, blob.offset + self.offset, self.view, -1, blob.modified
        if isinstance(self.reader, SpanReader):
            return self.reader.span(self.view, self.offset)
        return None

    def passed(self, crc: int) -> None:
        """Its span was read.

        Raises:
            TransportError: they are not the bytes that were announced.
        """
        if isinstance(self.reader, SpanReader):
            self.reader.passed(self.offset + self.view.nbytes, crc)

    def alone(self) -> int:
        """Read them alone; how many there were.

        Raises:
            TransportError: the blob cannot be opened or read.
        """
        if self.reader is None:
            return read_at(self.blob, self.view, self.offset)
        return self.reader.readinto(self.view, self.offset)


def read_together(wanted: Sequence[Wanted]) -> list[bool]:
    """Fill what is wanted, with one call as far as that can be; which of it was filled."""
    spans = [one.span() for one in wanted]
    found = iter(read([span for span in spans if span is not None]) or [])
    return [
        _filled(one, None if span is None else next(found, None))
        for one, span in zip(wanted, spans, strict=True)
    ]


def _filled(one: Wanted, found: tuple[int, int] | None) -> bool:
    try:
        if found is None or found[0] != one.view.nbytes:
            return one.alone() == one.view.nbytes
        one.passed(found[1])
    except SeriesIOError:
        return False
    return True
