"""Parts of a volume that keep their place in space: basic indexing, with the right geometry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from .geometry import Geometry
from .sorting import Axis

if TYPE_CHECKING:
    from .volume import Volume

__all__ = ["same_place", "take"]

Basic: TypeAlias = int | slice

_TOLERANCE: Final = 1e-2  # mm


def take(volume: Volume, index: Any) -> Volume | None:
    """The part of a volume that integers, slices and ``...`` mean; no voxel is copied.

    None where the result has no place of its own: single rows or columns, single colours,
    nothing at all, or any other way of indexing.
    """
    parts = _expanded(index, volume.array.shape)
    if parts is None:
        return None
    row = volume.leading
    if any(not isinstance(part, slice) for part in parts[row:]):
        return None
    if volume.axes[-1].name == "rgb" and parts[-1] != slice(None):
        return None
    array = volume.array[tuple(parts)]
    if array.size == 0:
        return None
    cropped = any(part != slice(None) for part in parts[row : row + 2])
    geometry = _geometry(volume, parts, row)
    slots = np.arange(len(volume.stored.instance)).reshape(volume.array.shape[:row])
    chosen = np.asarray(slots[tuple(parts[:row])]).reshape(-1)
    stored, instances = volume.stored.subset(chosen)
    header = volume.header.subset(instances)
    if cropped or (volume.stored.whole and not stored.whole):
        header.renew_uids()  # no longer the instances that were read
    return replace(
        volume,
        array=array,
        header=header,
        geometry=geometry,
        axes=_axes(volume, parts, geometry, cropped),
        stored=replace(stored, prints=None) if cropped else stored,
        moved=volume.moved or cropped,
    )


def _axes(
    volume: Volume, parts: list[Basic], geometry: Geometry, cropped: bool
) -> tuple[Axis, ...]:
    axes = {
        axis.name: Axis(axis.name, axis.unit, np.asarray(axis.values[part]))
        for axis, part in zip(volume.axes, parts, strict=True)
        if isinstance(part, slice)
    }
    if cropped:
        for name, step in zip(("row", "column"), geometry.pixel_spacing, strict=True):
            axes[name] = Axis(name, "mm", np.arange(len(axes[name]), dtype=np.float64) * step)
        if "slice" in axes:
            axes["slice"] = Axis("slice", "mm", geometry.slice_locations)
    return tuple(axes.values())


def same_place(one: Geometry, other: Geometry) -> bool:
    """True if the slices of two volumes lie at each other's places, voxel upon voxel."""
    return bool(
        one.positions.shape == other.positions.shape
        and np.allclose(one.positions, other.positions, rtol=0, atol=_TOLERANCE)
        and np.allclose(one.orientation, other.orientation, rtol=0, atol=1e-4)
        and np.allclose(one.pixel_spacing, other.pixel_spacing, rtol=1e-4)
    )


def _expanded(index: Any, shape: tuple[int, ...]) -> list[Basic] | None:
    """One integer or slice for each axis; None if there is anything else among them."""
    parts = list(index) if isinstance(index, tuple) else [index]
    dots = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1 or len(parts) - len(dots) > len(shape):
        return None
    fill: list[Any] = [slice(None)] * (len(shape) - len(parts) + len(dots))
    parts = parts[: dots[0]] + fill + parts[dots[0] + 1 :] if dots else parts + fill
    if not all(isinstance(part, int | np.integer | slice) for part in parts):
        return None
    if any(isinstance(part, bool | np.bool_) for part in parts):
        return None
    return [_basic(part, size) for part, size in zip(parts, shape, strict=True)]


def _basic(part: Any, size: int) -> Basic:
    if not isinstance(part, slice):
        return int(part)
    return slice(None) if part.indices(size) == (0, size, 1) else part


def _geometry(volume: Volume, parts: list[Basic], row: int) -> Geometry:
    """Where the voxels of the part are."""
    geometry = volume.geometry
    names = [axis.name for axis in volume.axes]
    positions = geometry.positions
    if "slice" in names:
        part = parts[names.index("slice")]
        positions = positions[part] if isinstance(part, slice) else positions[part][None, :]
    thickness = geometry.spacing[0]
    orientation = geometry.orientation.copy()
    spacing = list(geometry.pixel_spacing)
    for place, cosines in ((0, slice(3, 6)), (1, slice(0, 3))):
        part = parts[row + place]
        assert isinstance(part, slice)
        start, _, step = part.indices(volume.array.shape[row + place])
        positions = (
            positions + start * geometry.pixel_spacing[place] * geometry.orientation[cosines]
        )
        spacing[place] *= abs(step)
        if step < 0:
            orientation[cosines] = -orientation[cosines]
    return replace(
        geometry,
        positions=positions,
        orientation=orientation,
        pixel_spacing=(spacing[0], spacing[1]),
        thickness=thickness,
    )
