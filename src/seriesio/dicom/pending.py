"""Volumes that are made when somebody asks: until then, voxels and what the rest will be made of.

Most parts and results are only computed with. Header, axes, geometry and new UIDs of each cost
some ten times what its view of the voxels does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .indexing import parse, take
from .sources import Origin, with_sources
from .volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..report import Report
    from .geometry import Geometry
    from .header import Header
    from .sorting import Axis
    from .volume import Stored

__all__ = ["Computed", "Part", "Past", "origin_of", "part_of"]


class Past(NamedTuple):
    """All of a volume but its voxels, as it was at one moment; nobody changes this header."""

    header: Header
    geometry: Geometry
    axes: tuple[Axis, ...]
    stored: Stored
    report: Report
    moved: bool

    @classmethod
    def of(cls, volume: Volume) -> Past:
        """What a volume is now; what is done to its header later is not seen."""
        return cls(
            volume.header.copy(),
            volume.geometry,
            volume.axes,
            volume.stored,
            volume.report,
            volume.moved,
        )

    def volume(self, array: NDArray[Any]) -> Volume:
        """The volume with these voxels, and a header of its own."""
        return Volume(array, self.header.copy(), *self[1:])


class Computed(NamedTuple):
    """Computed voxels in the place of a volume, and the origins of its other operands."""

    array: NDArray[Any]
    past: Past
    others: tuple[Origin, ...] = ()

    def volume(self) -> Volume:
        made = self.past.volume(self.array).with_array(self.array)
        if self.others and len(made.header):
            shape = made.array.shape[: made.leading]
            others = [(other, other.slots(shape)) for other in self.others]
            made.header.computed_from(with_sources(made.header.instances, made.stored, others))
        return made


def origin_of(place: Volume | Past, array: NDArray[Any]) -> Origin:
    """What the voxels of an operand were read from."""
    leading = [axis.name for axis in place.axes].index("row")
    return Origin(place.header.instances, place.stored, array.shape[:leading])


class Part(NamedTuple):
    """A view on some voxels of a volume, by an index that leaves them in place."""

    array: NDArray[Any]
    past: Past
    whole: NDArray[Any]
    parts: tuple[Any, ...]

    def volume(self) -> Volume:
        found = take(self.past.volume(self.whole), self.parts)
        assert found is not None  # part_of has looked
        return found


def part_of(volume: Volume, index: Any) -> Part | Volume | None:
    """As :func:`~seriesio.dicom.indexing.take`; a view is a Part, a copy a Volume at once."""
    parts = parse(index, volume)
    if parts is None:
        return None
    if any(isinstance(part, np.ndarray) for part in parts):
        return take(volume, index)  # a Part would keep all of the voxels
    found = tuple(parts)
    array = volume.array[found]
    return Part(array, Past.of(volume), volume.array, found) if array.size else None
