"""Parts of a volume that keep their place in space, with the right geometry, axes and header."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from .geometry import Geometry
from .sorting import Axis
from .sources import Origin, with_sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .header import Header
    from .volume import Stored, Volume

__all__ = ["collapse", "parse", "same_place", "take"]

# What an index says of one axis; None is a new one. Arrays hold no place twice.
Part: TypeAlias = "int | slice | NDArray[np.intp] | None"

_TOLERANCE: Final = 1e-2  # mm
_ALL: Final = slice(None)


def take(volume: Volume, index: Any) -> Volume | None:
    """The part of a volume that an index means, with numpy's meaning of it.

    Integers, slices, ``...`` and new axes before the slices copy no voxel; one list, array or
    mask of indices along a further axis, or of slices in ascending or descending order, does.

    None where the result has no place of its own: single rows or columns, single colours,
    voxels that are there twice, nothing at all, or any other way of indexing.
    """
    parts = parse(index, volume)
    if parts is None:
        return None
    row = volume.leading
    array = volume.array[tuple(parts)]
    if array.size == 0:
        return None
    old = [part for part in parts if part is not None]
    cropped = old[row] is not _ALL or old[row + 1] is not _ALL
    geometry = _geometry(volume, old, row, cropped)
    stored, header = _frames(volume, old[:row])
    if cropped or (volume.stored.whole and not stored.whole):
        header.renew_uids()  # no longer the instances that were read
    return replace(
        volume,
        array=array,
        header=header,
        geometry=geometry,
        axes=_axes(volume, parts, geometry, old[row : row + 2] if cropped else ()),
        stored=stored.computed() if cropped else stored,
        moved=volume.moved or cropped,
    )


def collapse(volume: Volume, places: Iterable[int]) -> Volume | None:
    """Where something that was reduced over axes lies, and the first of the headers it is of.

    The instances of all are among its sources.

    None where slices, rows or columns are among the axes, which leaves no place in space. The
    voxels are the first ones: to be replaced by what was computed.
    """
    gone = {place % volume.array.ndim for place in places}
    further = [axis.name for axis in volume.axes[: volume.leading] if axis.name != "slice"]
    if any(place >= len(further) for place in gone):
        return None
    part = take(volume, tuple(0 if place in gone else _ALL for place in range(len(further))))
    if part is not None and len(part.header):
        shape = volume.array.shape[: volume.leading]
        slots = np.moveaxis(
            np.arange(math.prod(shape)).reshape(shape), sorted(gone), range(-len(gone), 0)
        ).reshape(len(part.stored.instance), -1)
        origin = Origin(volume.header.instances, volume.stored, shape)
        part.header.computed_from(
            with_sources(part.header.instances, part.stored, [(origin, slots)])
        )
    return part


def same_place(one: Geometry, other: Geometry) -> bool:
    """True if the slices of two volumes lie at each other's places, voxel upon voxel."""
    if one is other:
        return True
    return bool(
        one.positions.shape == other.positions.shape
        and _near(one.positions, other.positions, _TOLERANCE)
        and _near(one.orientation, other.orientation, 1e-4)
        and all(map(_alike, one.pixel_spacing, other.pixel_spacing))
    )


def _near(one: NDArray[np.float64], other: NDArray[np.float64], tolerance: float) -> bool:
    return one is other or bool(np.abs(one - other).max(initial=0.0) <= tolerance)


def _alike(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-4)


# --- what an index says -------------------------------------------------------------------------


def parse(index: Any, volume: Volume) -> list[Any] | None:
    """An index as one Part for each axis; None where it leaves no place in space."""
    row = volume.leading
    parts = _expanded(index, volume.array.ndim)
    if parts is None:
        return None
    stack = row - 1 if row and volume.axes[row - 1].name == "slice" else row
    axis = 0
    for place, part in enumerate(parts):
        if part is None:
            if axis > stack:
                return None
            continue
        if part is not _ALL:
            parts[place] = part = _part(part, volume.array.shape[axis], axis == stack)
            if part is None or (axis >= row and not _is_plane(part, axis - row)):
                return None
        axis += 1
    return parts if _in_order(parts) else None


def _is_plane(part: Part, axis: int) -> bool:
    """True for what leaves rows (0) and columns (1) evenly spaced, and colours (2) whole."""
    return part is _ALL or (axis < 2 and isinstance(part, slice))


def _expanded(index: Any, ndim: int) -> list[Any] | None:
    """One part for each axis, and None for each new one; None where they are too many."""
    parts = list(index) if isinstance(index, tuple) else [index]
    dots = [place for place, part in enumerate(parts) if part is Ellipsis]
    free = ndim + len(dots) - sum(part is not None for part in parts)
    if len(dots) > 1 or free < 0:
        return None
    at = dots[0] if dots else len(parts)
    parts[at : at + len(dots)] = [_ALL] * free
    return parts


def _part(part: Any, size: int, ordered: bool) -> int | slice | NDArray[np.intp] | None:
    """An integer, a slice (the very ``_ALL`` if it is the whole), an array; None of all else."""
    if type(part) is int:
        return part
    if isinstance(part, slice):
        return _ALL if part.indices(size) == (0, size, 1) else part
    if isinstance(part, list | np.ndarray):
        return _several(np.asarray(part), size, ordered)
    return int(part) if isinstance(part, np.integer) else None


