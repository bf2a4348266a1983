"""Scan: read the heads of blobs and index their elements; blocking, for worker threads.

One head is walked alone and tells how long the others are; those are read into one buffer and
walked in lockstep. Whoever differs is walked alone, and the next ones are held against it too.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..blob import read_fully
from ..dicom.part10 import MoreNeeded, NoDicomError, Parsed, parse
from ..dicom.table import HeaderGroup
from ..errors import SeriesIOError, TooLargeError, TruncatedError
from ._heads import Heads, Shelf, lay_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..blob import Blob, BlobReader
    from ..dicom.part10 import RawHeader

__all__ = ["Batch", "Guide", "Reading", "Scanned", "begin", "finish", "scan_batch"]

_FIRST_READ: Final = 1 << 15
_SLACK: Final = 256
_TEMPLATES: Final = 16  # of one buffer of heads
_ALONE: Final = 256  # blobs that one hop to a thread walks without finding a template
_KEPT_READERS: Final = 1024  # of sequential blobs, some 50 kB each

_ROWS, _BITS_ALLOCATED, _SOP_CLASS = 0x00280010, 0x00280100, 0x00080016
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
# CR, DX, mammography, CT, ultrasound, MR, secondary capture, XA, RF, NM, PET (PS3.4 table B.5-1).
_IMAGES: Final = frozenset(
    _STORAGE + end
    for end in (
        *("1", "1.1", "1.2", "2", "2.1", "3.1", "6.1", "4", "4.1", "7"),
        *("12.1", "12.2", "20", "128", "130"),
    )
)


@dataclass(slots=True, eq=False)
class Scanned:
    """What a batch has found; indices are those of the batch's blobs."""

    groups: list[tuple[HeaderGroup, list[int]]] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    failed: list[tuple[int, SeriesIOError]] = field(default_factory=list)
    readers: dict[int, BlobReader] = field(default_factory=dict)
    plain: dict[int, memoryview] = field(default_factory=dict)  # inflated deflated datasets

    def close(self) -> None:
        for reader in self.readers.values():
            reader.close()
        self.readers.clear()

    def take_reader(self, index: int, blob: Blob) -> BlobReader:
        return self.readers.pop(index, None) or blob.open()

    def put_back(self, index: int, blob: Blob, reader: BlobReader) -> None:
        """Keep the reader of a sequential blob: its second half need not be unpacked anew."""
        if blob.sequential and len(self.readers) < _KEPT_READERS:
            self.readers[index] = reader
        else:
            reader.close()


Batch = list[tuple[int, "Blob"]]


@dataclass(slots=True, eq=False)
class Guide:
    """What one batch of the same blobs teaches about the next.

    Attributes:
        count: how many blobs there will be, in all batches.
    """

    count: int
    template: Parsed | None = None
    shelf: Shelf | None = None

    def learn(self, template: Parsed) -> None:
        if self.template is None:
            self.template, self.shelf = template, Shelf.of(template, self.count)


