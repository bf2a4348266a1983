"""Volumes of computed data: arguments of ``from_array``, templates and geometries, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ..errors import InconsistentSeriesError
from .bare import bare_volume, checked_affine, leading_axes, placed, placed_by, unplaced
from .sorting import Axis
from .template import Template, template_of_dataset, template_of_volume
from .template_complete import complete
from .volume import Volume

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .geometry import Geometry

__all__ = ["Axes", "Place", "completed", "make_volume", "place_of", "template_of"]

Axes: TypeAlias = "Sequence[str | Axis]"

_UNITS: Final = {
    **{name: "ms" for name in ("te", "ti", "tr", "triggertime")},
    **{name: "s/mm2" for name in ("b", "dti")},
    "time": "s",
    "fa": "deg",
}
_SPATIAL: Final = ("slice", "row", "column")
_PLAIN: Final = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A place that was asked for: that of a volume, or an affine."""

    volume: Volume | None
    affine: NDArray[np.float64] | None

    def geometry(self, volume: Volume) -> Geometry:
        """The geometry for a volume.

        Raises:
            InconsistentSeriesError: the volume's slices, rows and columns do not lie there.
        """
        slices = len(volume.geometry.positions)
        if self.volume is None:
            assert self.affine is not None
            return placed(self.affine, slices)
        own, other = _stack_shape(volume), _stack_shape(self.volume)
        if own != other:
            raise InconsistentSeriesError(
                f"geometry: has (slices, rows, columns) {other}, the series {own}"
            )
        return self.volume.geometry

    @property
    def frame_of_reference(self) -> str | None:
        found = None if self.volume is None else self.volume.header.get("FrameOfReferenceUID")
        return str(found) if found else None


def _stack_shape(volume: Volume) -> tuple[int, int, int]:
    rows, columns = volume.rows_and_columns
    return len(volume.geometry.positions), rows, columns


def place_of(geometry: Volume | ArrayLike | None) -> Place | None:
    """What ``geometry=`` asks for.

    Raises:
        InconsistentSeriesError: neither a series nor a 4x4 affine.
    """
    if geometry is None:
        return None
    if isinstance(geometry, Volume):
        return Place(geometry, None)
    return Place(None, checked_affine(geometry))


def template_of(template: Any, *, source: bool = False) -> Template | None:
    """What ``template=`` asks for: a volume or a pydicom Dataset.

    Raises:
        HeaderError: it has no DICOM header, or lacks what a template must give.
        TypeError: it is something else.
    """
    from pydicom.dataset import Dataset

    if template is None:
        return None
    if isinstance(template, Volume):
        return template_of_volume(template, source=source)
    if isinstance(template, Dataset):
        return template_of_dataset(template)
    raise TypeError(f"template= is a Series, a pydicom Dataset or a URL, not {type(template)!r}")


def completed(volume: Volume, template: Template | None, place: Place | None) -> Volume:
    """A volume at the place and under the header that were asked for.

    A volume of which neither place nor spacing is known takes the template's, where that has as
    many slices, rows and columns.

    Raises:
        InconsistentSeriesError: the place is of another size.
        HeaderError, EncodeError: no header can be made.
    """
    reference = None if place is None else place.frame_of_reference
    if place is not None:
        volume = placed_by(volume, place.geometry(volume))
    if template is None:
        return _referred(volume, reference)
    if not volume.geometry.known and volume.geometry.spacing == _PLAIN and _fits(volume, template):
        assert template.geometry is not None
        volume = placed_by(volume, template.geometry)
    return complete(volume, template, reference)


def _referred(volume: Volume, reference: str | None) -> Volume:
    """A DICOM series that was moved into another's frame of reference says so."""
    if reference is not None and len(volume.header):
        volume.header.set("FrameOfReferenceUID", reference)
    return volume


def _fits(volume: Volume, template: Template) -> bool:
    own = len(volume.geometry.positions), *volume.rows_and_columns
    return template.geometry is not None and own == (template.slices, *template.size)


