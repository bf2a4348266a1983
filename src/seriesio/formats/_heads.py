"""Heads of many blobs side by side in one buffer, as lockstep wants them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ..blob_spans import Wanted, read_together
from ..dicom.lockstep import ALIGNMENT, PADDING
from ..dicom.table import HeaderGroup
from ..errors import SeriesIOError
from ..memory import fresh

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..blob import Blob, BlobReader
    from ..dicom.lockstep import Matches
    from ..dicom.part10 import Parsed

__all__ = ["Heads", "Readers", "Shelf", "lay_out"]

_SLACK: Final = 256
_NEAR: Final = 1 << 14  # sizes this near are taken to differ in the header, not in the pixels
_BUDGET: Final = 1 << 28  # bytes of one buffer
_TRANSFER_SYNTAX: Final = 0x00020010


class Readers(Protocol):
    """Where open readers of sequential blobs are kept."""

    def take_reader(self, index: int, blob: Blob) -> BlobReader: ...

    def put_back(self, index: int, blob: Blob, reader: BlobReader) -> None: ...


@dataclass(slots=True, eq=False)
class Shelf:
    """Room for the heads of blobs that come some at a time: they stand in one buffer."""

    arena: NDArray[np.uint8] = field(repr=False)
    used: int = 0

    @classmethod
    def of(cls, template: Parsed, count: int) -> Shelf | None:
        """For as many heads about as long as the template's; what is not used costs nothing."""
        each = template.header.pixel_offset + 2 * _SLACK
        try:
            return cls(_arena(min(count * each, _BUDGET)))
        except MemoryError:  # each batch has a buffer of its own then
            return None

    def take(self, size: int) -> int | None:
        """Where so many bytes may be put; None: they do not fit."""
        start = self.used
        if start + size + PADDING > self.arena.size:
            return None
        self.used += size
        return start


@dataclass(slots=True, eq=False)
class Heads:
    """The first bytes of blobs in one buffer; ``left`` are the rows nobody has taken yet.

    ``size``: the bytes of the buffer that are theirs.
    """

    arena: NDArray[np.uint8] = field(repr=False)
    size: int
    bases: NDArray[np.int64]
    ends: NDArray[np.int64]
    batch: list[tuple[int, Blob]]
    read: list[bool]
    left: list[int]

    def match(self, template: Parsed) -> tuple[HeaderGroup, list[int]] | None:
        """Take the heads that agree with a template, as one group with the blobs' indices."""
        rows = np.array([row for row in self.left if self.read[row]], np.intp)
        if not rows.size:
            return None
        matches = template.pattern.match(self.arena, self.bases[rows], self.ends[rows])
        bases = self.bases[rows[matches.rows]]
        good = _same_syntax(template, self.arena, bases, matches)
        good &= _part10(self.arena, bases)
        if not good.any():
            return None
        if not good.all():
            matches = matches.take(good)
        taken = rows[matches.rows]
        gone = set(taken.tolist())
        self.left = [row for row in self.left if row not in gone]
        group = _group(template, self.arena, self.bases[taken], matches)
        return group, [self.batch[row][0] for row in taken.tolist()]

    def pop(self) -> tuple[int, Blob, memoryview | None]:
        """Take the first head that is left: index, blob, and its bytes if they were read."""
        row = self.left.pop(0)
        index, blob = self.batch[row]
        head = self.arena.data[self.bases[row] : self.ends[row]] if self.read[row] else None
        return index, blob, head

    def compacted(self, group: HeaderGroup) -> HeaderGroup:
        """A group of these heads without those that are not its own, where that is worth it."""
        if group.arena is not self.arena:
            return group
        return group.compact() if 2 * int(group.offsets[:, -1].sum()) < self.size else group

    def fill(self, rows: range, readers: Readers) -> None:
        """Read some of the heads; ranges that do not overlap may be read side by side."""
        wanted = {row: one for row in rows if (one := self._wanted(row, readers)) is not None}
        try:
            for row, whole in zip(wanted, read_together(list(wanted.values())), strict=True):
                self.read[row] = whole
        finally:
            for row, one in wanted.items():
                if one.reader is not None:
                    readers.put_back(self.batch[row][0], one.blob, one.reader)

    def _wanted(self, row: int, readers: Readers) -> Wanted | None:
        """A head that is to be read; None where its blob cannot be opened: the walk says why."""
        index, blob = self.batch[row]
        try:
            reader = readers.take_reader(index, blob) if blob.sequential else None
        except SeriesIOError:
            return None
        return Wanted(blob, reader, self.arena.data[self.bases.item(row) : self.ends.item(row)])


