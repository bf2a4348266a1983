"""To nibabel and back: LPS to RAS, columns first, the same voxels.

An array (time, slice, row, column) in C order is, transposed, nibabel's (i, j, k, t).
Source: nifti1.h, "DATA DIMENSIONALITY", "UNITS OF SPATIAL AND TEMPORAL DIMENSIONS".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..dicom.bare import bare_volume, placed, unplaced
from ..dicom.sorting import Axis
from ..errors import DataError, EncodeError
from ..formats._imaging import image_of
from ..formats.nifti.axes import place_axes
from ._door import expected, package

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..dicom.geometry import Geometry
    from ..dicom.volume import Volume
    from ..formats.image import Image
    from ..formats.nifti.axes import Dimensions

__all__ = ["from_nibabel", "to_nibabel"]

_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS, and back
_RGB: Final = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_INSTEAD: Final = {"b1": "u1", "f2": "f4"}  # what NIfTI has not, and what holds it exactly
_NIFTI1: Final = 32767  # the longest axis of a NIfTI-1 image
_SHEAR: Final = 1e-4  # cosine between two axes
_SCANNER: Final = 1  # qform_code, sform_code
_LENGTHS: Final = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}
_SECONDS: Final = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


def to_nibabel(volume: Volume, *, accept_uneven: bool = False) -> Any:
    """A ``Nifti1Image`` over the same voxels (``Nifti2Image`` beyond 32767 along an axis).

    Raises:
        EncodeError: slices that no affine can place; axes or a dtype that NIfTI has not.
        MissingDependencyError: nibabel is not installed.
    """
    nibabel = package("nibabel", "nibabel")
    image = image_of(volume, accept_uneven=accept_uneven)
    dimensions = place_axes(image)
    data = _columns_first(image, dimensions)
    kind = nibabel.Nifti1Image if max(data.shape) <= _NIFTI1 else nibabel.Nifti2Image
    affine = None if image.affine is None else _LPS @ image.affine
    try:
        made = kind(data, affine, dtype=data.dtype)
    except nibabel.spatialimages.HeaderDataError:
        raise EncodeError(f"NIfTI holds no voxels of type {volume.array.dtype}") from None
    _tell(made.header, volume.geometry, affine, dimensions)
    return made


def _columns_first(image: Image, dimensions: Dimensions) -> NDArray[Any]:
    """(columns, rows, slices, …): a view, but of half floats and of colours that lie apart."""
    array = image.array
    wanted = _INSTEAD.get(array.dtype.str[1:])
    if wanted is not None:
        array = array.view(wanted) if array.dtype.itemsize == 1 else array.astype(wanted)
    if image.color:
        if array.dtype != np.uint8:
            raise EncodeError(f"NIfTI holds no colours of type {array.dtype}")
        array = np.ascontiguousarray(array).view(_RGB)[..., 0]
    further = len(image.axes)
    array = array.transpose(*dimensions.order, *range(further, further + 3))
    shape = (*reversed(dimensions.further), *array.shape[-3:])
    return array.reshape(shape).T


def _tell(
    header: Any, geometry: Geometry, affine: NDArray[np.float64] | None, dimensions: Dimensions
) -> None:
    """Codes, spacing, units and the step of the fourth dimension."""
    zooms = list(header.get_zooms())
    zooms[:3] = geometry.spacing[::-1]
    if dimensions.further:
        zooms[3] = dimensions.step
    header.set_zooms(zooms)
    if affine is not None:
        header.set_sform(affine, _SCANNER)
        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        if np.abs(directions.T @ directions - np.eye(3)).max() < _SHEAR:  # a qform has none
            header.set_qform(affine, _SCANNER)
    header.set_xyzt_units("mm", dimensions.unit or "unknown")


def from_nibabel(image: Any) -> Volume:
    """The volume of an image of nibabel's, over the same voxels if they are in memory.

    Voxels that are still in a file are read, scaled, in this thread. The affine's axes may
    point anywhere: the voxels stay in their order. The fourth dimension is the axis "time" in
    s, further ones are "dim5" to "dim7".

    Raises:
        TypeError: no image of nibabel's.
        DataError: fewer than two dimensions, or no usable affine.
    """
    nibabel = package("nibabel", "nibabel")
    expected(image, nibabel.spatialimages.SpatialImage, "from_nibabel")
    header = image.header
    lengths, times = header.get_xyzt_units() if hasattr(header, "get_xyzt_units") else ("mm", "sec")
    array = np.asanyarray(image.dataobj)
    color = array.dtype.names is not None
    voxels = _slices_first(array)
    zooms = tuple(float(zoom) for zoom in header.get_zooms())
    return bare_volume(
        voxels,
        _further(voxels.shape[: -4 if color else -3], zooms, _SECONDS.get(times, 1.0)),
        _geometry(image, voxels.shape[-4 if color else -3], zooms, _LENGTHS.get(lengths, 1.0)),
        color=color,
    )


def _slices_first(array: NDArray[Any]) -> NDArray[Any]:
    """(…, slices, rows, columns[, 3])"""
    if array.ndim < 2:
        raise DataError(f"an image of shape {array.shape} has no rows and columns")
    voxels = array.T if array.ndim > 2 else array.T[None]
    if array.dtype.names is None:
        return voxels
    if array.dtype.names[:3] != ("R", "G", "B"):
        raise DataError(f"voxels of type {array.dtype} are no colours")
    return np.stack([voxels[name] for name in "RGB"], axis=-1)


def _further(shape: tuple[int, ...], zooms: tuple[float, ...], seconds: float) -> tuple[Axis, ...]:
    axes = []
    for number, size in enumerate(reversed(shape), 4):
        step = zooms[3] * seconds if number == 4 and zooms[3] > 0 else 1.0
        name, unit = ("time", "s") if number == 4 else (f"dim{number}", "")
        axes.append(Axis(name, unit, np.arange(float(size)) * step))
    return tuple(reversed(axes))


def _geometry(image: Any, slices: int, zooms: tuple[float, ...], length: float) -> Geometry:
    coded = getattr(image.header, "get_sform", None) is None or any(
        image.header[f"{form}_code"] > 0 for form in ("sform", "qform")
    )
    if image.affine is None or not coded:
        dx, dy, dz = (*(zoom * length or 1.0 for zoom in zooms[:3]), 1.0)[:3]
        return unplaced((dz, dy, dx), slices)
    scale = np.diag([length, length, length, 1.0])
    return placed(_LPS @ scale @ np.asarray(image.affine, np.float64), slices)
