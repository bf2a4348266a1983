"""Frames of instances as rows of a table: what sorting works on.

A plain instance is one frame. A multi-frame one is as many as NumberOfFrames says, each with
the values of its functional groups (PS3.3 section C.7.6.16) laid over those of the instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ..errors import DicomError, HeaderError, TooLargeError
from .keywords import tag_for
from .mosaic import mosaics_of
from .part10 import syntax_for
from .private import private_column, private_sample
from .sequences import flat_items
from .table import (
    TAGS,
    Column,
    HeaderTable,
    _swapped,
    column_of,
    decode_numbers,
    decode_text,
    numbers_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .part10 import RawHeader

__all__ = ["FrameTable", "Frames", "place_of"]

MAX_FRAMES: Final = 10_000_000
_SHARED = TAGS["SharedFunctionalGroupsSequence"][0]
_PER_FRAME = TAGS["PerFrameFunctionalGroupsSequence"][0]
_IMPLICIT: Final = "1.2.840.10008.1.2"
_WIDTH: Final = {"US": 2, "UL": 4, "FD": 8}
# What a multi-frame object calls otherwise than a plain one.
_ALIASES: Final = {
    "EchoTime": "EffectiveEchoTime",
    "InversionTime": "InversionTimes",
    "TriggerTime": "NominalCardiacTriggerDelayTime",
    "AcquisitionDateTime": "FrameAcquisitionDateTime",
    "TemporalPositionIdentifier": "TemporalPositionIndex",
}
# Further attributes that tell frames apart: keyword → (tag, VR), PS3.6 chapter 6.
_MORE: Final = {
    "ComplexImageComponent": (0x00089208, "CS"),
    "PatientPosition": (0x00185100, "CS"),
    "InPlanePhaseEncodingDirection": (0x00181312, "CS"),
    "DiffusionDirectionality": (0x00189075, "CS"),
    "DiffusionBValueXX": (0x00189602, "FD"),
    "DiffusionBValueXY": (0x00189603, "FD"),
    "DiffusionBValueXZ": (0x00189604, "FD"),
    "DiffusionBValueYY": (0x00189605, "FD"),
    "DiffusionBValueYZ": (0x00189606, "FD"),
    "DiffusionBValueZZ": (0x00189607, "FD"),
    "ImageComments": (0x00204000, "LT"),
    "InStackPositionNumber": (0x00209057, "UL"),
}


def place_of(keyword: str) -> tuple[int, str]:
    """(tag, VR) of an attribute.

    Raises:
        HeaderError: no DICOM attribute has that name.
    """
    known = TAGS.get(keyword) or _MORE.get(keyword)
    if known is not None:
        return known
    tag = tag_for(keyword)
    if tag is None:
        raise HeaderError(f"{keyword!r} is no DICOM keyword")
    from pydicom.datadict import dictionary_VR

    return tag, dictionary_VR(tag).split(" ")[0]


class Frames(Protocol):
    """Frames with their attributes as columns: all of a series, or a choice of them."""

    @property
    def instance(self) -> NDArray[np.intp]:
        """(n,) the instance of each frame."""
        ...

    @property
    def number(self) -> NDArray[np.intp]:
        """(n,) the place of each frame in its instance."""
        ...

    def __len__(self) -> int: ...

    def column(self, keyword: str) -> Column: ...

    def numbers(self, keyword: str, count: int = 1) -> NDArray[np.float64]: ...

    def texts(self, keyword: str) -> tuple[list[str], NDArray[np.intp]]: ...

    def private(self, group: int, creator: str, element: int, vr: str) -> tuple[Column, str] | None:
        """One private element of all frames and its VR; None where its creator is not there."""
        ...

    def private_sample(self, group: int, creator: str, element: int) -> bytes | None:
        """As in :func:`~.private.private_sample`."""
        ...

    def header(self, instance: int) -> RawHeader: ...


class FrameTable:
    """The frames of the instances of one series."""

    def __init__(self, instances: HeaderTable) -> None:
        self.instances = instances
        self.mosaics = mosaics_of(instances)
        counts = _frame_counts(instances)
        for index, mosaic in self.mosaics.items():
            counts[index] = mosaic.count  # each tile is a frame
        self.instance: NDArray[np.intp] = np.repeat(
            np.arange(len(instances), dtype=np.intp), counts
        )
        self.first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
        self.number: NDArray[np.intp] = (
            np.arange(len(self.instance), dtype=np.intp) - self.first[self.instance]
        )
        self._columns: dict[str, Column] = {}
        self._numbers: dict[tuple[str, int], NDArray[np.float64]] = {}
        self._grouped = _functional_groups(instances, counts)
        self._told = _tags_in(self._grouped)
        self.grouped = bool(self._grouped)
        self.multiframe = bool((counts > 1).any() or self._grouped)

    def __len__(self) -> int:
        return len(self.instance)

    def column(self, keyword: str) -> Column:
        """One attribute of all frames."""
        found = self._columns.get(keyword)
        if found is None:
            found = self._columns[keyword] = self._column(keyword)
        return found

    def _column(self, keyword: str) -> Column:
        tag, vr = place_of(keyword)
        base = self.instances.column_at(tag, vr)
        tags = [tag]
        if keyword in _ALIASES:
            tags.append(TAGS[_ALIASES[keyword]][0])
        tags = [tag for tag in tags if tag in self._told]
        if not tags:  # no functional group says it
            return base.take(self.instance) if self.multiframe else base
        values = base.take(self.instance).expand()
        for index, items in self._grouped.items():
            for frame, item in enumerate(items, int(self.first[index])):
                for own in tags:
                    if own in item:
                        values[frame] = _normal(item[own], keyword, own)
                        break
        return column_of(values)

    def numbers(self, keyword: str, count: int = 1) -> NDArray[np.float64]:
        """(n, count) numbers; NaN where a frame has fewer or none."""
        found = self._numbers.get((keyword, count))
        if found is None:
            found = numbers_of(self.column(keyword), place_of(keyword)[1], count)
            found.setflags(write=False)
            self._numbers[keyword, count] = found
        return found

    def texts(self, keyword: str) -> tuple[list[str], NDArray[np.intp]]:
        column = self.column(keyword)
        return [decode_text(value) for value in column.values], column.codes

    def private(self, group: int, creator: str, element: int, vr: str) -> tuple[Column, str] | None:
        """One private top-level element of each frame's instance, and its VR."""
        found = private_column(self.instances, group, creator, element, vr)
        if found is None or not self.multiframe:
            return found
        return found[0].take(self.instance), found[1]

    def private_sample(self, group: int, creator: str, element: int) -> bytes | None:
        """That of one of the instances."""
        return private_sample(self.instances, group, creator, element)

    def header(self, instance: int) -> RawHeader:
        return self.instances.header(instance)

    def subset(self, indices: NDArray[np.intp]) -> FrameTable:
        """Some of the frames; the table itself for as many as it has."""
        return self if len(indices) == len(self) else _FrameSubset(self, indices)


