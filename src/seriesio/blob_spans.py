"""Spans of many files read with one call; blocking, for worker threads."""

from __future__ import annotations

from collections.abc import Sequence

from .blob import Blob, FileBlob
from .native import Span, read

__all__ = ["file_span", "read_spans"]


def file_span(blob: Blob, view: memoryview, offset: int) -> Span | None:
    """Where a blob's bytes from ``offset`` on stand, if that is in a file, all of them."""
    if not isinstance(blob, FileBlob) or not 0 <= offset <= blob.size - view.nbytes:
        return None
    return blob.path, blob.offset + offset, view


def read_spans(blobs: Sequence[Blob], views: Sequence[memoryview]) -> list[bool]:
    """Fill a view from the start of each blob; which of them were filled.

    What is not may be no file, or cannot be opened or read: reading it alone says why.
    """
    spans = [file_span(blob, view, 0) for blob, view in zip(blobs, views, strict=True)]
    filled = iter(read([span for span in spans if span is not None]) or [])
    return [
        span is not None and next(filled, -1) == view.nbytes
        for span, view in zip(spans, views, strict=True)
    ]
