"""Where voxels are: positions, normals, spacing, affine, gaps and tilt.

Coordinates are millimetres in the patient-based system of PS3.3 section C.7.6.2.1.1: x to the
left, y to the back, z to the head (LPS).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import AmbiguousSeriesError, InconsistentSeriesError
from .positions import checked_numbers, frame_positions, most_common, unit_normal
from .stacks import cosine_tolerance, orientation_stacks, stacks_told
from .table import decode_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Frames, FrameTable

__all__ = ["Geometry", "Stack", "find_stack"]

POSITION_TOLERANCE: Final = 1e-2  # mm: positions nearer than this along the normal are one
SHIFT_TOLERANCE: Final = 1.0  # mm, in the plane, between the frames of a slice
_ROUNDED: Final = 1e-4  # cosines that are off by more are brought to unit length
_SPACING_LIMIT: Final = 1e4  # mm between two pixels
_AXIAL: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """The place in space of a stack of slices.

    Attributes:
        positions: (slices, 3) x, y, z of the centre of each slice's first voxel, in mm.
        orientation: (6,) direction cosines of a row, then of a column (Image Orientation
            (Patient), PS3.3 section C.7.6.2.1.1).
        pixel_spacing: (dy, dx) in mm.
        thickness: distance to the next slice where there is only one, in mm.
        known: False if the files say nothing of positions and these are made up.
    """

    positions: NDArray[np.float64]
    orientation: NDArray[np.float64]
    pixel_spacing: tuple[float, float]
    thickness: float
    known: bool = True

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit vector, rows × columns."""
        return unit_normal(self.orientation)

    @property
    def step(self) -> NDArray[np.float64]:
        """(3,) mean way from one slice to the next, in mm; not along the normal under tilt."""
        if len(self.positions) > 1:
            whole = self.positions[-1] - self.positions[0]
            return np.asarray(whole / (len(self.positions) - 1))
        return self.normal * self.thickness

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(dz, dy, dx) in mm: the lengths of the steps between neighbouring voxels."""
        return (float(np.linalg.norm(self.step)), *self.pixel_spacing)

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4): (column, row, slice, 1) to (x, y, z, 1) in mm, LPS."""
        matrix = np.eye(4)
        dy, dx = self.pixel_spacing
        matrix[:3, 0] = self.orientation[:3] * dx
        matrix[:3, 1] = self.orientation[3:] * dy
        matrix[:3, 2] = self.step
        matrix[:3, 3] = self.positions[0]
        return matrix

    @property
    def slice_locations(self) -> NDArray[np.float64]:
        """(slices,) distances from the origin along the normal, in mm."""
        locations: NDArray[np.float64] = self.positions @ self.normal
        return locations

    @property
    def deviation(self) -> float:
        """How far, in mm, a slice is from where the affine puts it, at the most."""
        steps = np.arange(len(self.positions))[:, None] * self.step
        away = np.linalg.norm(self.positions[0] + steps - self.positions, axis=1)
        return float(away.max(initial=0.0))

    @property
    def wander(self) -> float:
        """How far, in mm, a slice lies beside the straight line from the first to the last."""
        locations = self.slice_locations
        if len(locations) < 3 or locations[-1] == locations[0]:
            return 0.0
        parts = (locations - locations[0]) / (locations[-1] - locations[0])
        line = self.positions[0] + parts[:, None] * (self.positions[-1] - self.positions[0])
        return float(np.linalg.norm(self.positions - line, axis=1).max())

    @property
    def tilt(self) -> float:
        """The angle between the way of the stack and the normal, in degrees."""
        step = self.step
        cosine = abs(float(step @ self.normal)) / max(float(np.linalg.norm(step)), 1e-30)
        return float(np.degrees(np.arccos(min(cosine, 1.0))))


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Frames with one orientation: the slice that each belongs to, and the geometry.

    Attributes:
        slices: (n,) slice index of each frame, ascending along the normal.
        geometry: of the slices.
        thicknesses: (slices,) Slice Thickness in mm, NaN where it is not told.
    """

    slices: NDArray[np.intp]
    geometry: Geometry
    thicknesses: NDArray[np.float64]


def find_stack(
    frames: FrameTable,
    *,
    slice_tolerance: float | None = None,
    dir_cosine_tolerance: float | None = None,
    by_location: bool = False,
) -> Stack:
    """Cluster the positions of frames along their common normal.

    Args:
        frames: of one orientation.
        slice_tolerance: mm along the normal; positions that are nearer are one.
        dir_cosine_tolerance: how much direction cosines may differ.
        by_location: order the slices by Slice Location instead.

    Raises:
        AmbiguousSeriesError: the frames have several orientations.
        DicomError: positions, orientations or spacings that are no numbers.
        InconsistentSeriesError: some have a position and others none, or the spacing differs.
    """
    spacing = _pixel_spacing(frames)
    orientations = checked_numbers(frames, "ImageOrientationPatient", 6)
    placed = checked_numbers(frames, "ImagePositionPatient", 3)
    without = np.isnan(placed[:, 0]) | np.isnan(orientations[:, 0])
    if without.all():
        return _unplaced(frames, spacing)
    if without.any():
        raise InconsistentSeriesError(
            f"{int(without.sum())} of {len(frames)} frames have no position or orientation"
        )
    orientation = _one_orientation(frames, orientations, cosine_tolerance(dir_cosine_tolerance))
    positions = frame_positions(frames, placed, orientation, spacing)
    if slice_tolerance is None:
        slice_tolerance = min(POSITION_TOLERANCE, 0.1 * min(spacing))  # micro-CT: tiny voxels
    slices = _cluster(positions @ unit_normal(orientation), slice_tolerance)
    if by_location:
        slices = _by_location(frames, slices, slice_tolerance)
    first = _first_of_each(slices, positions)
    _check_shifts(positions, slices, first)
    thicknesses = frames.numbers("SliceThickness")[:, 0]
    geometry = Geometry(positions[first], orientation, spacing, _thickness(frames))
    return Stack(slices, geometry, thicknesses[first])


def _cluster(distances: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """Number the clusters of distances, ascending; a gap beyond the tolerance parts two."""
    order = np.argsort(distances, kind="stable")
    parts = np.diff(distances[order]) > tolerance
    slices = np.empty(len(distances), np.intp)
    slices[order] = np.concatenate([[0], np.cumsum(parts)])
    return slices


def _by_location(
    frames: FrameTable, slices: NDArray[np.intp], tolerance: float
) -> NDArray[np.intp]:
    """The same slices in the order of their Slice Locations (PS3.3 section C.7.6.2.1.2)."""
    locations = checked_numbers(frames, "SliceLocation")[:, 0]
    if np.isnan(locations).any():
        raise InconsistentSeriesError(
            f"{int(np.isnan(locations).sum())} of {len(frames)} frames have no SliceLocation: "
            "sort_on_slice_location is not possible"
        )
    found = _cluster(locations, tolerance)
    if len(np.unique(found * (slices.max() + 1) + slices)) != slices.max() + 1 or (
        found.max() != slices.max()
    ):
        raise InconsistentSeriesError(
            f"{found.max() + 1} different SliceLocations do not stand for "
            f"{slices.max() + 1} positions: sort_on_slice_location is not possible"
        )
    return found


def _first_of_each(slices: NDArray[np.intp], positions: NDArray[np.float64]) -> NDArray[np.intp]:
    """A frame of each slice: the one with the smallest coordinates, whatever came first."""
    order = np.lexsort((*positions.T, slices))
    return np.asarray(order[np.unique(slices[order], return_index=True)[1]])


def _check_shifts(
    positions: NDArray[np.float64], slices: NDArray[np.intp], first: NDArray[np.intp]
) -> None:
    """Frames of one slice must lie over each other, or they are no one slice."""
    shift = float(np.abs(positions - positions[first][slices]).max(initial=0.0))
    if shift > SHIFT_TOLERANCE:
        raise InconsistentSeriesError(
            f"frames at the same distance along the normal lie {shift:.3g} mm apart in their plane"
        )


def _one_orientation(
    frames: FrameTable, orientations: NDArray[np.float64], tolerance: float
) -> NDArray[np.float64]:
    """The direction cosines that all have, give or take the tolerance."""
    if np.abs(orientations).max() > 2:
        raise InconsistentSeriesError("ImageOrientationPatient holds no direction cosines")
    if (orientations.max(axis=0) - orientations.min(axis=0)).max() <= tolerance:
        return _cosines(most_common(orientations))
    stacks = orientation_stacks(frames, tolerance)
    listed = "".join(f"\n  {told}" for told in stacks_told(frames, stacks))
    raise AmbiguousSeriesError(
        f"the series mixes {int(stacks.max()) + 1} orientations, which make no one volume:{listed}"
    )


def _cosines(found: NDArray[np.float64]) -> NDArray[np.float64]:
    row, column = found[:3], found[3:]
    lengths = np.linalg.norm(found.reshape(2, 3), axis=1)
    if np.abs(lengths - 1).max() > 0.05 or abs(float(row @ column)) > 0.05:
        raise InconsistentSeriesError("ImageOrientationPatient holds no direction cosines")
    if np.abs(lengths - 1).max() > _ROUNDED:
        return np.concatenate([row / lengths[0], column / lengths[1]])
    return found


def _pixel_spacing(frames: Frames) -> tuple[float, float]:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        found = checked_numbers(frames, keyword, 2)
        if np.isnan(found).all():
            continue
        dy, dx = most_common(found).tolist()
        if np.isnan(found).any() or np.abs(found - [dy, dx]).max() > 1e-4 * max(dy, dx):
            raise InconsistentSeriesError(f"{keyword} differs between the frames of the series")
        if not 0 < min(dy, dx) <= max(dy, dx) <= _SPACING_LIMIT:
            raise InconsistentSeriesError(f"{keyword} is {dy:g}\\{dx:g} mm")
        return dy, dx
    return 1.0, 1.0


def _thickness(frames: Frames) -> float:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        found = float(most_common(frames.numbers(keyword))[0])
        if 0 < found <= _SPACING_LIMIT:
            return found
    return 1.0


def _unplaced(frames: FrameTable, spacing: tuple[float, float]) -> Stack:
    """Frames that say nothing of their place: in the order of their numbers, made-up positions.

    In-Stack Position Numbers (PS3.3 section C.7.6.16.2.2) go first. Several multi-frame instances
    of one length are taken for volumes, their frames for slices.
    """
    counts = np.bincount(frames.instance)
    stacked = frames.numbers("InStackPositionNumber")[:, 0]
    if frames.grouped and np.isfinite(stacked).all():
        slices = np.unique(stacked, return_inverse=True)[1].reshape(-1)
    elif len(counts) > 1 and counts[0] > 1 and (counts == counts[0]).all():
        slices = frames.number
    else:
        slices = _numbered(frames)
    thickness = _thickness(frames)
    positions = np.zeros((int(slices.max()) + 1, 3))
    positions[:, 2] = np.arange(len(positions)) * thickness
    geometry = Geometry(positions, np.array(_AXIAL), spacing, thickness, known=False)
    return Stack(slices, geometry, np.full(len(positions), np.nan))


def _numbered(frames: FrameTable) -> NDArray[np.intp]:
    """(n,) the rank of each frame by Instance Number, SOP Instance UID and frame number."""
    number = np.nan_to_num(frames.numbers("InstanceNumber")[:, 0], nan=0.0)
    column = frames.column("SOPInstanceUID")
    uids = np.unique([decode_text(value) for value in column.values], return_inverse=True)[1]
    order = np.lexsort((frames.number, uids[column.codes], number))
    slices = np.empty(len(frames), np.intp)
    slices[order] = np.arange(len(frames))
    return slices