class _FrameSubset(FrameTable):
    """Some frames of a table: columns are those of the table, taken."""

    def __init__(self, frames: FrameTable, indices: NDArray[np.intp]) -> None:
        self._frames = frames
        self._indices = indices
        self.instances = frames.instances
        self.mosaics = frames.mosaics
        self.first = frames.first
        self.grouped, self.multiframe = frames.grouped, frames.multiframe
        self.instance = frames.instance[indices]
        self.number = frames.number[indices]

    def column(self, keyword: str) -> Column:
        return self._frames.column(keyword).take(self._indices)

    def numbers(self, keyword: str, count: int = 1) -> NDArray[np.float64]:
        return self._frames.numbers(keyword, count)[self._indices]

    def private(self, group: int, creator: str, element: int, vr: str) -> tuple[Column, str] | None:
        found = self._frames.private(group, creator, element, vr)
        return None if found is None else (found[0].take(self._indices), found[1])

    def subset(self, indices: NDArray[np.intp]) -> FrameTable:
        return self if len(indices) == len(self) else _FrameSubset(self, indices)


def _normal(value: bytes, keyword: str, tag: int) -> bytes:
    """A value under its alias, written as the plain attribute would be (FD → DS)."""
    own, wanted = place_of(keyword)
    if tag == own or wanted not in ("DS", "IS"):
        return value
    vr = next(vr for other, vr in TAGS.values() if other == tag)
    if vr == "FD" and len(value) >= 8:
        return repr(float(np.frombuffer(value[:8], "<f8")[0])).encode()
    if vr == "UL" and len(value) >= 4:
        return str(int(np.frombuffer(value[:4], "<u4")[0])).encode()
    return value


def _frame_counts(instances: HeaderTable) -> NDArray[np.intp]:
    found = instances.numbers("NumberOfFrames")[:, 0]
    for value in instances.column("NumberOfFrames").values:
        if decode_text(value) and not decode_numbers(value, "IS", True):
            raise DicomError("NumberOfFrames is no number")
    counts = np.where(np.isnan(found), 1, found)
    if (counts < 1).any() or (counts != np.rint(counts)).any():
        raise DicomError(f"NumberOfFrames is {counts.min():g}")
    if counts.sum() > MAX_FRAMES:
        raise TooLargeError(f"{counts.sum():.0f} frames are more than {MAX_FRAMES}")
    return counts.astype(np.intp)


def _functional_groups(
    instances: HeaderTable, counts: NDArray[np.intp]
) -> dict[int, list[dict[int, bytes]]]:
    """For each enhanced instance, the values of each frame: its own over the shared ones."""
    has = [
        _PER_FRAME in group.layout.lookup or _SHARED in group.layout.lookup
        for group in instances.groups
    ]
    found: dict[int, list[dict[int, bytes]]] = {}
    for index in range(len(instances)):
        if not has[instances.where[index, 0]]:
            continue
        header = instances.header(index)
        shared_items = _items(header, _SHARED)
        shared = shared_items[0] if shared_items else {}
        own = _items(header, _PER_FRAME)
        if own and len(own) != counts[index]:
            raise DicomError(
                f"NumberOfFrames is {counts[index]}, but the per-frame functional groups "
                f"have {len(own)} items"
            )
        # Without items of their own all frames share one dict: NumberOfFrames may be a lie.
        found[index] = [{**shared, **item} for item in own] or [shared] * int(counts[index])
    return found


def _tags_in(grouped: dict[int, list[dict[int, bytes]]]) -> set[int]:
    """What any functional group says; frames may share one dict."""
    found: set[int] = set()
    last: dict[int, bytes] = {}
    for items in grouped.values():
        for item in items:
            if item is not last:
                found.update(item)
                last = item
    return found


def _items(header: RawHeader, tag: int) -> list[dict[int, bytes]]:
    value = header.raw(tag)
    if not value:
        return []
    syntax = header.syntax
    if header.layout.vrs[header.layout.lookup[tag]] == "UN":
        syntax = syntax_for(_IMPLICIT)  # PS3.5 section 6.2.2 note 4
    items = flat_items(value, syntax)
    if syntax.little:
        return items
    widths = {tag: _WIDTH[vr] for tag, vr in TAGS.values() if vr in _WIDTH}
    return [
        {tag: _swapped(data, widths.get(tag, 1)) for tag, data in item.items()} for item in items
    ]
