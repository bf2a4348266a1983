"""The position of every frame, wherever the files say it.

One Image Position (Patient) for each frame (of its own, or of its functional groups); one for a
plain multi-frame instance with Slice Location Vector or Spacing Between Slices (PS3.3 section
C.8.6.4); or one for a mosaic of tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import DicomError
from .table import decode_numbers, decode_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Frames, FrameTable

__all__ = ["checked_numbers", "frame_positions", "most_common", "unit_normal"]

_LOCATIONS: Final = (0x00182005, "DS")  # Slice Location Vector
_LIMIT: Final = 1e7  # mm: nothing that is scanned is ten kilometres away


def checked_numbers(frames: Frames, keyword: str, count: int = 1) -> NDArray[np.float64]:
    """(n, count) numbers of an attribute, NaN where it is missing or empty.

    Raises:
        DicomError: a frame has a value that is not (at least) so many finite numbers.
    """
    numbers = frames.numbers(keyword, count)
    lacking = np.isnan(numbers[:, 0])
    if not lacking.any():
        return numbers
    column = frames.column(keyword)
    given = np.array([bool(decode_text(value)) for value in column.values], bool)[column.codes]
    wrong = np.flatnonzero(lacking & given)
    if len(wrong):
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise DicomError(
            f"{keyword} is not {wanted} in {len(wrong)} of {len(frames)} frames, "
            f"first in instance {_uid(frames, int(wrong[0]))}"
        )
    return numbers


def _uid(frames: Frames, index: int) -> str:
    column = frames.column("SOPInstanceUID")
    return decode_text(column.values[int(column.codes[index])])


def most_common(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The most frequent row; of several the smallest, whatever their order."""
    if (rows == rows[0]).all():  # almost always: no need to sort
        return np.asarray(rows[0])
    unique, counts = np.unique(rows, axis=0, return_counts=True)
    found: NDArray[np.float64] = unique[counts.argmax()]
    return found


def unit_normal(orientation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) unit vector, rows × columns, of (6,) direction cosines."""
    a, b, c, d, e, f = orientation.tolist()  # np.cross takes thirty times as long
    normal = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
    unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
    return unit


def frame_positions(
    frames: FrameTable,
    positions: NDArray[np.float64],
    orientation: NDArray[np.float64],
    pixel_spacing: tuple[float, float],
) -> NDArray[np.float64]:
    """(n, 3) the position of each frame's first voxel, in mm.

    ``positions`` are those of Image Position (Patient): a plain multi-frame instance or a
    mosaic has one for all of its frames.

    Raises:
        DicomError: a position beyond all measure, or frames whose distance nothing tells.
    """
    if (np.abs(positions) > _LIMIT).any():
        raise DicomError(f"ImagePositionPatient is more than {_LIMIT:g} mm away")
    normal = unit_normal(orientation)
    if frames.mosaics:
        return positions + _tiles(frames, orientation, normal, pixel_spacing)
    if frames.multiframe and not frames.grouped:
        return positions + _distances(frames)[:, None] * normal
    return positions


def _tiles(
    frames: FrameTable,
    orientation: NDArray[np.float64],
    normal: NDArray[np.float64],
    pixel_spacing: tuple[float, float],
) -> NDArray[np.float64]:
    """(n, 3) from a mosaic's announced position to each tile's."""
    shifts = np.empty((len(frames), 3))
    steps = _spacing(frames)
    for index, mosaic in frames.mosaics.items():
        part = slice(int(frames.first[index]), int(frames.first[index]) + mosaic.count)
        down, right = mosaic.shift(pixel_spacing)
        # The header's own normal gives the side; the cosines give the exact direction.
        reversed_ = mosaic.normal is not None and float(normal @ np.array(mosaic.normal)) < 0
        way = steps[part, None] * (-normal if reversed_ else normal)
        corner = down * orientation[3:] + right * orientation[:3]
        shifts[part] = corner + np.arange(mosaic.count)[:, None] * way
    return shifts


def _spacing(frames: FrameTable) -> NDArray[np.float64]:
    """(n,) from slice to slice inside of an instance, in mm."""
    between = checked_numbers(frames, "SpacingBetweenSlices")[:, 0]
    thickness = checked_numbers(frames, "SliceThickness")[:, 0]
    steps = np.where(between > 0, between, thickness)
    if not (steps > 0).all() or (steps > _LIMIT).any():
        raise DicomError("a mosaic does not say how far its slices lie apart")
    return steps


def _distances(frames: FrameTable) -> NDArray[np.float64]:
    """(n,) how far each frame lies along the normal from its instance's first, in mm."""
    column = frames.instances.column_at(*_LOCATIONS)
    between = checked_numbers(frames, "SpacingBetweenSlices")[:, 0]
    distances: NDArray[np.float64] = np.where(between > 0, between, 0.0) * frames.number
    for code, value in enumerate(column.values):
        if not value:
            continue
        offsets = np.array(decode_numbers(value, _LOCATIONS[1], True))
        if not len(offsets) or (np.abs(offsets) > _LIMIT).any():
            raise DicomError("SliceLocationVector is not a list of numbers")
        for index in np.flatnonzero(column.codes == code).tolist():
            part = frames.instance == index
            if int(part.sum()) != len(offsets):
                raise DicomError("SliceLocationVector has not one value for each frame")
            distances[part] = offsets - offsets[0]
    return distances
