"""A volume: an array with its header, its geometry, and how its voxels stood in files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report import Report
from .fingerprint import fingerprint
from .unread import Unread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .geometry import Geometry
    from .header import Header
    from .pixels import PixelLayout
    from .sorting import Axis

__all__ = ["Stored", "Volume"]


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """How frames stood in instances: what writing the voxels back needs.

    Attributes:
        instance, frame: (n,) for each slot, the instance (as the header counts) and the frame.
        layouts: of each instance's pixels.
        slope, intercept: (n,) of each slot.
        prints: (n,) fingerprints of the slots as they were read; None for computed voxels.
        whole: every frame of every instance has a slot.
        converted: YBR and palette colours were made RGB.
    """

    instance: NDArray[np.intp]
    frame: NDArray[np.intp]
    layouts: tuple[PixelLayout, ...]
    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    prints: NDArray[np.uint64] | None
    whole: bool = True
    converted: bool = True

    @classmethod
    def nowhere(cls) -> Stored:
        """That of voxels which never stood in a DICOM file: no slots, no instances."""
        none, numbers = np.empty(0, np.intp), np.empty(0)
        return cls(none, none, (), numbers, numbers, None)

    def subset(self, slots: slice | NDArray[np.intp]) -> tuple[Stored, Sequence[int]]:
        """That of some slots, and the instances that have them (in their new order)."""
        if isinstance(slots, slice) and self.whole and len(self.layouts) == len(self.instance):
            return self._run(slots)
        instances = self.instance[slots]
        _, first = np.unique(instances, return_index=True)
        kept = instances[np.sort(first)]
        place = np.full(len(self.layouts), -1, np.intp)
        place[kept] = np.arange(len(kept))
        counts = np.bincount(place[instances], minlength=len(kept))
        frames = np.array([self.layouts[i].frames for i in kept.tolist()])
        return (
            Stored(
                place[instances],
                self.frame[slots],
                tuple(self.layouts[i] for i in kept.tolist()),
                self.slope[slots],
                self.intercept[slots],
                None if self.prints is None else self.prints[slots],
                bool((counts == frames).all()),
                self.converted,
            ),
            kept.tolist(),
        )

    def computed(self) -> Stored:
        """The same of voxels that were never read."""
        return self if self.prints is None else replace(self, prints=None)

    def _run(self, slots: slice) -> tuple[Stored, range]:
        """A run of slots, of instances that have one each: the same, without counting."""
        kept = range(len(self.layouts))[slots]
        return (
            Stored(
                np.arange(len(kept)),
                self.frame[slots],
                self.layouts[slots],
                self.slope[slots],
                self.intercept[slots],
                None if self.prints is None else self.prints[slots],
                True,
                self.converted,
            ),
            kept,
        )


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Volume:
    """The value that formats make and write: array, header, geometry, axes, and its past.

    Attributes:
        array: the voxels; leading axes, then row, column (and rgb).
        header: of the instances, in the order of the slots.
        geometry: where the slices are.
        axes: one for each dimension of the array.
        stored: how the voxels stood in files.
        report: what happened while it was read.
        moved: rows or columns were cut, thinned out or flipped, so that instances no longer lie
            where their headers say. Left-out slices move none of those that stay.
    """

    array: NDArray[Any] = field(repr=False)
    header: Header
    geometry: Geometry
    axes: tuple[Axis, ...]
    stored: Stored
    report: Report = field(default_factory=Report)
    moved: bool = False

    def __post_init__(self) -> None:
        self.header.attach(self)

    def refresh(self, axes: tuple[Axis, ...]) -> None:
        """Axes with other values: what the header tells when attributes of theirs are set."""
        object.__setattr__(self, "axes", axes)

    @property
    def leading(self) -> int:
        """How many axes come before row and column."""
        return [axis.name for axis in self.axes].index("row")

    @property
    def rows_and_columns(self) -> tuple[int, ...]:
        """(rows, columns)"""
        return self.array.shape[self.leading : self.leading + 2]

    @property
    def slots(self) -> NDArray[Any]:
        """(n, rows, columns[, 3]) the frames one after the other; a copy unless contiguous."""
        flat: NDArray[Any] = self.array.reshape(-1, *self.array.shape[self.leading :])
        return flat

    def slot(self, place: int) -> NDArray[Any]:
        """(rows, columns[, 3]) one frame, in C order of the leading axes: a view."""
        leading = self.array.shape[: self.leading]
        found: NDArray[Any] = self.array[np.unravel_index(place, leading)]
        return found

    def prints(self) -> NDArray[np.uint64]:
        """(n,) the fingerprints of the slots as they are now."""
        count = len(self.stored.instance)
        if isinstance(self.array, Unread):
            return np.zeros(count, np.uint64)
        found = (fingerprint(np.ascontiguousarray(self.slot(place))) for place in range(count))
        return np.fromiter(found, np.uint64, count)

    def contents(self, prints: NDArray[np.uint64]) -> list[tuple[int, ...]]:
        """What tells the pixels of each instance, of the prints of all slots."""
        found: list[list[int]] = [[] for _ in self.stored.layouts]
        order = np.lexsort((self.stored.frame, self.stored.instance))
        owners = self.stored.instance[order].tolist()
        for owner, value in zip(owners, prints[order].tolist(), strict=True):
            found[owner].append(value)
        return list(map(tuple, found))

    def with_array(self, array: NDArray[Any]) -> Volume:
        """Computed voxels in the same place, under new UIDs."""
        header = self.header.copy()
        header.renew_uids()
        return replace(self, array=array, header=header, stored=self.stored.computed())