# --- from_array -------------------------------------------------------------------------------


def make_volume(
    array: ArrayLike,
    *,
    template: Template | None = None,
    like: Volume | None = None,
    place: Place | None = None,
    spacing: Sequence[float] | None = None,
    affine: ArrayLike | None = None,
    axes: Axes | None = None,
    color: bool | None = None,
) -> Volume:
    """The volume of a plain array; not copied.

    ``like``: the template as a series, whose axes are taken where there are as many.

    Raises:
        ValueError: arguments that contradict each other or the array's shape.
    """
    values = np.asarray(array)
    if sum(given is not None for given in (place, spacing, affine)) > 1:
        raise ValueError("geometry=, spacing= and affine= say the same thing: give one of them")
    names = _given(axes)
    tinted = _is_color(values, names, like) if color is None else color
    values = _with_slices(values, tinted)
    shape = values.shape[: values.ndim - tinted]
    further = _further(names, shape[:-3], like)
    if affine is not None:
        geometry = placed(affine, shape[-3])
    else:
        geometry = unplaced(_spacing(spacing), shape[-3])
    volume = bare_volume(values, further, geometry, color=tinted)
    return completed(volume, template, place)


def _given(axes: Axes | None) -> list[str | Axis] | None:
    if axes is None:
        return None
    if isinstance(axes, str):
        raise ValueError(f"axes= is a list of names, as [{axes!r}]")
    for axis in axes:
        if not isinstance(axis, str | Axis):
            raise ValueError(f"axes= holds names or Axis objects, not {type(axis).__name__}")
    return list(axes)


def _name(axis: str | Axis) -> str:
    return axis if isinstance(axis, str) else axis.name


def _is_color(values: NDArray[Any], names: list[str | Axis] | None, like: Volume | None) -> bool:
    """True if the last axis is colour: where it is called so, or the template's is."""
    if names is not None and "rgb" in map(_name, names):
        return True
    return like is not None and like.axes[-1].name == "rgb" and values.shape == like.array.shape


def _with_slices(values: NDArray[Any], color: bool) -> NDArray[Any]:
    least = 2 + color
    if values.ndim < least:
        raise ValueError(f"an array of shape {values.shape} has no rows and columns")
    return values[None] if values.ndim == least else values


def _spacing(spacing: Sequence[float] | None) -> tuple[float, float, float]:
    if spacing is None:
        return _PLAIN
    numbers = np.asarray(spacing, np.float64)
    if numbers.shape != (3,) or not np.isfinite(numbers).all() or (numbers <= 0).any():
        raise ValueError("spacing= is (dz, dy, dx): three positive numbers, in mm")
    dz, dy, dx = numbers.tolist()
    return dz, dy, dx


def _further(
    names: list[str | Axis] | None, shape: tuple[int, ...], like: Volume | None
) -> tuple[Axis, ...]:
    """The axes before the slices."""
    if names is None:
        taken = () if like is None else leading_axes(like)
        if tuple(map(len, taken)) == shape:
            return taken
        names = ["time"] if len(shape) == 1 else []
    chosen = [axis for axis in names if _name(axis) not in (*_SPATIAL, "rgb")]
    if len(chosen) != len(shape):
        raise ValueError(
            f"axes= names {len(chosen)} axes before slice, row and column; "
            f"the array has {len(shape)}, of lengths {shape}"
        )
    return tuple(_axis(axis, length) for axis, length in zip(chosen, shape, strict=True))


def _axis(axis: str | Axis, length: int) -> Axis:
    """An axis; by its name alone it has the numbers from 0 as values."""
    if not isinstance(axis, str):
        if len(axis) != length:
            raise ValueError(f"axis {axis.name} has {len(axis)} values for {length} steps")
        return axis
    return Axis(axis, _UNITS.get(axis, ""), np.arange(length, dtype=np.float64))
