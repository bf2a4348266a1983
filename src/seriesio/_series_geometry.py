"""The geometry of a series and its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._series_volume import SeriesVolume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .dicom.sorting import Axis

__all__ = ["SeriesGeometry"]


class SeriesGeometry(SeriesVolume):
    """Where the voxels of a volume are, and what its axes stand for."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(dz, dy, dx) in mm: from slice to slice, row to row, column to column.

        dz is the length of the step from a slice's first voxel to the next one's: along the
        tilt, where a gantry was tilted. ``sliceLocations`` are distances along the normal.
        """
        return self._volume.geometry.spacing

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4): (column, row, slice, 1) to (x, y, z, 1) in mm, patient coordinates (LPS).

        PS3.3 section C.7.6.2.1.1; sheared where a gantry was tilted.
        """
        return self._volume.geometry.affine

    @property
    def transformationMatrix(self) -> NDArray[np.float64]:
        """(4, 4): (slice, row, column, 1) to (z, y, x, 1) in mm, the affine in reversed order."""
        order = [2, 1, 0, 3]
        return self.affine[np.ix_(order, order)]

    @property
    def orientation(self) -> NDArray[np.float64]:
        """(6,) direction cosines of rows, then of columns (Image Orientation (Patient))."""
        return self._volume.geometry.orientation.copy()

    @property
    def imagePositions(self) -> NDArray[np.float64]:
        """(slices, 3) x, y, z of each slice's first voxel, in mm."""
        return self._volume.geometry.positions.copy()

    @property
    def sliceLocations(self) -> NDArray[np.float64]:
        """(slices,) distances along the normal, in mm."""
        return self._volume.geometry.slice_locations

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One for each dimension: name, unit and values."""
        return self._volume.axes

    @property
    def tags(self) -> dict[str, NDArray[Any]]:
        """The values of the axes before the slices, by name: ``{"time": …}``.

        (n,) numbers; (n, 3) of "bvector", (n, 4) of "dti" (b, x, y, z); (n,) texts of "phase".
        """
        leading = self._volume.axes[: self._volume.leading]
        return {axis.name: axis.values for axis in leading if axis.name != "slice"}

    @property
    def timeline(self) -> NDArray[np.float64]:
        """(times,) seconds from the first; one zero where there is no axis of time.

        Where files tell the order of the volumes and no times, ``unit`` of the axis is empty: then
        they are counted.
        """
        for name, scale in (("time", 1.0), ("triggertime", 1e-3)):
            if name in self.tags:
                values = self.tags[name]
                return np.asarray((values - values[0]) * scale)
        return np.zeros(1)

    @property
    def bvalues(self) -> NDArray[np.float64]:
        """(n,) in s/mm² of the n volumes, in C order of the axes before the slices.

        Those of the axis "b" or "dti", else what the header says; empty where nothing does.
        """
        from .dicom.diffusion import bvalues

        found = bvalues(self._volume)
        return np.empty(0) if found is None else found

    @property
    def bvectors(self) -> NDArray[np.float64]:
        """(n, 3) unit vectors x, y, z in patient coordinates (LPS), as :attr:`bvalues`.

        Zeros where a volume has no direction; empty where nothing says so of any.
        """
        from .dicom.diffusion import bvectors

        found = bvectors(self._volume)
        return np.empty((0, 3)) if found is None else found