def scan_batch(batch: Batch, guide: Guide | None = None) -> Scanned:
    """Scan blobs; errors of single blobs are collected, not raised."""
    found = Scanned()
    try:
        pending = batch
        while pending:
            reading = begin(pending, found, guide)
            reading.fill(range(len(reading)))
            pending = finish(reading)
    except BaseException:
        found.close()
        raise
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Heads that are to be read and held against a template; none where none was found."""

    template: Parsed | None
    heads: Heads | None
    rest: Batch
    found: Scanned

    def __len__(self) -> int:
        return 0 if self.heads is None else len(self.heads.batch)

    def fill(self, rows: range) -> None:
        if self.heads is not None:
            self.heads.fill(rows, self.found)


def begin(pending: Batch, found: Scanned, guide: Guide | None = None) -> Reading:
    """Walk blobs alone up to one that can be a template, and lay out room for the others."""
    if guide is not None and guide.template is not None:
        template, rest = guide.template, pending
    else:
        known, rest = _first_header(pending, found)
        if known is None or not rest:
            return Reading(None, None, rest, found)
        template = known
        if guide is not None:
            guide.learn(template)
    heads, rest = lay_out(template, rest, None if guide is None else guide.shelf)
    return Reading(template, heads, rest, found)


def finish(reading: Reading) -> Batch:
    """Walk the heads that were read, mostly in Python; what is still to be scanned."""
    found, heads, template = reading.found, reading.heads, reading.template
    if heads is not None and template is not None:
        _walk_all(heads, template, found)
        found.groups[:] = [(heads.compacted(group), rows) for group, rows in found.groups]
    return reading.rest


def _first_header(pending: Batch, found: Scanned) -> tuple[Parsed | None, Batch]:
    """Walk blobs alone up to the first that can be a template; what is left of them.

    That is the template's own blob, too, if others follow: it shall be in a group with them.
    """
    for place, (index, blob) in enumerate(pending[:_ALONE]):
        parsed = _scan_alone(index, blob, found)
        if parsed is not None and _usable(parsed):
            if blob.sequential or place + 1 == len(pending):
                return parsed, pending[place + 1 :]
            found.groups.pop()
            return parsed, pending[place:]
    return None, pending[_ALONE:]


def _usable(template: Parsed) -> bool:
    header = template.header
    return header.syntax.little and not header.syntax.deflated and header.meta_end > 0


# --- one at a time ----------------------------------------------------------------------------


def _scan_alone(index: int, blob: Blob, found: Scanned) -> Parsed | None:
    """Walk one blob's header; notes what it is, and returns it if it is an image's."""
    if blob.size == 0:
        found.skipped.append((index, "empty"))
        return None
    return _noted(index, blob, found, lambda: _read_and_parse(index, blob, found))


def _noted(index: int, blob: Blob, found: Scanned, parsing: Callable[[], Parsed]) -> Parsed | None:
    """Note what comes of parsing a blob; its header, if it is an image's."""
    try:
        parsed = parsing()
        _check_image(parsed.header, blob)
    except NoDicomError:
        found.skipped.append((index, "not DICOM"))
        return None
    except SeriesIOError as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            found.skipped.append((index, "unreadable"))
        else:
            found.failed.append((index, error))
        return None
    if not parsed.header.has_pixels:
        found.skipped.append((index, "no image"))
        return None
    if parsed.deflated is not None:
        found.plain[index] = parsed.deflated
    else:
        # A copy of just the header: the buffer it was read into is larger.
        parsed.header.data = memoryview(bytes(parsed.header.data))
    found.groups.append((HeaderGroup.single(parsed.header), [index]))
    return parsed


def _check_image(header: RawHeader, blob: Blob) -> None:
    """Raise if a file that is an image by its header has lost its pixels."""
    if header.has_pixels:
        return
    sop_class = bytes(header.raw(_SOP_CLASS) or b"").strip(b"\0 ").decode("latin-1")
    lookup = header.layout.lookup
    if sop_class in _IMAGES or (_ROWS in lookup and _BITS_ALLOCATED in lookup):
        raise TruncatedError(
            f"{blob.name}: an image without pixel data: its header ends at byte {blob.size}"
        )


def _read_and_parse(index: int, blob: Blob, found: Scanned) -> Parsed:
    reader = found.take_reader(index, blob)
    try:
        return _parse_growing(reader, blob)
    finally:
        found.put_back(index, blob, reader)


def _parse_growing(reader: BlobReader, blob: Blob) -> Parsed:
    """Read as much of a blob as its header takes, and walk it."""
    have = min(blob.size, _FIRST_READ)
    data = _buffer(have, blob)
    read_fully(reader, data, 0, blob.name)
    while True:
        try:
            return parse(data, blob.size, blob.name)
        except MoreNeeded as more:
            wanted = min(blob.size, max(more.count + _SLACK, 4 * have))
        grown = _buffer(wanted, blob)
        grown[:have] = data
        read_fully(reader, grown[have:], have, blob.name)
        data, have = grown, wanted


def _buffer(count: int, blob: Blob) -> memoryview:
    try:
        return memoryview(bytearray(count))
    except MemoryError:
        raise TooLargeError(f"{blob.name}: no memory for a header of {count} bytes") from None


# --- many at once -----------------------------------------------------------------------------


def _walk_all(heads: Heads, template: Parsed, found: Scanned) -> None:
    """Match heads with a template, those that differ with others, the rest with none."""
    current: Parsed | None = template
    for _ in range(_TEMPLATES):
        if current is None:
            break
        matched = heads.match(current)
        if matched is not None:
            found.groups.append(matched)
        current = _next_template(heads, found)
    while heads.left:
        _scan_head(heads, found)


def _next_template(heads: Heads, found: Scanned) -> Parsed | None:
    """Walk heads that match no template so far, up to the first that can be one."""
    while heads.left:
        parsed = _scan_head(heads, found)
        if parsed is not None and heads.left and _usable(parsed):
            return parsed
    return None


def _scan_head(heads: Heads, found: Scanned) -> Parsed | None:
    """Walk the first head that is left, alone; where it is too short, read it anew."""
    index, blob, head = heads.pop()
    if blob.size == 0 or head is None:
        return _scan_alone(index, blob, found)
    try:
        return _noted(index, blob, found, lambda: parse(head, blob.size, blob.name))
    except MoreNeeded:
        return _scan_alone(index, blob, found)
