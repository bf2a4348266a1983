"""Volumes without a DICOM header: an array, where it lies, and what is known of it.

What guest formats, ``from_array`` and other libraries' images become. Coordinates are LPS in mm
(PS3.3 section C.7.6.2.1.1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InconsistentSeriesError
from ..report import Report
from .geometry import Geometry
from .header import Header
from .keywords import tag_for
from .sorting import Axis
from .volume import Stored, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "bare_volume",
    "checked_affine",
    "leading_axes",
    "placed",
    "placed_by",
    "spatial_axes",
    "unplaced",
]

_AXIAL: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_SPATIAL: Final = frozenset({"slice", "row", "column", "rgb"})
_SINGULAR: Final = 1e-9  # of the product of the spacings


def checked_affine(affine: ArrayLike) -> NDArray[np.float64]:
    """A (4, 4) affine of finite numbers whose columns span the space.

    Raises:
        InconsistentSeriesError: it is none.
    """
    try:
        matrix = np.array(affine, np.float64)
    except (TypeError, ValueError):
        raise InconsistentSeriesError("an affine is a 4x4 matrix of numbers") from None
    if matrix.shape != (4, 4):
        raise InconsistentSeriesError(f"an affine is a 4x4 matrix, not one of {matrix.shape}")
    if not np.isfinite(matrix).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise InconsistentSeriesError("an affine is finite and ends with the row 0 0 0 1")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not abs(np.linalg.det(matrix[:3, :3])) > _SINGULAR * float(lengths.prod()):
        raise InconsistentSeriesError("a singular affine: its columns span no volume")
    return matrix


def placed(affine: ArrayLike, slices: int) -> Geometry:
    """The geometry of slices that lie where an affine puts them.

    ``affine``: (4, 4) column, row, slice to x, y, z in mm.

    Raises:
        InconsistentSeriesError: no such matrix, or a singular one.
    """
    matrix = checked_affine(affine)
    dx, dy, dz = np.linalg.norm(matrix[:3, :3], axis=0).tolist()
    orientation = np.concatenate([matrix[:3, 0] / dx, matrix[:3, 1] / dy])
    positions = matrix[:3, 3] + np.arange(slices)[:, None] * matrix[:3, 2]
    return Geometry(positions, orientation, (dy, dx), dz)


def unplaced(spacing: tuple[float, float, float], slices: int) -> Geometry:
    """Made-up axial positions of slices of which just the spacing (dz, dy, dx) in mm is known."""
    dz, dy, dx = spacing
    positions = np.zeros((slices, 3))
    positions[:, 2] = np.arange(slices) * dz
    return Geometry(positions, np.array(_AXIAL), (dy, dx), dz, known=False)


def spatial_axes(geometry: Geometry, rows: int, columns: int, color: bool) -> tuple[Axis, ...]:
    """The axes slice, row, column (and rgb)."""
    dy, dx = geometry.pixel_spacing
    axes = (
        Axis("slice", "mm", geometry.slice_locations),
        Axis("row", "mm", np.arange(rows, dtype=np.float64) * dy),
        Axis("column", "mm", np.arange(columns, dtype=np.float64) * dx),
    )
    return (*axes, Axis("rgb", "", np.arange(3.0))) if color else axes


def bare_volume(
    array: NDArray[Any],
    axes: Sequence[Axis],
    geometry: Geometry,
    *,
    color: bool = False,
    known: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> Volume:
    """A volume without a DICOM header; the array is not copied.

    Args:
        array: further axes, slice, row, column (and rgb, if ``color``).
        axes: the further axes.
        geometry: of the slices.
        known: DICOM keywords → values that can be read from its header.

    Raises:
        InconsistentSeriesError: axes or geometry do not fit the shape.
    """
    _check_kind(array)
    shape = array.shape[: array.ndim - color]
    if len(shape) < 3 or (color and array.shape[-1] != 3):
        raise InconsistentSeriesError(
            f"an array of shape {array.shape} is no volume: (…, slices, rows, columns"
            f"{', 3' if color else ''}) is one"
        )
    if 0 in array.shape:
        raise InconsistentSeriesError(f"an array of shape {array.shape} has no voxels")
    _check_axes(axes, shape[:-3])
    if len(geometry.positions) != shape[-3]:
        raise InconsistentSeriesError(
            f"the geometry has {len(geometry.positions)} slices, the array {shape[-3]}"
        )
    named = {name: value for name, value in (known or {}).items() if tag_for(name) is not None}
    return Volume(
        array,
        Header([], named),
        geometry,
        (*axes, *spatial_axes(geometry, shape[-2], shape[-1], color)),
        Stored.nowhere(),
        report or Report(),
    )


def _check_kind(array: NDArray[Any]) -> None:
    if array.dtype.kind not in "biufc":
        raise InconsistentSeriesError(f"an array of dtype {array.dtype} holds no voxels")


def _check_axes(axes: Sequence[Axis], shape: tuple[int, ...]) -> None:
    names = [axis.name for axis in axes]
    if _SPATIAL & set(names) or len(set(names)) < len(names):
        raise InconsistentSeriesError(
            f"further axes have names of their own, each another, not {', '.join(names)}"
        )
    if tuple(len(axis) for axis in axes) != shape:
        told = ", ".join(f"{axis.name} ({len(axis)})" for axis in axes) or "none"
        raise InconsistentSeriesError(
            f"the array has further axes of lengths {shape}; those that are named are {told}"
        )


def leading_axes(volume: Volume) -> tuple[Axis, ...]:
    """The further axes of a volume: those before slice and row."""
    return tuple(axis for axis in volume.axes[: volume.leading] if axis.name != "slice")


def placed_by(volume: Volume, geometry: Geometry) -> Volume:
    """The same voxels at another place; those of a DICOM series under new UIDs.

    Raises:
        InconsistentSeriesError: another number of slices.
    """
    have = len(volume.geometry.positions)
    if len(geometry.positions) != have:
        raise InconsistentSeriesError(
            f"geometry: has {len(geometry.positions)} slices, the series {have}"
        )
    names = [axis.name for axis in volume.axes]
    rows, columns = volume.rows_and_columns
    spatial = {axis.name: axis for axis in spatial_axes(geometry, rows, columns, False)}
    axes = tuple(spatial.get(name, axis) for name, axis in zip(names, volume.axes, strict=True))
    moved = replace(volume, geometry=geometry, axes=axes, moved=bool(len(volume.header)))
    return moved.with_array(volume.array) if moved.moved else moved