def lay_out(
    template: Parsed, pending: list[tuple[int, Blob]], shelf: Shelf | None = None
) -> tuple[Heads, list[tuple[int, Blob]]]:
    """Room for as many heads as fit into one buffer, by the template's length; what is left."""
    lengths = _expected(template, [blob.size for _, blob in pending])
    rooms = (lengths + ALIGNMENT - 1) & -ALIGNMENT
    ends = np.cumsum(rooms)
    count = max(int(np.searchsorted(ends, _BUDGET, "right")), 1)
    bases = (ends - rooms)[:count]
    size, batch = int(ends[count - 1]), pending[:count]
    start = None if shelf is None else shelf.take(size)
    if shelf is None or start is None:
        arena = _arena(size)
    else:
        arena, bases = shelf.arena, bases + start
    ends = bases + lengths[:count]
    heads = Heads(arena, size, bases, ends, batch, [False] * len(batch), list(range(len(batch))))
    return heads, pending[count:]


def _arena(size: int) -> NDArray[np.uint8]:
    arena = fresh(size + PADDING)
    arena[size:] = 0
    return arena


def _expected(template: Parsed, sizes: list[int]) -> NDArray[np.int64]:
    """How many bytes of each blob to read for its header, by the template's."""
    head, each = template.header.pixel_offset, np.array(sizes, np.int64)
    grown = each - template.size
    grown[np.abs(grown) > _NEAR] = 0
    expected: NDArray[np.int64] = np.minimum(each, head + np.maximum(grown, 0) + _SLACK)
    return expected


def _part10(arena: NDArray[np.uint8], bases: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for heads with the mark of a Part 10 file behind the preamble (PS3.10 section 7.1)."""
    marks = arena.take(bases[:, None] + np.arange(128, 132), mode="clip")
    same: NDArray[np.bool_] = (marks == np.frombuffer(b"DICM", np.uint8)).all(axis=1)
    return same


def _same_syntax(
    template: Parsed, arena: NDArray[np.uint8], bases: NDArray[np.int64], matches: Matches
) -> NDArray[np.bool_]:
    """True for the rows whose transfer syntax is the template's."""
    count = _meta_count(template)
    tags = template.header.layout.tags[:count]
    same = np.ones(len(matches.rows), bool)
    for place in (place for place, tag in enumerate(tags) if tag == _TRANSFER_SYNTAX):
        start = int(template.header.offsets[place])
        length = int(template.header.lengths[place])
        wanted = np.frombuffer(template.header.data[start : start + length], np.uint8)
        same &= matches.lengths[:, place] == length
        places = (bases + matches.offsets[:, place])[:, None] + np.arange(length)
        same &= (arena.take(places, mode="clip") == wanted).all(axis=1)
    return same


def _meta_count(template: Parsed) -> int:
    """How many elements the file meta information has."""
    return int(np.searchsorted(template.header.starts, template.header.meta_end))


def _group(
    template: Parsed, arena: NDArray[np.uint8], bases: NDArray[np.int64], matches: Matches
) -> HeaderGroup:
    header = template.header
    return HeaderGroup(
        arena,
        bases,
        header.layout,
        matches.starts,
        matches.offsets,
        matches.lengths,
        header.syntax,
        matches.starts[:, _meta_count(template)].copy(),
    )