def _several(part: NDArray[Any], size: int, ordered: bool) -> NDArray[np.intp] | None:
    """The places that a mask or an array means, each once; None where that is not so."""
    if part.ndim != 1 or part.dtype.kind not in "biu":
        return None
    if part.dtype.kind == "b" and len(part) != size:
        return None
    found = np.arange(size)[part]
    steps = np.diff(found if ordered else np.sort(found))
    return found if (steps > 0).all() or (ordered and (steps < 0).all()) else None


def _in_order(parts: list[Any]) -> bool:
    """True if numpy leaves the axes in their order: no array, or one beside the integers."""
    arrays = [place for place, part in enumerate(parts) if isinstance(part, np.ndarray)]
    if not arrays:
        return True
    advanced = [place for place, part in enumerate(parts) if isinstance(part, int | np.ndarray)]
    return len(arrays) == 1 and advanced[-1] - advanced[0] == len(advanced) - 1


# --- what is left --------------------------------------------------------------------------------


def _frames(volume: Volume, parts: list[Any]) -> tuple[Stored, Header]:
    """How the frames that are left stood in instances, and the header of these."""
    if not len(volume.stored.instance) or all(part is _ALL for part in parts):
        return volume.stored, volume.header.copy()
    stored, instances = volume.stored.subset(_slots(volume, parts))
    return stored, volume.header.subset(instances)


def _slots(volume: Volume, parts: list[Any]) -> slice | NDArray[np.intp]:
    """The slots that parts of the leading axes mean, in C order."""
    shape = volume.array.shape[: len(parts)]
    if len(parts) == 1 and not isinstance(parts[0], np.ndarray):
        part = parts[0]
        return part if isinstance(part, slice) else slice(part % shape[0], part % shape[0] + 1)
    slots = np.arange(math.prod(shape)).reshape(shape)
    return np.asarray(slots[tuple(parts)]).reshape(-1)


def _axes(
    volume: Volume, parts: list[Any], geometry: Geometry, plane: Sequence[slice]
) -> tuple[Axis, ...]:
    """The axes that are left; ``plane`` are the parts of rows and columns where they are cut."""
    given, axes = iter(volume.axes), list[Axis]()
    for part in parts:
        axis = _new(volume, axes) if part is None else next(given)
        if part is None or part is _ALL:
            axes.append(axis)
        elif not isinstance(part, int):
            axes.append(Axis(axis.name, axis.unit, axis.values[part]))
    return _recounted(axes, geometry, plane) if plane else tuple(axes)


def _new(volume: Volume, axes: list[Axis]) -> Axis:
    """An axis of one step that nothing is known of, under a name that is free."""
    taken = {axis.name for axis in (*volume.axes, *axes)}
    names = ("new", *(f"new{number}" for number in range(2, len(taken) + 2)))
    return Axis(next(name for name in names if name not in taken), "", np.zeros(1))


def _recounted(axes: list[Axis], geometry: Geometry, plane: Sequence[slice]) -> tuple[Axis, ...]:
    """Axes whose rows and columns count from the first that is left, in mm."""
    place = [axis.name for axis in axes].index("row")
    fresh = {
        axis.name: np.arange(0.0, len(axis)) * step
        for axis, step in zip(axes[place : place + 2], geometry.pixel_spacing, strict=True)
    }
    if any((part.step or 1) < 0 for part in plane):  # the normal may point the other way
        fresh["slice"] = geometry.slice_locations
    return tuple(
        Axis(axis.name, "mm", fresh[axis.name]) if axis.name in fresh else axis for axis in axes
    )


def _geometry(volume: Volume, parts: list[Any], row: int, cropped: bool) -> Geometry:
    """Where the voxels of the part are."""
    geometry = volume.geometry
    if row and volume.axes[row - 1].name == "slice" and parts[row - 1] is not _ALL:
        geometry = _stack(geometry, parts[row - 1])
    if not cropped:
        return geometry
    positions, orientation = geometry.positions, geometry.orientation.copy()
    spacing = list(geometry.pixel_spacing)
    for place, cosines in ((0, slice(3, 6)), (1, slice(0, 3))):
        start, _, step = parts[row + place].indices(volume.array.shape[row + place])
        if start:
            positions = positions + geometry.orientation[cosines] * (start * spacing[place])
        spacing[place] *= abs(step)
        if step < 0:
            orientation[cosines] *= -1
    return replace(
        geometry,
        positions=positions,
        orientation=orientation,
        pixel_spacing=(spacing[0], spacing[1]),
    )


def _stack(geometry: Geometry, part: int | slice | NDArray[np.intp]) -> Geometry:
    """The slices that are left; of a single one, the thickness is the way to the next."""
    positions = geometry.positions
    kept = positions[part].reshape(-1, 3)
    if len(kept) > 1 or len(positions) == 1:
        return replace(geometry, positions=kept)
    way = positions[-1] - positions[0]
    thickness = math.hypot(*way.tolist()) / (len(positions) - 1)
    return replace(geometry, positions=kept, thickness=thickness)
