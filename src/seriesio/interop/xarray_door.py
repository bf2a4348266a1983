"""To xarray and back: named dimensions with coordinates that stay right when it is indexed.

Beside one coordinate for each axis there are ``x``, ``y`` and ``z`` of each slice's first voxel
(a ``DataArray`` takes no coordinate with dimensions that it does not have itself). With ``row``
and ``column``, which count mm from there, and the direction cosines in ``attrs["orientation"]``,
any part that xarray cuts out still says where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..dicom.bare import bare_volume, placed, unplaced
from ..dicom.geometry import Geometry
from ..dicom.sorting import Axis
from ..errors import DataError
from ._door import expected, package

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..dicom.volume import Volume

__all__ = ["from_xarray", "to_xarray"]

_SPATIAL: Final = ("slice", "row", "column")
_DIRECTIONS: Final = frozenset({"direction_x", "direction_y", "direction_z"})
_MM: Final = {"units": "mm"}
_GRADIENTS: Final = {"bvector": slice(0, 3), "dti": slice(1, 4)}  # x, y, z among the values


def to_xarray(volume: Volume) -> Any:
    """A ``DataArray`` over the same voxels.

    Gradient directions are the coordinates ``direction_x``, ``direction_y``, ``direction_z``;
    the dimension "dti" has b values as its own. ``attrs``: spacing, orientation and affine; they
    are those of the whole, also after indexing, while the coordinates are those of the part.

    Raises:
        MissingDependencyError: xarray is not installed.
    """
    xarray = package("xarray", "xarray")
    geometry = volume.geometry
    attributes: dict[str, Any] = {"spacing": geometry.spacing}
    if geometry.known:
        attributes |= {"orientation": geometry.orientation.copy(), "affine": geometry.affine}
    return xarray.DataArray(
        volume.array,
        dims=[axis.name for axis in volume.axes],
        coords=_coordinates(volume),
        attrs=attributes,
    )


def _coordinates(volume: Volume) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for axis in volume.axes:
        units = {"units": axis.unit} if axis.unit else {}
        values = np.asarray(axis.values)
        if axis.name in _GRADIENTS:
            vectors = values[:, _GRADIENTS[axis.name]]
            found |= {f"direction_{n}": (axis.name, vectors[:, k]) for k, n in enumerate("xyz")}
            values = values[:, 0] if axis.name == "dti" else np.arange(len(axis))
        found[axis.name] = (axis.name, values, units)
    if volume.geometry.known:
        for name, places in zip("xyz", volume.geometry.positions.T.copy(), strict=True):
            stacked = "slice" in found
            found[name] = ("slice" if stacked else (), places if stacked else places[0], _MM)
    return found


def from_xarray(data: Any) -> Volume:
    """The volume of a ``DataArray``, over the same voxels.

    Dimensions of our names may stand in any order; of other names, the last three are slice,
    row and column. Where :func:`to_xarray`'s coordinates are, they give the place, also of a
    part; else ``attrs["affine"]`` (LPS, mm) does; else the coordinates' steps are the spacing.

    Raises:
        TypeError: no ``DataArray``.
        DataError: fewer than two dimensions, or coordinates that are no numbers.
    """
    expected(data, package("xarray", "xarray").DataArray, "from_xarray")
    data = _in_order(data)
    names = [str(name) for name in data.dims]
    color = names[-1] == "rgb"
    array = data.values
    spatial = names[-3 - color : len(names) - color]
    if len(spatial) < 3 or ("row" in names and "slice" not in names):
        array = np.expand_dims(array, array.ndim - 2 - color)
        spatial = ["", *spatial[-2:]]
    further = names[: array.ndim - 3 - color]
    slices = array.shape[-3 - color]
    return bare_volume(
        array,
        [_axis(data, name) for name in further],
        _geometry(data, spatial, slices),
        color=color,
    )


def _in_order(data: Any) -> Any:
    """With dimensions of our names in our order, as a view."""
    if data.ndim < 2:
        raise DataError(f"an array of shape {data.shape} has no rows and columns")
    ours = [name for name in (*_SPATIAL, "rgb") if name in data.dims]
    if not {"row", "column"} <= set(ours):
        return data
    return data.transpose(*(name for name in data.dims if name not in ours), *ours)


def _axis(data: Any, name: str) -> Axis:
    if name not in data.coords:
        return Axis(name, "", np.arange(float(data.sizes[name])))
    coordinate = data.coords[name]
    values = np.asarray(coordinate.values)
    if name in _GRADIENTS and set(data.coords) >= _DIRECTIONS:
        vectors = np.column_stack([data.coords[part].values for part in sorted(_DIRECTIONS)])
        values = np.column_stack([values, vectors]) if name == "dti" else vectors
    return Axis(name, str(coordinate.attrs.get("units", "")), values)


def _geometry(data: Any, spatial: list[str], slices: int) -> Geometry:
    dz, dy, dx = (_step(data, name, n) for n, name in enumerate(spatial))
    orientation = data.attrs.get("orientation")
    if orientation is not None and set("xyz") <= set(data.coords):
        return _exact(data, np.asarray(orientation, np.float64), (dz, dy, dx))
    if "affine" in data.attrs:
        return placed(data.attrs["affine"], slices)
    return unplaced((abs(dz) or 1.0, abs(dy) or 1.0, abs(dx) or 1.0), slices)


def _exact(
    data: Any, orientation: NDArray[np.float64], steps: tuple[float, float, float]
) -> Geometry:
    """The place of what is left of a series that :func:`to_xarray` has given."""
    positions = np.column_stack([np.ravel(data.coords[name].values) for name in "xyz"])
    if orientation.shape != (6,):
        raise DataError('attrs["orientation"] is not of six direction cosines')
    turned = orientation.copy()
    for name, cosines, step in (("row", slice(3, 6), steps[1]), ("column", slice(0, 3), steps[2])):
        positions = positions + _first(data, name) * orientation[cosines]
        turned[cosines] *= -1 if step < 0 else 1
    return Geometry(positions, turned, (abs(steps[1]), abs(steps[2])), abs(steps[0]) or 1.0)


def _first(data: Any, name: str) -> float:
    return float(np.ravel(data.coords[name].values)[0]) if name in data.coords else 0.0


def _step(data: Any, name: str, place: int) -> float:
    """The mean step of a coordinate in mm; that of ``attrs["spacing"]`` where there is none."""
    told = data.attrs.get("spacing", (1.0, 1.0, 1.0))[place]
    if name not in data.coords or data.sizes[name] < 2:
        return float(told)
    values = np.asarray(data.coords[name].values)
    if values.dtype.kind not in "iuf":
        raise DataError(f"the coordinate {name!r} is not of numbers")
    return float(values[-1] - values[0]) / (len(values) - 1)
